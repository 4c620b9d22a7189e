"""Code tables: one signature such as `nvrm.xid` stands for a catalogue of codes, and each code gets its own words.

A row of `diagnose/catalogue/facts/<table>.csv` turns the signature into the one of its code: `nvrm.xid` with the
capture `xid=79` becomes `nvrm.xid.79`, with the fault, severity and action that the vendor's catalogue gives.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from schemas.faults import fault_classes
from schemas.signature import Signature
from schemas.vocabulary import Kind, Severity
from schemas.yaml_files import loaded

_FACTS: Final = resources.files("diagnose").joinpath("catalogue/facts")
_UNKNOWN: Final = {"mnemonic": "", "description": "not in the catalogue", "kind": "fault", "severity": "error"}


@cache
def table(name: str) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of a code table by their codes.

    Raises:
        FileNotFoundError: there is no such table.
    """
    text = _FACTS.joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return MappingProxyType({row["code"]: row for row in csv.DictReader(text.splitlines())})


@cache
def _actions() -> Mapping[str, str]:
    actions: dict[str, str] = loaded(_FACTS.joinpath("actions.yaml").read_text(encoding="utf-8"))
    return actions


@cache
def for_code(signature: Signature, code: str) -> Signature:
    """Return the signature of one code of the table that `signature` names; unknown codes ask for an action."""
    assert signature.table
    number = code.lstrip("0") or "0"
    row = {**_UNKNOWN, **table(signature.table).get(number, {})}
    fault = row.get("fault", "gpu.other_xid" if number not in table(signature.table) else "") or None
    name = signature.table.upper().replace("XID", "Xid")
    return signature.model_copy(
        update={
            "id": f"{signature.id}.{number}",
            "title": f"{row['description']} ({name} {number})"[:90],
            "kind": Kind(row["kind"]),
            "severity": Severity(row["severity"]),
            "fault": fault,
            "table": None,
            "decisive": row["severity"] == "critical",
            "meaning": _meaning(f"{name} {number}", row, fault, signature),
            "action": _actions().get(row.get("immediate_action", ""), _actions()[""]),
        }
    )


def _meaning(code: str, row: Mapping[str, str], fault: str | None, signature: Signature) -> str:
    """Return what a code means: the catalogue's words, and those of its fault class where it has one."""
    named = f"{code} ({row['mnemonic']}): {row['description']}." if row["mnemonic"] else f"{code}: {signature.meaning}"
    meaning = fault_classes()[fault].meaning if fault else ""
    return f"{named} {meaning[:1].upper()}{meaning[1:]}." if meaning else named
