"""Strangers: ranks, GPUs or hosts of a job whose numbers differ from those of all others at that time."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final

from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.moments import in_order
from diagnose.detectors.peers import strangers
from schemas.detect import Detect
from schemas.signal import Level, Mark, Signal, SourceRead, derived_id
from schemas.signature import Signature
from schemas.vocabulary import Kind

APART_S: Final = 300.0
"""What is compared lies no further apart in time: a source that fell silent says nothing of now."""

MOST: Final = 4
"""So many strangers of one detector are told, the strangest first."""

_Told = tuple[SourceRead, Level]


def compared_levels(sources: Sequence[SourceRead], resolve: Resolve) -> list[Finding]:
    """Return what detectors find that compare the sources of a job, each stranger as a finding of its own."""
    told: dict[str, dict[str, list[_Told]]] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        for level in source.levels:
            told[level.detector][level.metric].append((source, level))
    return [found for name, own in sorted(told.items()) for found in _compared(resolve(name), own)]


def _compared(detector: Signature, told: Mapping[str, Sequence[_Told]]) -> Iterator[Finding]:
    """Yield what a detector finds in its metrics.

    They are parts of one thing, such as the times that go into a step: what differs has to matter to the largest one.
    """
    assert detector.detect is not None
    least = detector.detect.points
    known = {metric: _at_one_time([one for one in own if one[1].points >= least]) for metric, own in told.items()}
    usual = {metric: median(level.value for _, level in own) for metric, own in known.items() if own}
    whole = max(map(abs, usual.values()), default=0.0)
    for metric in sorted(usual):
        yield from _findings(detector, detector.detect, known[metric], usual[metric], whole)


def _at_one_time(told: Sequence[_Told]) -> list[_Told]:
    now_s = max((level.time_s for _, level in told), default=0.0)
    return [(source, level) for source, level in told if now_s - level.time_s <= APART_S]


def _findings(
    detector: Signature, detect: Detect, told: Sequence[_Told], usual: float, whole: float
) -> Iterator[Finding]:
    found = strangers(detect, {at: level.value for at, (_, level) in enumerate(told)}, whole)
    for at in sorted(found, key=lambda one: (-abs(found[one]), one))[:MOST]:
        yield _finding(detector, *told[at], usual, len(told) - 1)


def _finding(detector: Signature, source: SourceRead, level: Level, usual: float, peers: int) -> Finding:
    text = f"{level.metric} is {level.value:.6g}, where the median of {peers} peers is {usual:.6g}"
    mark = Mark(offset_bytes=0, line=1, text=text, time_s=level.time_s, timed=True)
    signal = Signal(
        id=derived_id(source.source, detector.id, level.metric, level.host, level.rank, level.gpu),
        read_to=source.bytes_read,
        signature=detector.id,
        kind=Kind.FAULT,
        severity=detector.severity,
        fault=detector.fault,
        source=source.source,
        stream=source.stream,
        part=source.part,
        first=mark,
        last=mark,
        count=1,
        host=level.host or source.host,
        rank=level.rank if level.rank is not None else source.rank,
        gpu=level.gpu if level.gpu is not None else source.gpu,
        job=source.job,
        attempt=source.attempt,
    )
    return Finding(detector, tuple(in_order([signal])), healed=False, before_start=False)
