"""Incidents made up by hand, as the fold of their events. Every host, path, number and line in them is invented."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from relight.stores.port import IncidentStore
from relight.stores.projection import Projection
from schemas.document import IncidentDocument
from schemas.events import Event
from schemas.faults import fault_classes
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
from schemas.incident import Alternative, Blamed, ContextLine, Diagnosis, Evidence, Place, Role, Scope, Symptom
from schemas.record import LogRecord
from schemas.signal import derived_id
from schemas.vocabulary import Culprit, Impact, Severity

FELL: Final = datetime(2026, 5, 12, 3, 12, 4, tzinfo=UTC)
KERNEL: Final = "node03:/var/log/kern.log"
XID: Final = (
    "2026-05-12T03:12:04.224200+00:00 node03 kernel: [32944.224200] NVRM: Xid (PCI:0000:3b:00): 79, "
    "pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
)
NCCL: Final = (
    "[rank27]:[E512 03:22:03.155272000 ProcessGroupNCCL.cpp:632] [Rank 27] Watchdog caught collective operation "
    "timeout: WorkNCCL(SeqNum=91877, OpType=ALLREDUCE, NumelIn=53248000, NumelOut=53248000, Timeout(ms)=600000) ran "
    "for 600097 milliseconds before timing out."
)
HOSTILE: Final = (
    "\x1b[2J\x1b]0;owned\x07\u202egnp.exe <script>alert(1)</script><img src=x onerror=alert(1)> =cmd|'/c calc'!A1 "
    "`x` | *bold* [link](javascript:alert(1)) password=hunter2secret"
)

Told = Sequence[tuple[Happening, float]]


def folded(name: str, told: Told, cluster: str = "lab") -> IncidentDocument:
    """Return the incident with these events, given with their times (Unix, seconds), as a store keeps it."""
    events = [
        Event(derived_id(name, number), cluster, name, time_s, happening, number)
        for number, (happening, time_s) in enumerate(told, 1)
    ]
    (document,) = Projection(lambda names: {}, lambda names: ()).after(events)
    return document


def fill(store: IncidentStore, documents: Iterable[IncidentDocument]) -> None:
    """Put incidents into a store, so that they can be searched."""
    assert list(store.put_incidents(list(documents))) == []
    store.refresh()


def place(source: str, line: int, text: str, time: datetime | None = None) -> Place:
    """Return a place whose byte offset is made up from its line."""
    return Place(source=source, line=line, offset_bytes=line * 97, text=text, time=time)


def said(first: Place, role: Role = Role.CAUSE, **more: Any) -> Evidence:
    """Return an evidence that was said at one place, unless told otherwise."""
    plain: dict[str, Any] = {
        "signature": "nvrm.xid.79",
        "title": "GPU has fallen off the bus (Xid 79)",
        "fault": "gpu.fallen_off_bus",
        "severity": Severity.CRITICAL,
        "role": role,
        "count": 1,
        "first": first,
        "last": first,
    }
    return Evidence(**(plain | more))


def found(first: Place | None, **more: Any) -> Diagnosis:
    """Return a diagnosis, of a lost GPU unless told otherwise."""
    fault = fault_classes()[more.get("fault", "gpu.fallen_off_bus")]
    plain: dict[str, Any] = {
        "fault": fault.fault,
        "signature": "nvrm.xid.79",
        "title": "GPU has fallen off the bus (Xid 79)",
        "meaning": f"{fault.meaning[0].upper()}{fault.meaning[1:]}.",
        "action": "Take the node out of service and reboot it; power-cycle it if the GPU does not come back.",
        "playbook": fault.first_action,
        "severity": Severity.CRITICAL,
        "confidence": 0.98,
        "culprit": Blamed(kind=Culprit.GPU, name="GPU 0000:3b:00 on node03", host="node03", gpu="0000:3b:00"),
        "scope": Scope(
            hosts=tuple(f"node{n:02}" for n in range(1, 5)), ranks=tuple(range(32)), sources=9,
            summary="31 ranks on 4 hosts",
        ),
        "domain": fault.domain,
        "retry_outlook": fault.retry_outlook,
        "first_cause": first,
        "reasons": ("it explains 3 kinds of symptoms", "the timeout of 600 s points back to a moment 1 s away from it"),
    }  # fmt: skip
    return Diagnosis(**(plain | more))


def lost_gpu(at: datetime = FELL, job: str = "48211") -> Told:
    """Return the events of a lost GPU that ends a run: seen after 27 s, explained 10 min later, over after 40 min."""
    first = place(KERNEL, 164, XID, at)
    context = ("audit: backlog limit exceeded", "EXT4-fs (nvme0n1p2): re-mounted", XID, "NVRM: GPU 0000:3b:00: lost")
    cause = said(
        first,
        hosts=("node03",),
        gpus=("0000:3b:00",),
        captures={"pci": "0000:3b:00", "xid": "79"},
        context=tuple(ContextLine(line=162 + n, text=text, evidence=n == 2) for n, text in enumerate(context)),
    )
    told = place("node04:/data/run/node04/train.log", 343, NCCL, at + timedelta(minutes=10))
    last = place("node02:/data/run/node02/train.log", 207, NCCL, at + timedelta(minutes=10, seconds=3))
    timeout = said(
        told, Role.SYMPTOM, signature="c10d.watchdog-timeout", title="A collective did not finish in time",
        fault="comm.collective_timeout", severity=Severity.ERROR, count=62, last=last,
        hosts=("node01", "node02", "node04"), ranks=tuple(range(31)),
    )  # fmt: skip
    rival = Alternative(
        fault="gpu.pcie_error", signature="kernel.aer", title="PCIe link error", confidence=0.21,
        why_not="it was corrected 40 min earlier, and the run made progress after it",
        first_cause=place(KERNEL, 120, "pcieport 0000:3a:00.0: AER: Corrected error", at - timedelta(minutes=40)),
    )  # fmt: skip
    symptom = Symptom(fault=timeout.fault, signature=timeout.signature, title=timeout.title, count=62, first=told)
    diagnosed = DiagnosisRevised(
        diagnosis=found(first),
        impact=Impact.FAILED,
        provenance_verified=True,
        witnessed=True,
        symptoms=(symptom,),
        alternatives=(rival,),
    )
    opened = IncidentOpened(component=job, job=job, run=f"job {job}", attempt=2, signature="nvrm.xid.79")
    early = DiagnosisRevised(diagnosis=found(first, confidence=0.71), impact=Impact.NONE, provenance_verified=True)
    begun_s = at.timestamp() + 27
    return (
        (opened, begun_s),
        (EvidenceAdded(key="cause", evidence=cause), begun_s),
        (early, begun_s),
        (EvidenceAdded(key="timeout", evidence=timeout), begun_s + 590),
        (diagnosed, begun_s + 590),
        (DiagnosisSettled(fault="gpu.fallen_off_bus", signature="nvrm.xid.79"), begun_s + 620),
        (IncidentResolved(reason="attempt 3 of job 48211 made progress"), begun_s + 2373),
    )


def ordinary(
    fault: str, at: datetime, host: str, *, job: str | None = "501", impact: Impact = Impact.FAILED,
    severity: Severity = Severity.ERROR, over_s: float | None = None, ranks: int = 8,
) -> Told:  # fmt: skip
    """Return the events of an incident of some fault class on a host."""
    label = fault_classes()[fault]
    first = place(f"{host}:/data/run/train.log", 900, f"{at:%b %d %H:%M:%S} {host} app: {label.label} seen", at)
    title = f"{label.label.replace('_', ' ').capitalize()}"
    evidence = said(first, fault=fault, signature=f"made.{label.label}", title=title, severity=severity, hosts=(host,))
    diagnosis = found(
        first, fault=fault, signature=f"made.{label.label}", title=title, severity=severity,
        culprit=Blamed(kind=Culprit.HOST, name=host, host=host), confidence=0.8,
        scope=Scope(hosts=(host,), ranks=tuple(range(ranks)), sources=1, summary=f"{ranks} ranks on 1 host"),
    )  # fmt: skip
    opened = IncidentOpened(
        component=job or host, job=job, run=f"job {job}" if job else host, attempt=1, signature=evidence.signature
    )
    time_s = at.timestamp() + 12
    revised = DiagnosisRevised(diagnosis=diagnosis, impact=impact, provenance_verified=False)
    told: list[tuple[Happening, float]] = [
        (opened, time_s), (EvidenceAdded(key="cause", evidence=evidence), time_s), (revised, time_s),
    ]  # fmt: skip
    if over_s is not None:
        told.append((IncidentResolved(reason="the run went on"), time_s + over_s))
    return told


def undiagnosed(at: datetime = FELL) -> Told:
    """Return the events of an incident that has no diagnosis yet, no job, and one line without a time."""
    evidence = said(place("node09:/var/log/app.log", 7, "worker stopped"), hosts=("node09",))
    opened = IncidentOpened(component="node09", job=None, run="node09", attempt=1, signature="nvrm.xid.79")
    return ((opened, at.timestamp()), (EvidenceAdded(key="one", evidence=evidence), at.timestamp()))


def hostile(at: datetime = FELL) -> Told:
    """Return the events of an incident all of whose texts are attacks, or far too long."""
    first = place(HOSTILE, 3, HOSTILE * 20, at)
    evidence = said(
        first, title=HOSTILE, hosts=(HOSTILE, "n" * 500), captures={HOSTILE: HOSTILE},
        context=(ContextLine(line=3, text=HOSTILE, evidence=True),),
    )  # fmt: skip
    diagnosis = found(
        first, title=HOSTILE, meaning=HOSTILE, action=HOSTILE, playbook=HOSTILE, signature=HOSTILE, reasons=(HOSTILE,),
        culprit=Blamed(kind=Culprit.HOST, name=HOSTILE, host=HOSTILE), scope=Scope(summary=HOSTILE, hosts=(HOSTILE,)),
    )  # fmt: skip
    rival = Alternative(
        fault="gpu.pcie_error", signature=HOSTILE, title=HOSTILE, confidence=0.5, why_not=HOSTILE, first_cause=first
    )
    symptom = Symptom(fault="gpu.pcie_error", signature=HOSTILE, title=HOSTILE, count=1, first=first)
    revised = DiagnosisRevised(
        diagnosis=diagnosis, impact=Impact.FAILED, provenance_verified=False, symptoms=(symptom,), alternatives=(rival,)
    )
    opened = IncidentOpened(component=HOSTILE, job=HOSTILE, run=HOSTILE, attempt=1, signature=HOSTILE)
    return (
        (opened, at.timestamp()),
        (EvidenceAdded(key=HOSTILE, evidence=evidence), at.timestamp()),
        (revised, at.timestamp() + 1),
        (IncidentResolved(reason=HOSTILE), at.timestamp() + 5),
    )


def vast(at: datetime = FELL) -> Told:
    """Return the events of an incident of 512 ranks and 60 evidences, told in 300 moments, that comes back again."""
    hosts, ranks = tuple(f"node{n:03}" for n in range(64)), tuple(range(512))
    first = place(KERNEL, 164, XID, at)
    told: list[tuple[Happening, float]] = [
        (IncidentOpened(component="9", job="9", run="job 9", attempt=1, signature="nvrm.xid.79"), at.timestamp() + 3)
    ]
    for n in range(60):
        later = at + timedelta(seconds=7 * n)
        one = said(
            place(f"node{n:03}:/data/run/train.log", 100 + n, NCCL, later), Role.SYMPTOM if n else Role.CAUSE,
            hosts=hosts, ranks=ranks, count=512, title=f"A collective did not finish in time, of kind {n} of many",
            last=place(f"node{n:03}:/data/run/train.log", 900 + n, NCCL, later + timedelta(minutes=n)),
        )  # fmt: skip
        told.append((EvidenceAdded(key=f"key{n}", evidence=one), later.timestamp() + 3))
    scope = Scope(hosts=hosts, ranks=ranks, sources=512, summary="all 64 hosts and 512 ranks of the job")
    revised = DiagnosisRevised(diagnosis=found(first, scope=scope), impact=Impact.FAILED, provenance_verified=True)
    told.append((revised, at.timestamp() + 500))
    for n in range(119):
        told.append((IncidentResolved(reason=f"the run went on, time {n}"), at.timestamp() + 600 + n * 20))
        told.append((IncidentReopened(reason=f"it was not over, time {n}"), at.timestamp() + 610 + n * 20))
    return told


def merged(at: datetime = FELL) -> Told:
    """Return the events of an incident that proves to be one with another."""
    return (*ordinary("comm.peer_reset", at, "node02"), (IncidentMerged(into="863dc87e"), at.timestamp() + 99))


def fleet(count: int = 120) -> Iterator[IncidentDocument]:
    """Yield incidents of ten weeks: one bad host, some usual faults, nothing random."""
    faults = ("gpu.ecc_uncorrectable", "comm.ib_link", "cuda.out_of_memory", "storage.io_error", "comm.peer_reset")
    known = [fault for fault in faults if fault in fault_classes()]
    impacts = (Impact.FAILED, Impact.DEGRADED, Impact.NONE)
    severities = (Severity.CRITICAL, Severity.ERROR, Severity.WARNING)
    for n in range(count):
        at = FELL - timedelta(hours=13 * n + (n * n) % 31)
        host = "node07" if n % 3 == 0 else f"node{(n * 7) % 29:02}"
        told = ordinary(
            known[(n * n) % len(known)], at, host, job=f"{500 + n}", impact=impacts[0 if host == "node07" else n % 3],
            severity=severities[n % 3], over_s=None if n < 3 else 600.0 + 37 * n,
        )  # fmt: skip
        yield folded(derived_id("fleet", n), told)


def lines_around_the_lost_gpu() -> list[LogRecord]:
    """Return log lines as a store keeps them: within the incident, before it, and of a host that is not in it."""
    return [
        record("one", KERNEL, 163, "EXT4-fs (nvme0n1p2): re-mounted", FELL - timedelta(seconds=30), "node03"),
        record("two", KERNEL, 164, XID, FELL, "node03"),
        record("early", KERNEL, 1, "long before it", FELL - timedelta(hours=1), "node03"),
        record("other", "node99:/var/log/kern.log", 5, "of another host", FELL, "node99"),
    ]


def record(name: str, source: str, line: int, text: str, time: datetime, host: str) -> LogRecord:
    """Return a log line as a store keeps it."""
    time_ms = round(time.timestamp() * 1000)
    return LogRecord(
        id=name, cluster="lab", source=source, stream=source.partition(":")[2], line=line, offset_bytes=line * 97,
        text=text, observed_ms=time_ms, time_ms=time_ms, host=host,
    )  # fmt: skip
