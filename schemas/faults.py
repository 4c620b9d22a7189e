"""The fault classes: the closed list of what can go wrong, with the layer, the culprit and the first thing to do."""

import csv
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from schemas.model import Model
from schemas.vocabulary import Culprit, Domain, Layer, RetryOutlook


class FaultClass(Model):
    """One row of `schemas/facts/fault_classes.csv`."""

    fault: str
    layer: Layer
    label: str
    meaning: str
    first_action: str
    culprit: Culprit
    domain: Domain
    retry_outlook: RetryOutlook


@cache
def fault_classes() -> MappingProxyType[str, FaultClass]:
    """Return every fault class by its name, in the order of the table."""
    table = resources.files("schemas").joinpath("facts/fault_classes.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(table.splitlines())
    return MappingProxyType({row["fault"]: FaultClass.model_validate(row) for row in rows})


def faults_matching(pattern: str) -> tuple[str, ...]:
    """Return the fault classes that a name or a glob such as `comm.*` stands for."""
    return tuple(fault for fault in fault_classes() if fnmatchcase(fault, pattern))


def _known(fault: str) -> str:
    if fault not in fault_classes():
        raise ValueError(f"{fault!r} is not a fault class; `relight rules faults` lists them")
    return fault


def _schema() -> dict[str, object]:
    return {"type": "string", "enum": list(fault_classes())}


FaultName = Annotated[str, AfterValidator(_known), WithJsonSchema(_schema())]
"""The name of a fault class, such as `gpu.fallen_off_bus`."""
