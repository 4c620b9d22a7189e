"""Ladders: which playbook an incident asks for, and what a rung of it comes to. Guards and time are elsewhere."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter, ValidationError

from remediate.conditions import ADVANTAGES, Specificity, fault_rank, specificity, unmet
from schemas.action import Action
from schemas.history import DiagnosisRevised, IncidentHistory, State
from schemas.incident import Blamed
from schemas.playbook import Aim, Playbook, Rung
from schemas.vocabulary import Culprit

_LONGEST: Final = 512
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_GPU: Final = re.compile(
    r"(?:GPU|MIG)-[0-9A-Fa-f-]{8,}|(?:[0-9A-Fa-f]{4,8}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f])?"
)
_ON_A_HOST: Final = (Culprit.GPU, Culprit.NIC, Culprit.HOST, Culprit.RANK)
"""What a host can be held responsible for. A file or a job that is blamed has a host only because one spoke of it."""


Recurring = tuple[str, str, str]
"""A fault class, and the machine, the part of it or the job that has it."""


@dataclass(frozen=True, slots=True)
class PassedBy:
    """A playbook for the fault that was not chosen, and why."""

    playbook: str
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The playbook for an incident, or none, and why; and the others for its fault."""

    playbook: Playbook | None
    why: str
    others: tuple[PassedBy, ...] = ()


class Lack(StrEnum):
    """What a rung lacks: something to do it to, a diagnosis that is sure enough, or someone who vouches for it."""

    TARGET = "target"
    CONFIDENCE = "confidence"
    PROVENANCE = "provenance"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A rung that is passed over, and why."""

    reason: str
    lack: Lack = Lack.TARGET


def choose(playbooks: Iterable[Playbook], incident: IncidentHistory, recurrences_s: Sequence[float] = ()) -> Choice:
    """Return the playbook for an incident: of all that apply, the most specific one.

    A playbook applies if it is for the fault and all its conditions hold. Which one is more specific is decided by the
    first difference in `Specificity`: naming the host or the job, then the fault, then the number of conditions, and so
    on. Where nothing differs, the id that comes first in the alphabet wins. The order of `playbooks` plays no part.

    Args:
        playbooks: Those in force, each id once.
        incident: What happened.
        recurrences_s: How long before the incident the same happened already, in seconds, each time: `recurrences`.
    """
    found = incident.diagnosed
    if found is None:
        return Choice(None, "it has no diagnosis yet")
    fault = found.diagnosis.fault
    for_it = sorted((p for p in playbooks if fault_rank(p, fault) is not None), key=lambda p: p.id)
    failed = {p.id: tuple(unmet(p.when, incident, found, recurrences_s)) for p in for_it}
    ranked = sorted(
        ((specificity(p, incident, found), p) for p in for_it if not failed[p.id]),
        key=lambda pair: tuple(-part for part in pair[0]),
    )
    passed = tuple(PassedBy(p.id, "; ".join(failed[p.id])) for p in for_it if failed[p.id])
    if not ranked:
        return Choice(None, f"no playbook for {fault} applies" if for_it else f"no playbook is for {fault}", passed)
    (best, chosen), *rest = ranked
    beaten = tuple(PassedBy(p.id, f"it applies too, but {chosen.id} {_advantage(best, other)}") for other, p in rest)
    why = f"it {_advantage(best, rest[0][0])}" if rest else f"no other playbook for {fault} applies"
    return Choice(chosen, why, beaten + passed)


def recurrences(incident: IncidentHistory, others: Iterable[IncidentHistory]) -> tuple[float, ...]:
    """Return how long before an incident the same happened already, in seconds, each time.

    The same is the same fault class on the same GPU or host; where none is to blame, in the same job.
    """
    key = recurring(incident)
    return () if key is None else ages(incident, (other for other in others if recurring(other) == key))


def ages(incident: IncidentHistory, alike: Iterable[IncidentHistory]) -> tuple[float, ...]:
    """Return how long before an incident those opened that are the same happening, in seconds."""
    if incident.opened_s is None:
        return ()
    found = (
        incident.opened_s - other.opened_s
        for other in alike
        if other.opened_s is not None and other.state is not State.MERGED and other.id != incident.id
    )
    return tuple(sorted(age for age in found if age >= 0))


def recurring(incident: IncidentHistory) -> Recurring | None:
    """Return what two incidents have in common of which one is the other's recurrence, `None` where that is unknown."""
    if incident.diagnosed is None:
        return None
    diagnosis = incident.diagnosed.diagnosis
    if (part := part_of(diagnosis.culprit)) is not None:
        return diagnosis.fault, "part", part
    job = incident.opened.job if incident.opened else None
    return (diagnosis.fault, "job", job) if job else None


def part_of(culprit: Blamed) -> str | None:
    """Return the name of the machine or the part of it that is blamed, `None` where it is neither.

    A GPU is named by its UUID where that is known: the one that takes its place begins with a clean record.
    """
    if not culprit.host or culprit.kind not in _ON_A_HOST:
        return None
    is_gpu = culprit.kind is Culprit.GPU and culprit.gpu is not None and _GPU.fullmatch(culprit.gpu)
    return f"{culprit.host}/{culprit.gpu}" if is_gpu else culprit.host


def action_of(rung: Rung, incident: IncidentHistory) -> Action | Unresolved:
    """Return what a rung comes to for an incident: its action, done to what the diagnosis blames.

    The job is the one in which the incident was opened. Host, GPU and rank are the culprit's; a host is aimed at only
    where a GPU, a NIC, a rank or the host itself is blamed, and a GPU only where it is blamed itself. Nothing is taken
    from a log line's text. Unresolved is a rung whose target is not known, or that asks for more confidence than there
    is, or whose action may be destructive or take a machine away while nothing vouches for the lines of the cause.
    """
    found = incident.diagnosed
    if found is None:
        return Unresolved("it has no diagnosis yet")
    if (distrust := _distrust(rung, found)) is not None:
        return distrust
    fields = rung.facts.model.model_fields
    targets = {name: _TARGETS[name](rung, incident, found) for name in fields if name in _TARGETS}
    unknown = {name: target for name, target in targets.items() if isinstance(target, Unresolved)}
    optional = [name for name in targets if not fields[name].is_required()]
    missing = [why for name, why in unknown.items() if name not in optional]
    if not missing and optional and set(optional) <= set(unknown):  # one of them there has to be
        missing = list(unknown.values())
    if missing:
        return Unresolved("; ".join(why.reason for why in missing))
    known = {name: target for name, target in targets.items() if name not in unknown}
    try:
        return _ACTION.validate_python({"kind": rung.action, **known, **rung.literals})
    except ValidationError as error:
        return Unresolved(error.errors(include_url=False)[0]["msg"])


def _distrust(rung: Rung, found: DiagnosisRevised) -> Unresolved | None:
    confidence = found.diagnosis.confidence
    if confidence < rung.confidence:
        reason = f"the confidence is {confidence:.2f}, less than the {rung.confidence:.2f} that this step asks for"
        return Unresolved(reason, Lack.CONFIDENCE)
    if rung.facts.destructive and not found.provenance_verified:
        return Unresolved(
            "the step may be destructive, and nothing vouches for the lines of the cause", Lack.PROVENANCE
        )
    if rung.facts.of_a_machine and not found.witnessed:
        why = "the step may take a machine away, and a job could have written the lines of the cause"
        return Unresolved(why, Lack.PROVENANCE)
    return None


def _job(rung: Rung, incident: IncidentHistory, found: DiagnosisRevised) -> str | Unresolved:
    job = incident.opened.job if incident.opened else None
    if not job:
        return Unresolved("no job is known to have suffered")
    return sound_job(incident) or Unresolved("what is known as the job is no name of one")


def sound_job(incident: IncidentHistory) -> str | None:
    """Return the job that an incident happened to, `None` where none is known that commands may name."""
    job = incident.opened.job if incident.opened else None
    return job if job and job.isprintable() and not job.startswith("-") and len(job) <= _LONGEST else None


def sound_host(incident: IncidentHistory) -> str | None:
    """Return the host of the culprit, `None` where none is known that commands may name."""
    host = incident.diagnosed.diagnosis.culprit.host if incident.diagnosed else None
    found = _sound(host or "")
    return None if isinstance(found, Unresolved) else found


def _host(rung: Rung, incident: IncidentHistory, found: DiagnosisRevised) -> str | Unresolved:
    culprit = found.diagnosis.culprit
    if culprit.kind not in _ON_A_HOST:
        return Unresolved(f"a {culprit.kind} is blamed, not a host")
    if not culprit.host:
        return Unresolved("the host of the culprit is not known")
    return _sound(culprit.host)


def _hosts(rung: Rung, incident: IncidentHistory, found: DiagnosisRevised) -> tuple[str, ...] | Unresolved:
    if rung.on is Aim.CULPRIT:
        host = _host(rung, incident, found)
        return host if isinstance(host, Unresolved) else (host,)
    hosts = found.diagnosis.scope.hosts
    if not hosts:
        return Unresolved("no host is known to be concerned")
    return next((bad for bad in map(_sound, hosts) if isinstance(bad, Unresolved)), hosts)


def _sound(host: str) -> str | Unresolved:
    return host if _HOST.fullmatch(host) else Unresolved("what is known as the host is no name of one")


def _gpu(rung: Rung, incident: IncidentHistory, found: DiagnosisRevised) -> str | Unresolved:
    culprit: Blamed = found.diagnosis.culprit
    if culprit.kind is not Culprit.GPU:
        return Unresolved(f"a {culprit.kind} is blamed, not a GPU")
    if not culprit.gpu:
        return Unresolved("the GPU is not known")
    if not _GPU.fullmatch(culprit.gpu):
        return Unresolved("neither the UUID nor the PCI address of the GPU is known: not all programs count GPUs alike")
    return culprit.gpu


def _rank(rung: Rung, incident: IncidentHistory, found: DiagnosisRevised) -> int | Unresolved:
    rank = found.diagnosis.culprit.rank
    return Unresolved("the rank is not known") if rank is None else rank


_Target = Callable[[Rung, IncidentHistory, DiagnosisRevised], str | int | tuple[str, ...] | Unresolved]
_TARGETS: Final[Mapping[str, _Target]] = {"job": _job, "host": _host, "hosts": _hosts, "gpu": _gpu, "rank": _rank}
"""What a parameter of an action is filled with from an incident."""
_ACTION: Final[TypeAdapter[Action]] = TypeAdapter(Action)


def _advantage(better: Specificity, worse: Specificity) -> str:
    differing = (name for name, one, other in zip(Specificity._fields, better, worse, strict=True) if one != other)
    name = next(differing, None)
    return ADVANTAGES[name] if name else "comes first in the alphabet"
