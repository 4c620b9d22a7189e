"""What is searched, sorted and counted by of an incident, as plain values: the same ones in every store."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from relight.stores.words import words
from schemas.document import IncidentDocument
from schemas.history import IncidentHistory, State
from schemas.incident import Place
from schemas.vocabulary import Impact, Severity

_WORDS: Final = 4000
"""An incident is found by so many words at most."""
_LONGEST: Final = 1024
"""Names are found by so many characters (of UTF-16, as Elasticsearch counts): longer ones are not searchable there."""
_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Facets:
    """The values. Times are Unix milliseconds, `severity` a rank from 0, `confidence` in thousandths.

    `blamed` is the culprit's host. `began_ms` is the time of the first line of the cause, if that is at most a day
    before opening and not after it: opening is the cluster's time, and a log that is shipped long after it was written
    tells nothing of how fast it was seen. `detection_ms`: from there to opening. `recovery_ms`: from there, or opening
    where it is not known, to the end of the incident, where it is resolved. `lost_gpu_ms`: of a run that ended, the
    ranks that saw it times the time from there until the run went on, or, where it has not, until the last finding: so
    much at least. `None` where it is not known. Names are cut to 1024 characters.
    """

    id: str
    version: int
    cluster: str
    state: str
    opened_ms: int
    updated_ms: int
    began_ms: int | None
    ended_ms: int | None
    fault: str
    signature: str
    severity: int
    impact: str
    domain: str
    confidence: int
    job: str | None
    hosts: tuple[str, ...]
    blamed: str | None
    ranks: int
    week: str
    detection_ms: int | None
    recovery_ms: int | None
    lost_gpu_ms: int | None
    words: str


def facets(document: IncidentDocument) -> Facets:
    """Return what an incident is found by. One that has no diagnosis yet is `unknown`."""
    history = document.history
    found = history.diagnosed.diagnosis if history.diagnosed else None
    opened_ms, began_ms = _ms(history.opened_s) or 0, _ms(history.began_s)
    ended_ms, impact = _ms(history.ended_s), history.diagnosed.impact if history.diagnosed else Impact.NONE
    ranks = len(found.scope.ranks) if found else 0
    since_ms = opened_ms if began_ms is None else began_ms
    until_ms = ended_ms if ended_ms is not None else _ms(history.touched_s) or opened_ms
    return Facets(
        id=document.id,
        version=document.version,
        cluster=_cut(document.cluster),
        state=history.state.value,
        opened_ms=opened_ms,
        updated_ms=_ms(document.updated_s) or opened_ms,
        began_ms=began_ms,
        ended_ms=ended_ms,
        fault=found.fault if found else "unknown",
        signature=found.signature if found else history.opened.signature if history.opened else "unknown",
        severity=(found.severity if found else Severity.INFO).rank,
        impact=impact.value,
        domain=found.domain.value if found else "unknown",
        confidence=round(found.confidence * 1000) if found else 0,
        job=_cut(history.opened.job) if history.opened and history.opened.job is not None else None,
        hosts=tuple(sorted(set(map(_cut, _hosts(history))))),
        blamed=_cut(found.culprit.host) if found and found.culprit.host is not None else None,
        ranks=ranks,
        week=_week(opened_ms),
        detection_ms=None if began_ms is None else opened_ms - began_ms,
        recovery_ms=max(0, ended_ms - since_ms) if ended_ms is not None and history.state is State.RESOLVED else None,
        lost_gpu_ms=ranks * max(0, until_ms - since_ms) if ranks and impact is Impact.FAILED else None,
        words=" ".join(islice(_words(document), _WORDS)),
    )


def _cut(name: str) -> str:
    if len(name) * 2 <= _LONGEST:
        return name
    return name.encode("utf-16-le", "ignore")[: _LONGEST * 2].decode("utf-16-le", "ignore")


def _hosts(history: IncidentHistory) -> Iterator[str]:
    """Yield the hosts that an incident is about: the culprit's, and those that saw it."""
    if history.diagnosed:
        found = history.diagnosed.diagnosis
        yield from filter(None, [found.culprit.host])
        yield from found.scope.hosts
    for evidence in history.evidence.values():
        yield from evidence.hosts


def _words(document: IncidentDocument) -> Iterator[str]:
    """Yield the words that an incident is found by, the most telling first."""
    history = document.history
    yield from words(f"{document.id} {document.cluster} {history.state}")
    yield from _dealt_with(document)
    if history.opened:
        yield from words(f"{history.opened.component} {history.opened.job or ''} {history.opened.run}")
    if history.diagnosed:
        found = history.diagnosed.diagnosis
        yield from words(f"{found.title} {found.fault} {found.signature} {found.culprit.name} {found.severity}")
        yield from words(f"{history.diagnosed.impact} {found.domain} {found.scope.summary} {found.meaning}")
        yield from _line(found.first_cause)
        for host in found.scope.hosts:
            yield from words(host)
        for alternative in history.diagnosed.alternatives:
            yield from words(f"{alternative.title} {alternative.fault} {alternative.signature}")
        for symptom in history.diagnosed.symptoms:
            yield from words(f"{symptom.title} {symptom.fault} {symptom.signature}")
    for evidence in history.evidence.values():
        yield from words(f"{evidence.title} {evidence.fault} {evidence.signature}")
        yield from _line(evidence.first)
        for name in (*evidence.hosts, *evidence.gpus):
            yield from words(name)


def _dealt_with(document: IncidentDocument) -> Iterator[str]:
    """Yield the words of what people have said of an incident, and of what was done about it."""
    for verdict in (document.verdicts[name] for name in sorted(document.verdicts)):
        yield from words(f"judged {verdict.judgement} {verdict.actual or ''} {verdict.by} {verdict.note}")
    for command in document.commands.values():
        if command.plan:
            yield from words(f"command {command.plan.action.kind} {command.plan.target} {command.state}")


def _line(place: Place | None) -> Iterator[str]:
    if place is not None:
        yield from words(f"{place.source} {place.text}")


def _ms(time_s: float | None) -> int | None:
    return None if time_s is None else round(time_s * 1000)


def _week(time_ms: int) -> str:
    year, week, _ = datetime.fromtimestamp(time_ms / 1000, UTC).isocalendar()
    return f"{year}-W{week:02d}"
