"""One incident as it is told in full, whatever the format: what it is, what said so, what happened to it and when."""

from collections.abc import Iterator
from dataclasses import dataclass

from relight.incidents.cleaning import cleaned
from relight.incidents.drawing import Drawing, drawing
from relight.incidents.reading import SHORT
from relight.incidents.rows import Row, row_of
from relight.incidents.times import after, length, stamp
from relight.reports.blame import blamed
from relight.reports.failure import Failure, failure_of
from relight.stores.moments import judged
from schemas.document import IncidentDocument
from schemas.history import IncidentHistory
from schemas.incident import Blamed, Diagnosis, Incident, Scope
from schemas.remedy import CommandHistory
from schemas.verdict import IncidentJudged
from schemas.vocabulary import Culprit, Domain, Impact, RetryOutlook, Severity

Sections = tuple[tuple[str, tuple[str, ...]], ...]
_ENDED = {Impact.FAILED: "failed", Impact.DEGRADED: "was degraded", Impact.NONE: "went on"}


@dataclass(frozen=True, slots=True)
class Told:
    """A moment: when it was, how long after the opening, which event, and what happened in words."""

    time: str
    after: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Account:
    """An incident as it is told. `facts` are labels with what is to be said; `failure` is its diagnosis in words.

    `commands` are what was done about it. `left_out` counts moments in the middle that are not kept. `sections` are
    what else is told: titles, each with lines below it.
    """

    row: Row
    headline: str
    diagnosed: bool
    facts: tuple[tuple[str, str], ...]
    failure: Failure
    reasons: tuple[str, ...]
    moments: tuple[Told, ...]
    left_out: int
    commands: tuple[Told, ...]
    drawing: Drawing | None
    sections: Sections = ()


def account_of(document: IncidentDocument, sections: Sections = ()) -> Account:
    """Return an incident as it is told, everything in it cleaned; `sections` are so already."""
    own = cleaned(document)
    history, row = own.history, row_of(own)
    incident = _incident(history)
    return Account(
        row=row,
        headline=_headline(history, incident),
        diagnosed=history.diagnosed is not None,
        facts=tuple(_facts(history, row, own.verdict)),
        failure=failure_of([(incident, None)], 1),
        reasons=incident.reasons,
        moments=tuple(_moments(own)),
        left_out=own.left_out,
        commands=commands_of(own),
        drawing=drawing(own),
        sections=sections,
    )


def commands_of(document: IncidentDocument) -> tuple[Told, ...]:
    """Return the commands that were planned for an incident, each as it stands."""
    own = [command for command in document.commands.values() if command.plan]
    opened_s = document.history.opened_s
    return tuple(
        Told(
            stamp(at_s),
            after(at_s, opened_s),
            str(command.state),
            _command_words(command),
        )
        for command in own
        for at_s in [command.ended_s or command.issued_s or command.planned_s or 0.0]
    )


def _command_words(command: CommandHistory) -> str:
    assert command.plan is not None, "a command begins with its plan"
    held = command.held
    why = f"held back by {held.guard}: {held.reason}" if held else command.reason
    words = f"{command.plan.action.kind} {command.plan.target}, {command.state}"
    return f"{words}{f': {why}' if why else ''} ({command.id[:SHORT]})"


def _headline(history: IncidentHistory, incident: Incident) -> str:
    opened, diagnosed = history.opened, history.diagnosed
    if diagnosed is None:
        return f"Not diagnosed yet: {opened.component}" if opened else "Not diagnosed yet"
    if opened is None or opened.job is None:
        return blamed(incident)
    return f"{blamed(incident)}; job {opened.job} {_ENDED[diagnosed.impact]}"


def _facts(history: IncidentHistory, row: Row, verdict: IncidentJudged | None) -> Iterator[tuple[str, str]]:
    """Yield what is known besides the diagnosis."""
    yield "State", _state(history, row)
    late = f", {length(row.detection_s)} after the first line of the cause" if row.detection_s is not None else ""
    yield "Opened", f"{stamp(row.opened_s)} UTC{late}" if row.opened_s is not None else ""
    yield "Ended", f"{stamp(row.ended_s)} UTC, after {length(row.recovery_s)}" if row.ended_s is not None else ""
    opened = history.opened
    attempt = f", attempt {opened.attempt}" if opened and opened.attempt > 1 else ""
    yield "Job", f"{opened.job}{attempt}" if opened and opened.job else "none: it was seen on a host without one"
    yield "Cluster", row.cluster
    yield "Fault", f"{row.fault} (signature {row.signature})"
    yield "Culprit", row.culprit
    yield "Verdict", judged(verdict) if verdict else ""
    lost = f"{row.lost_gpu_h:,.1f} GPU hours at least" if row.lost_gpu_h is not None else ""
    yield "Lost", f"{lost}: {row.ranks:,} ranks" if lost else ""


def _state(history: IncidentHistory, row: Row) -> str:
    if history.merged_into:
        return f"merged into {history.merged_into}"
    how = "the diagnosis is settled" if history.settled else "the diagnosis is provisional"
    return f"{row.state}, {row.severity}; {how if history.diagnosed else 'there is no diagnosis yet'}"


def _moments(document: IncidentDocument) -> Iterator[Told]:
    opened_s = document.history.opened_s
    day = ""
    for moment in document.timeline:
        time_s = moment.time.timestamp()
        date, _, clock = stamp(time_s).partition(" ")
        yield Told(clock if date == day else f"{date} {clock}", after(time_s, opened_s), moment.event, moment.text)
        day = date


def _incident(history: IncidentHistory) -> Incident:
    """Return the incident as reports of scans know it."""
    diagnosed, opened = history.diagnosed, history.opened
    diagnosis = diagnosed.diagnosis if diagnosed else _undiagnosed(history)
    return Incident(
        **{name: getattr(diagnosis, name) for name in Diagnosis.model_fields},
        id=history.id,
        run=opened.run if opened else history.id,
        attempt=opened.attempt if opened else 1,
        impact=diagnosed.impact if diagnosed else Impact.NONE,
        provenance_verified=diagnosed.provenance_verified if diagnosed else True,
        symptoms=diagnosed.symptoms if diagnosed else (),
        alternatives=diagnosed.alternatives if diagnosed else (),
        evidence=tuple(history.evidence.values()),
    )


def _undiagnosed(history: IncidentHistory) -> Diagnosis:
    """Return what stands for the diagnosis where there is none yet."""
    component = history.opened.component if history.opened else history.id
    return Diagnosis(
        fault="unknown",
        signature=history.opened.signature if history.opened else "unknown",
        title="Not diagnosed yet",
        meaning="",
        action="",
        playbook="",
        severity=Severity.INFO,
        confidence=0,
        culprit=Blamed(kind=Culprit.JOB, name=component),
        scope=Scope(summary=""),
        domain=Domain.UNKNOWN,
        retry_outlook=RetryOutlook.UNKNOWN,
        first_cause=None,
    )
