"""Silence: a run that makes no progress any more though it was heard, found by the detectors that wait for lines.

A log that ends is no hang: it may be cut off, or its run may be over. What is needed is word of the run from a later
time: that its shipper found nothing new while the log was being written, or that others timed out, or that the
scheduler put an end to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from diagnose.correlation.evidence import Finding, Resolve
from diagnose.correlation.moments import in_order
from diagnose.correlation.story import Story
from diagnose.detectors.absence import patience_s
from schemas.captures import Capture
from schemas.detect import Detect
from schemas.signal import Mark, Signal, SourceRead, derived_id
from schemas.signature import Signature
from schemas.vocabulary import Kind

HANG: Final = "detect.hang"
LIVE_S: Final = 600.0
"""A log whose lines come later than this after they say they were written is no live one, or its clock is wrong."""

OTHERWISE_S: Final = 600.0
"""So much longer nothing may come where the program goes on to speak of other things, such as an evaluation."""

PAUSES: Final = 1.5
"""A silence is nothing new before it is so many times as long as the longest one that the run made its way out of."""

TAIL_LINES: Final = 3


@dataclass(frozen=True)
class Heard:
    """What is known of a living job's sources beside what they say; empty where logs are read after the fact.

    `now_s` is the time of the last tick (Unix, seconds), `moved_s` when each source was found to have made progress,
    `said` the lines (source, offset) after which a hang was said to have begun.
    """

    now_s: float | None = None
    moved_s: Mapping[str, float] = field(default_factory=dict)
    said: frozenset[tuple[str, int]] = frozenset()


LAST_WORDS: Final = frozenset(
    {"comm.collective_timeout", "comm.peer_reset", "scheduler.time_limit", "scheduler.cancelled", "training.hang"}
)
"""Faults that are said of a run that has been waiting."""

NOTHING: Final = Heard()


@dataclass(frozen=True)
class Silence:
    """Nothing has moved since a line, and from when on that is too long (Unix, seconds)."""

    since: Signal
    deadline_s: float
    sources: tuple[str, ...]
    detector: Signature
    first: Signal | None

    def finding(self) -> Finding:
        """Return it as something that happened, at the last line of progress."""
        origin = self.first
        signal = Signal(
            id=derived_id(self.since.id, self.detector.id, self.since.last.offset_bytes),
            read_to=self.since.read_to,
            signature=self.detector.id,
            kind=Kind.FAULT,
            severity=self.detector.severity,
            fault=self.detector.fault,
            source=self.since.source,
            stream=self.since.stream,
            part=self.since.part,
            first=_mark(self.since),
            last=_mark(self.since),
            count=1,
            host=origin.host if origin else None,
            rank=origin.rank if origin else None,
            job=self.since.job,
            attempt=self.since.attempt,
            provenance=self.since.provenance,
            vouched=self.since.vouched,
            attested=self.since.attested,
            pace_s=self.since.pace_s,
            pause_s=self.deadline_s - (self.since.last.time_s or self.deadline_s),
        )
        return Finding(self.detector, tuple(in_order([signal])), healed=False, before_start=False)


def silence(story: Story, sources: Sequence[SourceRead], resolve: Resolve) -> Silence | None:
    """Return since when an attempt has made no progress, `None` where its pace is not known, or it is at its end."""
    try:
        detector = resolve(HANG)
    except KeyError:  # a catalogue without it
        return None
    assert detector.detect is not None
    paced = _paced(story, detector.detect)
    if not paced or any(_finished(signal) for signal in paced.values()):
        return None
    read = {source.source: source for source in sources}
    last = max(story.progress, key=lambda entry: entry.last.order).signal
    if not last.last.timed:
        return None
    main = paced.get(last.source) or max(paced.values(), key=lambda signal: (signal.last.time_s or 0.0, signal.id))
    assert last.last.time_s is not None
    waits_s = max(patience_s(detector.detect, main.pace_s or 0.0), PAUSES * (main.pause_s or 0.0))
    if _goes_on(last, main, read.get(last.source)):
        waits_s = max(waits_s, OTHERWISE_S)
    return Silence(last, last.last.time_s + waits_s, tuple(sorted(paced)), detector, _first_to_stop(paced.values()))


def too_long(found: Silence, story: Story, sources: Sequence[SourceRead], heard: Heard, *, final: bool) -> bool:
    """Tell whether the silence has lasted too long, as far as the run was heard of.

    Of an attempt that is not the `final` one only what was said before is known: its end is the next one's beginning.
    """
    if (found.since.source, found.since.last.offset_bytes) in heard.said:
        return True
    if not final:
        return False
    if heard.now_s is None:
        return _outlived(found, story)
    at_s = due_s(found, sources, heard.moved_s)
    return at_s is not None and heard.now_s >= at_s


def due_s(found: Silence, sources: Iterable[SourceRead], moved_s: Mapping[str, float]) -> float | None:
    """Return from when on (a cluster's time, Unix, seconds) a silence is a hang, `None` where that is not known yet.

    It has to be too long by the run's own clock, and by that of the cluster since the last progress came in.
    """
    last_s = found.since.last.time_s or 0.0
    came_s = max((moved_s.get(name, 0.0) for name in found.sources), default=0.0)
    heard = [s.heard_s for s in sources if s.source in found.sources and s.heard_s is not None]
    if abs(came_s - last_s) > LIVE_S or max(heard, default=0.0) < found.deadline_s:
        return None
    return max(found.deadline_s, came_s + found.deadline_s - last_s)


def _paced(story: Story, detect: Detect) -> dict[str, Signal]:
    """Return for each source the signal of progress that tells its pace: with most steps to go, or said most often."""
    found: dict[str, Signal] = {}
    for entry in story.progress:
        signal = entry.signal
        if signal.pace_s is None or signal.count < detect.least or not signal.last.timed:
            continue
        known = found.get(signal.source)
        if known is None or _weight(signal) > _weight(known):
            found[signal.source] = signal
    return found


def _weight(signal: Signal) -> tuple[int, int]:
    """Return how much a signal of progress tells of a run: the bar of an evaluation has fewer steps to go than it."""
    return _number(signal, Capture.TOTAL_STEPS) or 0, signal.count


def _goes_on(last: Signal, main: Signal, read: SourceRead | None) -> bool:
    """Tell whether a source has more to say after its last line of progress than it used to have between two."""
    if read is None:
        return False
    between = (main.last.line - main.first.line) / max(1, main.count - 1)
    return read.lines - last.last.line > 2 * between + TAIL_LINES


def _finished(signal: Signal) -> bool:
    """Tell whether the last step that was to be is done, or would be within the next line of progress."""
    total, last, first = (_number(signal, name) for name in (Capture.TOTAL_STEPS, Capture.LAST_STEP, Capture.STEP))
    if total is None or last is None:
        return False
    every = (last - first) / max(1, signal.count - 1) if first is not None else 0.0
    return last + every > total or last >= total


def _number(signal: Signal, name: str) -> int | None:
    text = signal.captures.get(name, "").replace(",", "")
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _first_to_stop(paced: Iterable[Signal]) -> Signal | None:
    """Return the signal of the one writer that stopped before all others, `None` where that cannot be told.

    Where writers count steps it is the one that has done fewest; otherwise the one that was seen to move last a whole
    step before the others.
    """
    own = sorted(paced, key=lambda signal: signal.source)
    if len(own) < 2 or not all(signal.rank is not None or signal.host for signal in own):
        return None
    steps = [_number(signal, Capture.LAST_STEP) for signal in own]
    if all(step is not None for step in steps):
        least = min(step for step in steps if step is not None)
        behind = [signal for signal, step in zip(own, steps, strict=True) if step == least]
        if 2 * len(behind) < len(own):
            return _common(behind)
    times = sorted((signal.last.time_s or 0.0, signal.source, signal) for signal in own)
    early = times[0][2]
    return early if times[1][0] - times[0][0] > (early.pace_s or 0.0) else None


def _common(behind: Sequence[Signal]) -> Signal | None:
    """Return the signal of one writer, or of several on one host without their ranks."""
    if len(behind) == 1:
        return behind[0]
    hosts = {signal.host for signal in behind}
    return behind[0].model_copy(update={"rank": None}) if len(hosts) == 1 and None not in hosts else None


def _outlived(found: Silence, story: Story) -> bool:
    """Tell whether ranks that waited, or who put an end to them, spoke after the deadline: the run was still there."""
    later = (entry for entry in story.faults if entry.signal.fault in LAST_WORDS and not _of_anyone(entry.signal))
    return any((entry.last.time_s or 0.0) >= found.deadline_s for entry in later if entry.signal.signature != HANG)


def _of_anyone(signal: Signal) -> bool:
    """Tell whether a line may be about any connection of its host, as a daemon's warning that nobody answers."""
    return signal.fault == "comm.peer_reset" and not signal.severity.serious


def _mark(signal: Signal) -> Mark:
    text = f"no progress after this line; until then one came every {signal.pace_s or 0.0:.3g} s"
    return signal.last.model_copy(update={"text": text if signal.pace_s else "no progress after this line"})
