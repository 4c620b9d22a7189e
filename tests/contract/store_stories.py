"""Incidents and log lines for the tests of stores, made of events as the pipeline says them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

from relight.stores.projection import Projection
from schemas.action import RestartJob
from schemas.command import OutcomeStatus
from schemas.document import IncidentDocument
from schemas.events import Event
from schemas.history import (
    DiagnosisRevised,
    DiagnosisSettled,
    EvidenceAdded,
    Happening,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from schemas.incident import Alternative, Blamed, Diagnosis, Evidence, Place, Role, Scope, Symptom
from schemas.record import LogRecord
from schemas.remedy import (
    CommandBlocked,
    CommandIssued,
    CommandPlanned,
    CommandProgressed,
    CommandProved,
    Doing,
    Guard,
    subject_of,
)
from schemas.signal import derived_id
from schemas.verdict import IncidentJudged, Judged, Judgement
from schemas.verdict import subject_of as verdict_subject
from schemas.vocabulary import Culprit, Domain, Impact, Kept, Provenance, RetryOutlook, Severity

START_S = datetime(2026, 5, 12, 3, 0, tzinfo=UTC).timestamp()
XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def place(source: str, line: int, text: str, time_s: float | None) -> Place:
    time = None if time_s is None else datetime.fromtimestamp(time_s, UTC)
    return Place(source=source, line=line, offset_bytes=line * 80, text=text, time=time)


def happenings(
    number: int,
    *,
    fault: str = "gpu.fallen_off_bus",
    host: str | None = "node03",
    job: str | None = "48211",
    severity: Severity = Severity.CRITICAL,
    impact: Impact = Impact.FAILED,
    opened_s: float = START_S,
    began_s: float | None = START_S - 20,
    ranks: int = 32,
    text: str = XID,
    confidence: float = 0.98,
    more: Sequence[tuple[Happening, float]] = (),
) -> list[tuple[Happening, float]]:
    """Return what happens to an incident, with the times."""
    first = place(f"{host or 'login1'}:/var/log/kern.log", number + 1, text, began_s)
    hosts = (host,) if host else ()
    evidence = Evidence(
        signature="nvrm.xid.79", title="GPU has fallen off the bus", fault=fault, severity=severity, role=Role.CAUSE,
        count=2, first=first, last=first, hosts=hosts, ranks=tuple(range(ranks)), gpus=("0000:3b:00",),
        provenance=Provenance.KERNEL,
    )  # fmt: skip
    diagnosis = Diagnosis(
        fault=fault, signature="nvrm.xid.79", title=f"GPU 0000:3b:00 on {host} has fallen off the bus",
        meaning="The GPU does not answer on PCIe.", action="Reboot the node.", playbook="gpu-fell-off-bus",
        severity=severity, confidence=confidence,
        culprit=Blamed(kind=Culprit.GPU, name=f"GPU 0000:3b:00 on {host}", host=host, gpu="0000:3b:00"),
        scope=Scope(hosts=hosts, ranks=tuple(range(ranks)), sources=1, summary=f"{ranks} ranks"),
        domain=Domain.INFRASTRUCTURE, retry_outlook=RetryOutlook.CANNOT_RECOVER, first_cause=first,
        reasons=("the run made no progress after it",),
    )  # fmt: skip
    symptom = Symptom(
        fault="comm.collective_timeout", signature="nccl.watchdog_timeout", title="A collective did not finish in time",
        count=31, first=first,
    )  # fmt: skip
    other = Alternative(
        fault="comm.ib_link", signature="ib.link_down", title="A link went down", confidence=0.2,
        why_not="it came back", first_cause=first,
    )  # fmt: skip
    opened = IncidentOpened(
        component=job or f"{host}:/var/log/kern.log", job=job, run=f"run {number}", attempt=1, signature="nvrm.xid.79"
    )
    revised = DiagnosisRevised(
        diagnosis=diagnosis, impact=impact, provenance_verified=True, symptoms=(symptom,), alternatives=(other,)
    )
    return [(opened, opened_s), (EvidenceAdded(key="k", evidence=evidence), opened_s), (revised, opened_s), *more]


def events(number: int, cluster: str = "c1", **told: Any) -> list[Event]:
    """Return the events of an incident."""
    name = derived_id(cluster, "incident", number)
    return [
        Event(derived_id("event", name, sequence), cluster, name, time_s, happening, sequence)
        for sequence, (happening, time_s) in enumerate(happenings(number, **told), 1)
    ]


def folded(said: Sequence[Event]) -> list[IncidentDocument]:
    """Return the incidents that events make."""
    return Projection(lambda names: {}, lambda names: []).after(said)


def document(number: int, cluster: str = "c1", **told: Any) -> IncidentDocument:
    """Return an incident."""
    (found,) = folded(events(number, cluster, **told))
    return found


def widespread(whole: IncidentDocument, hosts: Sequence[str]) -> IncidentDocument:
    """Return an incident as it would be if its evidence had been seen on these hosts."""
    evidence = {k: e.model_copy(update={"hosts": tuple(hosts)}) for k, e in whole.history.evidence.items()}
    return whole.model_copy(update={"history": whole.history.model_copy(update={"evidence": evidence})})


def settled(at_s: float = START_S + 30) -> tuple[Happening, float]:
    return DiagnosisSettled(fault="gpu.fallen_off_bus", signature="nvrm.xid.79"), at_s


def resolved(at_s: float = START_S + 600) -> tuple[Happening, float]:
    return IncidentResolved(reason="the run goes on"), at_s


def reopened(at_s: float = START_S + 700) -> tuple[Happening, float]:
    return IncidentReopened(reason="it happened again"), at_s


def merged(into: str, at_s: float = START_S + 60) -> tuple[Happening, float]:
    return IncidentMerged(into=into), at_s


_offsets = count(1)


def line(text: str, **told: Any) -> LogRecord:
    """Return a log line of its own place."""
    number = next(_offsets)
    known: dict[str, Any] = {
        "id": derived_id("line", number), "cluster": "c1", "source": "node03:/var/log/kern.log",
        "stream": "/var/log/kern.log", "line": number, "offset_bytes": number * 100, "text": text,
        "observed_ms": round(START_S * 1000), "time_ms": round(START_S * 1000), "host": "node03", "rank": 3,
        "job": "48211", "level": "ERROR", "provenance": Provenance.KERNEL, "kept": Kept.EVIDENCE,
    }  # fmt: skip
    return LogRecord(**known | told)


def judged(said: Sequence[Event], word: str, actual: str | None = None, at_s: float = 2.0) -> list[Event]:
    """Return the event of a verdict on an incident."""
    incident, name = said[0].subject, derived_id("verdict", said[0].subject, at_s)
    data = IncidentJudged(
        incident=incident, judgement=Judgement(word), actual=actual, by="ann", at_s=at_s, note="seen in the rack",
        about=Judged(fault="gpu.fallen_off_bus", signature="nvrm.xid.79"),
    )  # fmt: skip
    return [Event(derived_id("judged", name), said[0].cluster, verdict_subject(incident, name), START_S + 900, data, 1)]


COMMAND = "0e4b7033-b748-5a94-9d51-d15a66e79a4d"


def commanded(said: Sequence[Event], name: str = COMMAND) -> list[Event]:
    """Return the events of a command for an incident: planned, held back, issued, carried out, and it helped."""
    incident, time_s = said[0].subject, START_S + 40
    action = RestartJob(job="48211")
    doings: tuple[Doing, ...] = (
        CommandPlanned(
            incident=incident, fault="gpu.fallen_off_bus", playbook="gpu.fallen-off-bus", rung=1, action=action,
            target="job/48211", affects=action.resources, why="It is worth a try.", approval=False, patience_s=1800,
        ),
        CommandBlocked(guard=Guard.COOLDOWN, reason="a command for job/48211 ended less than 120 s ago"),
        CommandIssued(expires_s=time_s + 300, deadline_s=time_s + 1800),
        CommandProgressed(status=OutcomeStatus.SUCCEEDED, by="agent", at_s=time_s, output="attempt 2 runs"),
        CommandProved(reason="the job makes progress again", recovery_s=95.0, lost_steps=3, lost_gpu_s=760.0),
    )  # fmt: skip
    return [
        Event(derived_id("event", name, n), said[0].cluster, subject_of(incident, name), time_s + n, doing, n)
        for n, doing in enumerate(doings, 1)
    ]
