"""Surprise: the lines of a run that nothing explains but that stand out, for failures that the catalogue does not know.

Lines become templates (Drain). A template is surprising if it is new at the end of a run, if only one host has it, and
if its words are those of a failure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import re2
from drain3.drain import Drain

from schemas.incident import Place, Surprise

MOST: Final = 10
_ALARMING: Final = re2.compile(
    r"(?i)\b(?:error|errno|fatal|fail(?:ed|ure|ing)?|exception|abort(?:ed|ing)?|denied|refused|cannot|could not|unable|"
    r"timed? ?out|killed|panic|corrupt(?:ed)?|lost|invalid|missing|not found|traceback|unreachable|disconnected|"
    r"critical)\b"
)
_VARIABLE: Final = re2.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True, slots=True)
class Sample:
    """Lines of one source: those of its beginning, with which it is compared, and those of its end.

    `end` holds (line, offset in bytes, text).
    """

    source: str
    host: str
    beginning: Sequence[str]
    end: Sequence[tuple[int, int, str]]


def surprises(samples: Iterable[Sample], clean: Callable[[str], str]) -> tuple[Surprise, ...]:
    """Return the most surprising lines, the most surprising first; `clean` makes text fit to be shown."""
    read = list(samples)
    templates = _Templates()
    usual = {templates.of(line) for sample in read for line in sample.beginning}
    seen: dict[int, list[tuple[Sample, tuple[int, int, str]]]] = defaultdict(list)
    for sample in read:
        for line in sample.end:
            seen[templates.of(line[2])].append((sample, line))
    hosts = len({sample.host for sample in read})
    found = [_judged(templates.text(key), said, key not in usual, hosts) for key, said in seen.items()]
    kept = sorted((f for f in found if f is not None), key=lambda f: (-f.score, f.sample.source, f.line))
    return tuple(_surprise(f, clean) for f in kept[:MOST])


@dataclass(frozen=True, slots=True)
class _Found:
    score: float
    why: str
    template: str
    sample: Sample
    line: tuple[int, int, str]


def _surprise(found: _Found, clean: Callable[[str], str]) -> Surprise:
    line, offset, text = found.line
    place = Place(source=found.sample.source, line=line, offset_bytes=offset, text=clean(text))
    return Surprise(template=clean(found.template)[:300], why=found.why, score=found.score, place=place)


class _Templates:
    """Assigns lines to templates."""

    def __init__(self) -> None:
        self._drain = Drain(depth=4, sim_th=0.5, max_children=100, max_clusters=5000)
        self._text: dict[int, str] = {}

    def of(self, line: str) -> int:
        cluster, _ = self._drain.add_log_message(_VARIABLE.sub("<*>", line[:500]))
        number = int(cluster.cluster_id)
        self._text[number] = cluster.get_template()
        return number

    def text(self, number: int) -> str:
        return self._text[number]


def _judged(
    template: str, said: Sequence[tuple[Sample, tuple[int, int, str]]], is_new: bool, hosts: int
) -> _Found | None:
    own = {sample.host for sample, _ in said}
    reasons, score = [], 0.0
    if is_new:
        reasons.append("new at the end")
        score += 1.0
    if hosts > 1 and len(own) == 1:
        reasons.append(f"only on {next(iter(own))}")
        score += 1.0
    if _ALARMING.search(template):
        reasons.append("speaks of a failure")
        score += 1.5
    if not template.strip("<*> .-=+|#_\t") or score < 1.0:
        return None
    sample, line = said[0]
    return _Found(round(score + 0.5 / len(said), 2), ", ".join(reasons), template, sample, line)
