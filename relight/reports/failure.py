"""One failure as it is told: the runs that one fault ended, what said so first, what followed, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relight.reports.blame import Member, headline, run_name
from relight.reports.phrases import RETRY, clock, confidence, counted, duration, folded, moment, number, ranges, where
from schemas.incident import Alternative, Attempt, ContextLine, Evidence, Incident, Place, Role, Surprise, Symptom
from schemas.vocabulary import Domain

_SHARED: Final = 10
"""A failure that several runs share lists the places of this many of them."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A line to show: where it is, what it says and when."""

    where: str
    text: str
    time: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """What followed from the cause: who said it, what, and where first."""

    who: str
    title: str
    spot: Spot
    lines: int


@dataclass(frozen=True, slots=True)
class Rival:
    """Another diagnosis that was weighed, and why it is not the answer."""

    title: str
    confidence: str
    spot: Spot
    why_not: str


@dataclass(frozen=True, slots=True)
class Oddity:
    """A line that stands out though nothing explains it."""

    template: str
    why: str
    spot: Spot


@dataclass(frozen=True, slots=True)
class Sharer:
    """One of several runs that a fault ended."""

    run: str
    attempt: int
    culprit: str
    spot: Spot


@dataclass(frozen=True, slots=True)
class Exhibit:
    """An evidence with the lines around it. `who` counts who said it, `names` names them."""

    role: str
    title: str
    signature: str
    lines: int
    who: str
    names: str
    captures: str
    spot: Spot
    context: tuple[ContextLine, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A fault and the runs that it ended, told by the most telling of its incidents, the lead."""

    headline: str
    lead: Member
    when: str
    first: Spot | None
    confidence: str
    reasons: str
    meaning: str
    action: str
    playbook: str
    retry: str
    scope: str
    unverified: bool
    consequences: tuple[Consequence, ...]
    rivals: tuple[Rival, ...]
    oddities: tuple[Oddity, ...]
    sharers: tuple[Sharer, ...]
    sharers_folded: int
    exhibits: tuple[Exhibit, ...]
    id: str


def failure_of(members: Sequence[Member], runs_total: int) -> Failure:
    """Return the failure that a group of incidents of one fault is."""
    lead = members[0][0]
    near = lead.first_cause
    runs = {run_name(member) for member in members}
    sharers = tuple(_sharer(member) for member in members) if len(members) > 1 else ()
    return Failure(
        headline=headline(members, runs_total),
        lead=members[0],
        when=f"{run_name(members[0])}: {_when(members[0])}" if len(runs) > 1 else _when(members[0]),
        first=_spot(near) if near else None,
        confidence=confidence(lead.confidence),
        reasons="; ".join(reason.rstrip(".") for reason in lead.reasons),
        meaning=lead.meaning,
        action=lead.action,
        playbook=lead.playbook,
        retry=_retry(lead),
        scope=counted(len(runs), "run") if len(runs) > 1 else lead.scope.summary,
        unverified=not all(incident.provenance_verified for incident, _ in members),
        consequences=tuple(_consequence(symptom, lead) for symptom in lead.symptoms),
        rivals=tuple(_rival(alternative, near) for alternative in lead.alternatives),
        oddities=tuple(_oddity(surprise) for surprise in lead.surprises),
        sharers=sharers[:_SHARED],
        sharers_folded=len(sharers[_SHARED:]),
        exhibits=tuple(_exhibit(evidence, near) for evidence in _cause_first(lead.evidence)),
        id=lead.id,
    )


def _when(member: Member) -> str:
    """Return when it happened, how far into the attempt, and how far the run had come; empty where no line tells."""
    incident, run = member
    time = incident.first_cause.time if incident.first_cause else None
    attempt = next((a for a in run.attempts if a.ordinal == incident.attempt), None) if run else None
    parts = [moment(time)] if time else []
    if attempt and attempt.started and time and time > attempt.started:
        which = "the run" if run and len(run.attempts) == 1 else f"attempt {attempt.ordinal}"
        parts.append(f"{duration(time - attempt.started)} into {which}")
    return "; ".join(filter(None, [", ".join(parts), _progress(attempt, incident)]))


def _progress(attempt: Attempt | None, incident: Incident) -> str:
    if attempt is None or attempt.progress is None:
        return ""
    last, step = attempt.progress.last, attempt.progress.last_step
    near = incident.first_cause.time if incident.first_cause else None
    at = f"last progress at {clock(last.time, near) if last.time else where(last)}"
    return f"{at} (step {number(step)})" if step is not None else at


def _retry(incident: Incident) -> str:
    whose = {Domain.INFRASTRUCTURE: "infrastructure fault", Domain.WORKLOAD: "fault of the training job or its input"}
    said = RETRY[incident.retry_outlook]
    return f"{whose[incident.domain]}; {said}" if incident.domain in whose else said


def _spot(place: Place, near: Place | None = None) -> Spot:
    return Spot(where(place), place.text, clock(place.time, near.time if near else None))


def _consequence(symptom: Symptom, incident: Incident) -> Consequence:
    said = [e for e in incident.evidence if e.signature == symptom.signature and e.role is Role.SYMPTOM]
    ranks, hosts = {r for e in said for r in e.ranks}, {h for e in said for h in e.hosts}
    who = _who(len(ranks), len(hosts)) or counted(symptom.count, "line")
    return Consequence(who, symptom.title, _spot(symptom.first, incident.first_cause), symptom.count)


def _who(ranks: int, hosts: int) -> str:
    if ranks:
        return counted(ranks, "rank")
    return counted(hosts, "host") if hosts else ""


def _rival(alternative: Alternative, near: Place | None) -> Rival:
    spot = _spot(alternative.first_cause, near)
    return Rival(alternative.title, confidence(alternative.confidence), spot, alternative.why_not.rstrip("."))


def _oddity(surprise: Surprise) -> Oddity:
    return Oddity(surprise.template, surprise.why.rstrip("."), _spot(surprise.place))


def _sharer(member: Member) -> Sharer:
    incident = member[0]
    spot = _spot(incident.first_cause) if incident.first_cause else Spot("", "", "")
    return Sharer(run_name(member), incident.attempt, incident.culprit.name, spot)


def _cause_first(evidence: Sequence[Evidence]) -> list[Evidence]:
    order = [Role.CAUSE, Role.ALTERNATIVE, Role.SYMPTOM, Role.HEALED, Role.TEARDOWN]
    return sorted(evidence, key=lambda item: order.index(item.role))


def _exhibit(evidence: Evidence, near: Place | None) -> Exhibit:
    names = [f"ranks {ranges(evidence.ranks)}"] * bool(evidence.ranks)
    names += [folded(evidence.hosts)] * bool(evidence.hosts)
    names += [f"GPUs {', '.join(evidence.gpus)}"] * bool(evidence.gpus)
    return Exhibit(
        role=evidence.role.value,
        title=evidence.title,
        signature=evidence.signature,
        lines=evidence.count,
        who=_who(len(evidence.ranks), len(evidence.hosts)),
        names="; ".join(names),
        captures=", ".join(f"{name} {value}" for name, value in evidence.captures.items()),
        spot=_spot(evidence.first, near),
        context=evidence.context or (ContextLine(line=evidence.first.line, text=evidence.first.text, evidence=True),),
    )
