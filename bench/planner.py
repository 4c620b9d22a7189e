"""How fast planning is, and how much memory it takes: a storm of incidents over many hosts, and a cluster at rest.

The storm is planned as it would be from the topic: every event of every incident is read, decisions are taken at ticks
between batches, and orchestrators carry out what is issued.
"""

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from relight.playbook_book import playbooks
from remediate.cases import Cases
from remediate.ledger import hosts_of
from remediate.planner import Planner
from schemas.action import ACTIONS
from schemas.command import CommandOutcome, OutcomeStatus
from schemas.events import Event, decoded, encoded
from schemas.faults import fault_classes
from schemas.history import DiagnosisRevised, DiagnosisSettled, EvidenceAdded, IncidentOpened
from schemas.incident import Blamed, Diagnosis, Evidence, Place, Role, Scope
from schemas.policy import Policy
from schemas.remedy import CommandIssued, OutcomeAdmitted, PolicyAdopted, RemediationTick, command_of
from schemas.vocabulary import Culprit, Impact, Severity

START_S = 1_778_554_800.0
BATCH = 1000
FAULTS = ("gpu.fallen_off_bus", "gpu.ecc_uncorrectable", "comm.ib_link", "host.oom_kill", "storage.io_error")


def incident(number: int, hosts: int, time_s: float) -> list[bytes]:
    """Return the events of an incident on one of so many hosts, as they lie in the topic."""
    fault = FAULTS[number % len(FAULTS)]
    row, host, name = fault_classes()[fault], f"node{number % hosts:04d}", f"incident-{number}"
    place = Place(source=f"{host}/kern.log", line=7, offset_bytes=900, text="NVRM: Xid (PCI:0000:3b:00): 79, pid=1234")
    job = f"job{number % (hosts // 8 or 1)}"
    diagnosis = Diagnosis(
        fault=fault, signature=f"made.{fault}", title=row.label, meaning=row.meaning, action="Look at it.",
        playbook=row.first_action, severity=Severity.CRITICAL, confidence=0.9,
        culprit=Blamed(kind=Culprit.HOST, name=f"host {host}", host=host),
        scope=Scope(hosts=(host,), ranks=tuple(range(8)), sources=2, summary="8 ranks"), domain=row.domain,
        retry_outlook=row.retry_outlook, first_cause=place,
    )  # fmt: skip
    evidence = Evidence(
        signature=diagnosis.signature, title=row.label, fault=fault, severity=Severity.CRITICAL, role=Role.CAUSE,
        count=8, first=place, last=place, hosts=(host,), ranks=tuple(range(8)),
    )  # fmt: skip
    told = (
        IncidentOpened(component=job, job=job, run="run", attempt=1, signature=diagnosis.signature),
        EvidenceAdded(key="evidence", evidence=evidence),
        DiagnosisRevised(diagnosis=diagnosis, impact=Impact.FAILED, provenance_verified=True, witnessed=True),
        DiagnosisSettled(fault=fault, signature=diagnosis.signature),
    )
    return [
        encoded(Event(f"{name}-{sequence}", "storm", name, time_s, data, sequence))
        for sequence, data in enumerate(told, 1)
    ]


def peak_mb() -> float:
    """Return the most memory that this process has had (MiB). What rusage tells would be its parent's, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Measure, and print a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=1000)
    own = parser.parse_args()
    found = storm(own.incidents, own.hosts)
    print("  ".join(f"{name} {value}" for name, value in found.items()))


def storm(incidents: int, hosts: int, span_s: float = 60.0) -> dict[str, float]:
    """Plan for so many incidents within a span of cluster time; return what was measured and what was done."""
    cases, planner = Cases("storm"), Planner(playbooks())
    policy = Policy(dry_run=False, hosts=hosts, hosts_out=10)
    base_mb = peak_mb()
    said: list[Event] = []
    worst_out = 0
    events = 0
    begun = time.perf_counter()
    spent = 0.0
    planner.follow(cases, Event("policy", "storm", "storm", START_S, PolicyAdopted(policy=policy, playbooks="x")))
    for batch in _batches(incidents, hosts, span_s):
        at = time.perf_counter()
        for value in batch:
            planner.follow(cases, decoded(value))
        events += len(batch)
        now_s = START_S + span_s * events / (4 * incidents)
        fresh = _tick(planner, cases, now_s)
        said += fresh
        for outcome in _orchestrated(fresh, now_s):
            planner.follow(cases, outcome)
        said += _tick(planner, cases, now_s)
        spent += time.perf_counter() - at
        worst_out = max(worst_out, len(cases.ledger.out))
    issued = [event for event in said if isinstance(event.data, CommandIssued)]
    plans = [cases.commands[command_of(event.subject)].plan for event in issued]
    taken = Counter(
        host for plan in plans if plan and ACTIONS[plan.action.kind].takes_out for host in hosts_of(plan.action)
    )
    return {
        "incidents": incidents,
        "events_per_s": round(events / spent),
        "incidents_per_s": round(incidents / spent),
        "seconds": round(time.perf_counter() - begun, 2),
        "memory_mb": round(peak_mb() - base_mb),
        "resident_mb": round(peak_mb()),
        "issued": len(issued),
        "commands": len(cases.commands),
        "most_hosts_out": worst_out,
        "hosts_taken_out_twice": sum(count > 1 for count in taken.values()),
        "said": len(said),
    }


def _batches(incidents: int, hosts: int, span_s: float) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for number in range(incidents):
        batch += incident(number, hosts, START_S + span_s * number / incidents)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tick(planner: Planner, cases: Cases, now_s: float) -> list[Event]:
    tick = RemediationTick(number=cases.tick + 1, time_s=now_s)
    return planner.follow(cases, Event(f"tick-{tick.number}", "storm", "storm", now_s, tick))


def _orchestrated(said: list[Event], now_s: float) -> Iterator[Event]:
    """Yield what orchestrators report of what was issued: all of it succeeds."""
    for event in said:
        if isinstance(event.data, CommandIssued):
            name = command_of(event.subject)
            for status in (OutcomeStatus.STARTED, OutcomeStatus.SUCCEEDED):
                outcome = CommandOutcome(
                    id=f"{name}-{status}", cluster="storm", command=name, status=status, by="bench", at_s=now_s
                )
                yield Event(outcome.id, "storm", name, now_s, OutcomeAdmitted(outcome=outcome))


if __name__ == "__main__":
    main()
