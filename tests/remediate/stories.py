"""Incidents for the tests of remediation, made up by hand."""

from typing import Any

from schemas.faults import fault_classes
from schemas.history import DiagnosisRevised, DiagnosisSettled, IncidentHistory, IncidentOpened
from schemas.incident import Blamed, Diagnosis, Scope
from schemas.playbook import Playbook
from schemas.vocabulary import Culprit, Impact, Severity

START_S = 1_778_554_800.0
PCI = "0000:3b:00"
KNOWN: dict[Culprit, dict[str, Any]] = {
    Culprit.GPU: {"host": "node03", "gpu": PCI},
    Culprit.NIC: {"host": "node03", "nic": "mlx5_0"},
    Culprit.HOST: {"host": "node03"},
    Culprit.RANK: {"host": "node03", "rank": 7},
    Culprit.FILE: {"host": "node03", "file": "/ckpt/step_100/model.pt"},
    Culprit.JOB: {},
}
"""What a diagnosis knows of a culprit of each kind."""


def incident(
    fault: str = "gpu.fallen_off_bus",
    *,
    name: str = "one",
    signature: str = "nvrm.xid.79",
    kind: Culprit = Culprit.GPU,
    job: str | None = "48211",
    impact: Impact = Impact.FAILED,
    confidence: float = 0.9,
    verified: bool = True,
    settled: bool = True,
    hosts: tuple[str, ...] = ("node03", "node04"),
    opened_s: float = START_S,
    diagnosis: dict[str, Any] | None = None,
    **culprit: Any,
) -> IncidentHistory:
    """Return an incident. `culprit` is what is known of it otherwise than usual, `diagnosis` other fields of that."""
    row = fault_classes()[fault]
    known = KNOWN[kind] | culprit
    found = Diagnosis(
        **{
            "fault": fault, "signature": signature, "title": row.label, "meaning": row.meaning, "action": "Look at it.",
            "playbook": row.first_action, "severity": Severity.CRITICAL, "confidence": confidence,
            "culprit": Blamed(kind=kind, name=f"a {kind}", **known),
            "scope": Scope(hosts=hosts, ranks=(1, 2), sources=2, summary="2 ranks"), "domain": row.domain,
            "retry_outlook": row.retry_outlook, "first_cause": None,
        } | (diagnosis or {})
    )  # fmt: skip
    opened = IncidentOpened(component=job or "kern.log", job=job, run="run", attempt=1, signature=signature)
    revised = DiagnosisRevised(diagnosis=found, impact=impact, provenance_verified=verified, witnessed=verified)
    told = [(opened, opened_s), (revised, opened_s)]
    if settled:
        told.append((DiagnosisSettled(fault=fault, signature=signature), opened_s + 30))
    return IncidentHistory.of(name, told)


def undiagnosed() -> IncidentHistory:
    """Return an incident that has only been opened."""
    opened = IncidentOpened(component="48211", job="48211", run="run", attempt=1, signature="nvrm.xid.79")
    return IncidentHistory.of("one", [(opened, START_S)])


def playbook(name: str, faults: object = "gpu.fallen_off_bus", **more: Any) -> Playbook:
    """Return a playbook that only notifies, unless told otherwise."""
    plain = {"id": name, "title": f"The playbook {name}", "faults": faults, "ladder": [notify()]}
    return Playbook.model_validate(plain | more)


def notify(**more: Any) -> dict[str, Any]:
    """Return a rung that notifies, as YAML has it."""
    return rung("notify", **more)


def rung(action: str, **more: Any) -> dict[str, Any]:
    """Return a rung, as YAML has it."""
    return {"action": action, "why": "It is worth a try."} | more
