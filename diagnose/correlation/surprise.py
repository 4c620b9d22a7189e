"""Surprise: the lines of a run that nothing explains but that stand out, for failures that the catalogue does not know.

Lines become templates (Drain). A template is surprising if it is new in a run, if only one host or rank has it, if no
earlier run had it, if its words are those of a failure, and if nothing came after it. The same lines in the same order
give the same answer. Memory is bounded by what is given: so many templates, of so many characters.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import re2

from schemas.incident import Place, Surprise

MOST: Final = 10
EARLIER: Final = 12
"""With no more earlier runs than this is a run compared."""

_LEAST: Final = 1.0
"""What scores less is not worth a look."""
_READ: Final = 500
_ALARMING: Final = re2.compile(
    r"(?i)\b(?:error|errno|fatal|fail(?:ed|ure|ing)?|exception|abort(?:ed|ing)?|denied|refused|cannot|could not|unable|"
    r"timed? ?out|killed|panic|corrupt(?:ed)?|lost|invalid|missing|not found|traceback|unreachable|disconnected|"
    r"critical)\b"
)
_VARIABLE: Final = re.compile(r"0x[0-9a-fA-F]+|[0-9]+")  # never goes back; re2 takes ten times as long

Line = tuple[int, int, str]
"""Its number in its source, its offset there in bytes, and its text."""
Reason = tuple[float, str]
"""What adds to a score, and why in words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Lines of one source: those of its beginning, with which it is compared, and those of its end.

    `silent`: it ended well before the other sources of the run did.
    """

    source: str
    host: str
    beginning: Sequence[str]
    end: Sequence[Line]
    rank: int | None = None
    silent: bool = False


def surprises(
    samples: Iterable[Sample],
    clean: Callable[[str], str],
    earlier: Sequence[Iterable[str]] = (),
    explained: Iterable[str] = (),
) -> tuple[Surprise, ...]:
    """Return the most surprising lines, the most surprising first.

    Args:
        samples: Lines of the run's sources.
        clean: Makes text fit to be shown.
        earlier: Lines of earlier runs, one iterable for each run.
        explained: Lines that are evidence of something already: what is like them surprises nobody.
    """
    read = list(samples)
    templates = _Templates()
    usual = {templates.of(line) for sample in read for line in sample.beginning}
    before = [{templates.of(line) for line in run} for run in earlier[:EARLIER]]
    known = {templates.of(line) for line in explained}
    seen: dict[int, list[tuple[Sample, Line]]] = defaultdict(list)
    for sample in read:
        for line in sample.end:
            seen[templates.of(line[2])].append((sample, line))
    crowd = _Crowd(read)
    found = [
        _found(templates.text(key), said, [*_of_the_run(key in usual), *_of_others(key, before), *crowd.reasons(said)])
        for key, said in seen.items()
        if key not in known
    ]
    kept = sorted((f for f in found if f is not None), key=lambda f: (-f.score, f.sample.source, f.line))
    return tuple(_surprise(f, clean) for f in kept[:MOST])


@dataclass(frozen=True, slots=True)
class _Found:
    score: float
    why: str
    template: str
    sample: Sample
    line: Line


def _surprise(found: _Found, clean: Callable[[str], str]) -> Surprise:
    line, offset, text = found.line
    place = Place(source=found.sample.source, line=line, offset_bytes=offset, text=clean(text))
    return Surprise(template=clean(found.template)[:300], why=clean(found.why), score=found.score, place=place)


class _Templates:
    """Assigns lines to templates; those that differ in numbers only are looked at once."""

    def __init__(self) -> None:
        from drain3.drain import Drain  # here, for most runs need none, and it is slow to import

        self._drain = Drain(depth=4, sim_th=0.5, max_children=100, max_clusters=5000)
        self._text: dict[int, str] = {}
        self._known: dict[str, int] = {}

    def of(self, line: str) -> int:
        masked = _VARIABLE.sub("<*>", line[:_READ])
        if (known := self._known.get(masked)) is not None:
            return known
        cluster, _ = self._drain.add_log_message(masked)
        number = self._known[masked] = int(cluster.cluster_id)
        self._text[number] = cluster.get_template()
        return number

    def text(self, number: int) -> str:
        return self._text[number]


class _Crowd:
    """The hosts and ranks of a run, against which one of them stands out."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._hosts = {sample.host for sample in samples}
        self._ranks = {sample.rank for sample in samples if sample.rank is not None}
        self._last = {sample.source: sample.end[-1] for sample in samples if sample.silent and sample.end}

    def reasons(self, said: Sequence[tuple[Sample, Line]]) -> Iterator[Reason]:
        """Yield why a template stands out by who has said it, and when."""
        hosts, ranks = {sample.host for sample, _ in said}, {sample.rank for sample, _ in said}
        if len(self._hosts) > 1 and len(hosts) == 1:
            yield 1.0, f"only on {min(hosts)}, of {len(self._hosts)} hosts"
        elif len(self._ranks) > 1 and len(ranks) == 1 and None not in ranks:
            yield 1.0, f"only on rank {min(r for r in ranks if r is not None)}, of {len(self._ranks)} ranks"
        elif len(hosts) * 10 <= len(self._hosts):
            yield 0.5, f"on {len(hosts)} of {len(self._hosts)} hosts"
        for sample, line in said:
            if self._last.get(sample.source) == line:
                who = sample.host if sample.rank is None else f"rank {sample.rank}"
                yield 1.0, f"last line before {who} fell silent"
                break


def _of_the_run(usual: bool) -> Iterator[Reason]:
    if not usual:
        yield 1.0, "new in this run"


def _of_others(key: int, before: Sequence[set[int]]) -> Iterator[Reason]:
    """Yield what earlier runs say of a template: what most of them had is no surprise."""
    had = sum(key in run for run in before)
    if before and not had:
        yield 1.0, f"never in {len(before)} earlier {'run' if len(before) == 1 else 'runs'}"
    elif had:
        yield -2.0 if 2 * had >= len(before) else 0.0, f"in {had} of {len(before)} earlier runs"


def _found(template: str, said: Sequence[tuple[Sample, Line]], reasons: list[Reason]) -> _Found | None:
    if _ALARMING.search(template):
        reasons.append((1.5, "speaks of a failure"))
    score = sum(worth for worth, _ in reasons)
    if not template.strip("<*> .-=+|#_\t") or score < _LEAST:
        return None
    sample, line = said[0]
    return _Found(round(score + 0.5 / len(said), 2), "; ".join(why for _, why in reasons), template, sample, line)
