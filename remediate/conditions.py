"""Conditions: whether a playbook applies to an incident, in words where not, and how specific one is that does."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from schemas.history import DiagnosisRevised, IncidentHistory
from schemas.playbook import Playbook, Recurrence, When, human

_PLACES: Final = ("hosts", "jobs")
_EXACT: Final = 1000
"""More than a pattern of fault classes has characters."""


class Specificity(NamedTuple):
    """How specific a playbook is for an incident, from what counts most to what counts least. The highest wins.

    `places`: how many of `hosts` and `jobs` it names: whoever writes one for a host group means it there.
    `fault`: a fault class itself counts more than any pattern; of patterns, the one with more fixed characters.
    `conditions`: how many others it has. `letters`: the fixed characters of its patterns of hosts, jobs and signatures.
    `confidence`, `times`: how sure the diagnosis must be, and how often it must have happened.
    """

    places: int
    fault: int
    conditions: int
    letters: int
    confidence: float
    times: int


ADVANTAGES: Final = {
    "places": "names the host or the job",
    "fault": "names the fault more exactly",
    "conditions": "has more conditions",
    "letters": "has the narrower patterns",
    "confidence": "asks for more confidence",
    "times": "asks for more recurrences",
}
"""Why one playbook is more specific than another, by the first thing in which they differ."""


def fault_rank(playbook: Playbook, fault: str) -> int | None:
    """Return how exactly a playbook names a fault class; `None` where it is for others."""
    if fault in playbook.faults:
        return _EXACT
    return max((_letters(p) for p in playbook.faults if fnmatchcase(fault, p)), default=None)


def others_given(when: When) -> int:
    """Return how many conditions there are beside hosts and jobs."""
    return len([name for name in when.given if name not in _PLACES])


def specificity(playbook: Playbook, incident: IncidentHistory, found: DiagnosisRevised) -> Specificity:
    """Return how specific a playbook that applies to an incident is for it."""
    when, diagnosis = playbook.when, found.diagnosis
    named = (
        (when.hosts, diagnosis.culprit.host or ""),
        (when.jobs, _job(incident) or ""),
        (when.signatures, diagnosis.signature),
    )
    return Specificity(
        places=len(when.given) - others_given(when),
        fault=fault_rank(playbook, diagnosis.fault) or 0,
        conditions=others_given(when),
        letters=sum(_most_letters(patterns, text) for patterns, text in named),
        confidence=when.confidence or 0,
        times=when.recurrence.at_least if when.recurrence else 0,
    )


def unmet(
    when: When, incident: IncidentHistory, found: DiagnosisRevised, recurrences_s: Sequence[float]
) -> Iterator[str]:
    """Yield in words every condition that does not hold."""
    diagnosis = found.diagnosis
    yield from _not_one("impact", when.impact, found.impact)
    yield from _not_one("retry outlook", when.retry_outlook, diagnosis.retry_outlook)
    yield from _not_one("domain", when.domain, diagnosis.domain)
    yield from _no_match("signature", when.signatures, diagnosis.signature)
    yield from _no_match("host of the culprit", when.hosts, diagnosis.culprit.host)
    yield from _no_match("job", when.jobs, _job(incident))
    if when.confidence is not None and diagnosis.confidence < when.confidence:
        yield f"the confidence is {diagnosis.confidence:.2f}, less than {when.confidence:.2f}"
    if when.recurrence is not None:
        yield from _too_seldom(when.recurrence, recurrences_s)


def times_within(recurrence: Recurrence, recurrences_s: Sequence[float]) -> int:
    """Return how often it has happened within the time of a condition, this time included."""
    return 1 + sum(0 <= age <= recurrence.within_s for age in recurrences_s)


def _too_seldom(wanted: Recurrence, recurrences_s: Sequence[float]) -> Iterator[str]:
    times = times_within(wanted, recurrences_s)
    if times < wanted.at_least:
        yield f"it has happened {times} of {wanted.at_least} times within {human(wanted.within_s)}"


def _not_one(what: str, wanted: Sequence[str], value: str) -> Iterator[str]:
    if wanted and value not in wanted:
        yield f"the {what} is {value}, not {' or '.join(wanted)}"


def _no_match(what: str, patterns: Sequence[str], value: str | None) -> Iterator[str]:
    if patterns and not value:
        yield f"the {what} is not known"
    elif patterns and value and not any(fnmatchcase(value, pattern) for pattern in patterns):
        yield f"the {what} is {value}, not {' or '.join(patterns)}"


def _job(incident: IncidentHistory) -> str | None:
    return incident.opened.job if incident.opened else None


def _most_letters(patterns: Sequence[str], text: str) -> int:
    return max((_letters(p) for p in patterns if fnmatchcase(text, p)), default=0)


def _letters(pattern: str) -> int:
    return sum(character not in "*?[]" for character in pattern)
