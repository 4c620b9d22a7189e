"""What rules say of causes: no circle of their own making, no name that leads nowhere, no fault that nobody finds."""

from pathlib import Path

import pytest

from diagnose import rulegraph
from diagnose.rules import Rule, read_rules
from relight.catalogue import rules
from tests.diagnose.test_rules import RULE, written


def known_with(path: Path, *own: tuple[str, str, list[str]]) -> tuple[list[Rule], dict[str, Rule]]:
    """Return rules made of an id, a fault and what it explains, and all rules in force with them."""
    mine = read_rules(written(path / "own.yaml", *(RULE | {"id": i, "fault": f, "explains": e} for i, f, e in own)))
    return mine, {rule.signature.id: rule for rule in (*rules(), *mine)}


def circles(path: Path, *own: tuple[str, str, list[str]]) -> list[str]:
    return [str(complaint).partition(": rule ")[2] for complaint in rulegraph.circles(*known_with(path, *own))]


def test_a_circle_is_said_once_with_its_path(tmp_path: Path) -> None:
    own = ("own.a", "comm.dns", ["own.b"]), ("own.b", "gpu.pcie_error", ["own.c"]), ("own.c", "host.config", ["own.a"])
    (said,) = circles(tmp_path, *own)
    assert said.startswith("own.a: `explains` goes in a circle: own.a -> own.b -> own.c -> own.a; ")


def test_a_circle_through_the_classes_that_rules_name_is_one(tmp_path: Path) -> None:
    (said,) = circles(tmp_path, ("own.a", "comm.dns", ["gpu.*"]), ("own.b", "gpu.pcie_error", ["comm.dns"]))
    assert "own.a -> own.b -> own.a" in said


@pytest.mark.parametrize("explains", ["own.a", "comm.dns"])
def test_a_rule_that_explains_itself_or_its_own_class_is_a_circle(tmp_path: Path, explains: str) -> None:
    (said,) = circles(tmp_path, ("own.a", "comm.dns", [explains]))
    assert "own.a -> own.a" in said


def test_a_glob_that_holds_its_own_class_is_no_circle_nor_is_a_chain(tmp_path: Path) -> None:
    own = ("own.a", "comm.dns", ["comm.*", "own.b"]), ("own.b", "gpu.pcie_error", ["own.c"])
    assert circles(tmp_path, *own, ("own.c", "host.config", ["launcher.*"])) == []


def test_a_circle_of_others_is_not_the_fault_of_a_rule_that_leads_into_it(tmp_path: Path) -> None:
    own = ("own.a", "comm.dns", ["own.b"]), ("own.b", "gpu.pcie_error", ["own.b"])
    mine, known = known_with(tmp_path, *own)
    assert list(rulegraph.circles(mine[:1], known)) == []


def test_a_fault_class_without_a_signature_is_named_with_its_line() -> None:
    known = {rule.signature.id: rule for rule in rules() if rule.signature.fault != "comm.dns"}
    (said,) = map(str, rulegraph.unreached(known))
    assert "fault_classes.csv:" in said
    assert said.endswith("no signature finds comm.dns; write one, or take the class out")


def test_a_class_that_only_codes_of_a_table_have_is_reached() -> None:
    known = {rule.signature.id: rule for rule in rules() if rule.signature.fault != "gpu.other_xid"}
    assert list(rulegraph.unreached(known)) == []


def test_a_consequence_that_no_rule_has_is_named_with_its_line() -> None:
    known = {rule.signature.id: rule for rule in rules() if rule.signature.table != "xid"}
    said = [str(complaint) for complaint in rulegraph.dangling(known)]
    assert any("causes.yaml:" in s and "`nvrm.xid.31`, which is neither a fault class nor a rule" in s for s in said)
    assert list(rulegraph.dangling({rule.signature.id: rule for rule in rules()})) == []
