"""What happened to an incident and to the commands for it, and what people say of it, in words."""

from typing import assert_never

from schemas.history import (
    DiagnosisRevised,
    DiagnosisSettled,
    EvidenceAdded,
    EvidenceDropped,
    Happening,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from schemas.remedy import (
    CommandApproved,
    CommandBlocked,
    CommandCancelled,
    CommandIssued,
    CommandJoined,
    CommandPlanned,
    CommandProgressed,
    Doing,
)
from schemas.verdict import IncidentJudged


def told(happened: Happening | Doing | IncidentJudged) -> str:
    """Return what happened to an incident or to a command for it, or what was said of it, in words."""
    if isinstance(happened, IncidentJudged):
        return judged(happened)
    return _of_a_command(happened) if isinstance(happened, Doing) else _of_an_incident(happened)


def judged(verdict: IncidentJudged) -> str:
    """Return in words what a person has said of a diagnosis."""
    instead = f", it was {verdict.actual}" if verdict.actual else ""
    about = f"{verdict.about.fault} ({verdict.about.signature})"
    return f"{about} is {verdict.judgement}{instead}, says {verdict.by}{_because(verdict.note)}"


def _of_an_incident(happening: Happening) -> str:
    match happening:
        case IncidentOpened():
            return f"opened on {happening.component}: {happening.signature}"
        case EvidenceAdded():
            evidence = happening.evidence
            lines = f"{evidence.count} lines" if evidence.count > 1 else "1 line"
            hosts = f" on {', '.join(evidence.hosts[:3])}{' and others' if len(evidence.hosts) > 3 else ''}"
            return f"{evidence.role}: {evidence.title}, {lines}{hosts if evidence.hosts else ''}"
        case EvidenceDropped():
            return "an evidence was dropped: it has another explanation"
        case DiagnosisRevised():
            found = happening.diagnosis
            sure = f"impact {happening.impact}, confidence {found.confidence:.2f}"
            return f"{found.title}; culprit {found.culprit.name}, {sure}"
        case DiagnosisSettled():
            return f"the diagnosis is settled: {happening.fault}"
        case IncidentResolved() | IncidentReopened():
            return happening.reason
        case IncidentMerged():
            return f"one with incident {happening.into}"
        case _:
            assert_never(happening)


def _of_a_command(doing: Doing) -> str:
    match doing:
        case CommandPlanned():
            return f"planned: {doing.action.kind} {doing.target}: {doing.why}"
        case CommandBlocked():
            return f"held back by {doing.guard}: {doing.reason}"
        case CommandApproved():
            return f"approved by {doing.by}{_because(doing.reason)}"
        case CommandIssued():
            return "issued"
        case CommandJoined():
            return f"it is done for incident {doing.incident} as well"
        case CommandProgressed():
            return f"{doing.status} by {doing.by}{_because(doing.reason)}"
        case CommandCancelled():
            return f"cancelled: {doing.reason}"
        case _:
            return doing.reason


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
