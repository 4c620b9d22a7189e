"""Captures: those that are said to be read are, nothing else is, and what no one can see is not captured."""

import ast
import re
from pathlib import Path

import pytest

from diagnose.rules import read_rules
from schemas.captures import Capture
from tests.diagnose.test_rules import RULE, complaint, written

ROOT = Path(__file__).parents[2]
READERS = [p for f in ("diagnose", "relight", "remediate") for p in sorted((ROOT / f).rglob("*.py"))]


def test_every_capture_of_the_table_is_read_by_its_name_somewhere() -> None:
    named = {n.attr for path in READERS for n in ast.walk(ast.parse(path.read_text("utf-8"))) if _is_capture(n)}
    assert named == {capture.name for capture in Capture}


def _is_capture(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Capture"


def test_no_code_reads_a_capture_by_a_literal_name() -> None:
    literal = re.compile(r"""(?:captures|told)(?:\.get\(|\[)["']""")
    inside = [p for p in READERS if p.is_relative_to(ROOT / "diagnose") or "reports" in p.parts]
    assert [str(p) for p in inside if literal.search(p.read_text("utf-8"))] == []


def test_the_captures_that_are_read_are_those_that_authors_are_told_of() -> None:
    text = (ROOT / "docs/rules.md").read_text("utf-8")
    told = re.search(r"captures that relight reads: (.*?)\. Others", text, re.DOTALL)
    assert told
    assert set(re.findall(r"`(\w+)`", told[1])) == set(Capture) - {Capture.LAST_STEP, Capture.OVER}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pattern": "flux (capacitor) 3 broke"}, "a group without a name is never used; write `(?:` for `(`"),
        ({"unless": "flux (?P<gpu>x)"}, "the capture `gpu` is never used: the line is no evidence; write `(?:` for"),
        ({"kind": "noise", "fault": None, "severity": "info"}, "the capture `gpu` is never used: the line is no evid"),
        ({"pattern": r"flux capacitor (?P<step_>\d+)"}, "nothing reads the capture `step_`; did you mean `step`?"),
        (
            {"pattern": r"flux capacitor (?P<timeout>\d+)"},
            "nothing reads the capture `timeout`; did you mean `timeout_",
        ),
    ],
)
def test_a_capture_that_is_never_used_is_a_mistake(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    assert expected in complaint(written(tmp_path / "own.yaml", RULE | change))


def test_a_capture_of_any_other_name_is_shown_and_so_is_one_that_tells_signals_apart(tmp_path: Path) -> None:
    change = {"pattern": r"flux (?P<what>capacitor) (?P<steps>\d+) broke", "identity": ["steps"]}
    from diagnose import rulecheck

    read = read_rules(written(tmp_path / "own.yaml", RULE | change))
    assert rulecheck.check(read, {}) == []
