"""The cause graph: which fault can follow from which, read from `diagnose/catalogue/causes.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from diagnose.rules import RuleError
from schemas.faults import fault_classes, faults_matching
from schemas.signature import Signature
from schemas.yaml_files import loaded


@dataclass(frozen=True)
class CauseGraph:
    """For every fault class, what it can cause: fault classes and signature ids.

    `vagueness` ranks symptoms, from 1 for the most telling one.
    """

    consequences: Mapping[str, frozenset[str]]
    anything: frozenset[str]
    symptoms: frozenset[str]
    confirms_late: frozenset[str]
    vagueness: Mapping[str, int] = field(default_factory=dict)

    def explains(self, cause: Signature, consequence: Signature) -> bool:
        """Tell whether one signature's fault can lead to another's, leaving time aside.

        Two signatures of one fault say the same thing twice: the one that comes first explains the other, but a
        catch-all does not explain what is specific.
        """
        if cause.fault is None or consequence.fault is None or cause.id == consequence.id:
            return False
        if cause.fault == consequence.fault:
            return consequence.generic or not cause.generic
        known = self.consequences[cause.fault] | _expanded(cause.explains)
        if cause.id in self.consequences[consequence.fault] - self.anything and consequence.id not in known:
            return False  # it is named as what follows
        vaguer = consequence.generic and not cause.generic and cause.fault not in self.symptoms
        return consequence.fault in known or consequence.id in known or vaguer

    def leads_to(self, warning: Signature, fault: Signature) -> bool:
        """Tell whether a warning can have led to a fault by more than what every fault can lead to."""
        return self.explains(warning, fault) and fault.fault not in self.anything


@cache
def cause_graph() -> CauseGraph:
    """Return the shipped graph.

    Raises:
        RuleError: the file names something that is not a fault class, or leaves one out.
    """
    file = resources.files("diagnose").joinpath("catalogue/causes.yaml")
    data = loaded(file.read_text(encoding="utf-8"))
    if missing := sorted(set(fault_classes()) - set(data["causes"])):
        raise RuleError(str(file), 1, f"`causes` leaves out {', '.join(missing)}")
    anything = _expanded(tuple(data["anything"]))
    return CauseGraph(
        consequences={
            cause: (anything | _expanded(tuple(follows))) - {cause} for cause, follows in data["causes"].items()
        },
        anything=anything,
        symptoms=_expanded(tuple(data["symptoms"])),
        confirms_late=_expanded(tuple(data["confirms_late"])),
        vagueness={name: rank for rank, name in enumerate(reversed(data["symptoms"]), 1)},
    )


@cache
def _expanded(names: tuple[str, ...]) -> frozenset[str]:
    """Return the fault classes that globs stand for; a name that is no fault class is a signature's id."""
    return frozenset(fault for name in names for fault in faults_matching(name) or (name,))
