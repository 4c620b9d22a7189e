"""Conflicts of rules: two faults on one line, a benign line taken for a fault, a line that its rule never gets."""

from pathlib import Path

import pytest

from diagnose import rulecheck, ruleconflicts
from diagnose.benign import benign_lines
from diagnose.matching import database
from diagnose.matching.scanner import Scanner
from diagnose.rules import catalogue_of, read_rules
from ingest.decode import decoder_for
from relight.catalogue import rules
from relight.rulebook import checked
from schemas.record import Source
from tests.diagnose.test_rules import RULE, written

SHIPPED = ("nvrm.fallen-off-bus", "noise.advice.may-encounter")
LARGE = "(?:flux capacitor 3 broke){900}"


def complaints(tmp_path: Path, *own: dict[str, object]) -> list[str]:
    """Return the conflicts of a user's own rules with each other and with some shipped ones."""
    mine = read_rules(written(tmp_path / "own.yaml", *own))
    known = {rule.signature.id: rule for rule in rules() if rule.signature.id in SHIPPED}
    known |= {rule.signature.id: rule for rule in mine}
    order, decoder = database.plan(catalogue_of(known.values())), decoder_for(Source("rules"), b"")
    find = ruleconflicts.finding(Scanner(order, database.compiled(order.expressions)), decoder)
    found = ruleconflicts.conflicts(mine, known, find, decoder)
    return [str(complaint).removeprefix(f"{tmp_path}/") for complaint in found]


def rule(name: str, **change: object) -> dict[str, object]:
    return RULE | {"id": name} | change


def test_the_shipped_rules_get_on_with_each_other_and_with_benign_lines() -> None:
    count, found = checked([])
    assert (count, [str(complaint) for complaint in found]) == (len(rules()), [])


def test_two_faults_on_one_line_are_an_overlap_that_names_both_and_the_line(tmp_path: Path) -> None:
    wide = rule("own.wide", pattern="capacitor .*broke", fault="gpu.thermal_power")
    (said,) = complaints(tmp_path, rule("own.rule", fault="storage.disk_full"), wide)
    assert said.startswith("own.yaml:3: rule own.rule: overlap: a line is storage.disk_full to `own.rule` and")
    assert "gpu.thermal_power to `own.wide`" in said
    assert said.endswith("The line, a `match` of `own.rule`: the flux capacitor 3 broke")


@pytest.mark.parametrize(
    "change",
    [{"generic": True}, {"fault": RULE["fault"]}, {"explains": ["own.rule"]}, {"unless": "flux"}],
    ids=["catch-all", "same fault", "explained", "narrowed"],
)
def test_it_is_no_overlap_if_one_gives_way_says_the_same_or_leads_to_the_other(
    tmp_path: Path, change: dict[str, object]
) -> None:
    wide = {"pattern": "capacitor .*broke", "fault": "gpu.thermal_power", "match": "the old capacitor broke"}
    assert complaints(tmp_path, rule("own.rule", fault="storage.disk_full"), rule("own.wide", **wide | change)) == []


def test_a_rule_of_ones_own_that_claims_a_shipped_rules_line_is_named_and_the_shipped_one_is_not(
    tmp_path: Path,
) -> None:
    own = rule(
        "own.bus", pattern="has fallen off the bus", fault="storage.disk_full", match="card has fallen off the bus"
    )
    found = complaints(tmp_path, own)
    assert found
    assert all(said.startswith("own.yaml:3: rule own.bus: overlap: ") for said in found)
    assert any("`nvrm.fallen-off-bus`" in said for said in found)


def test_a_rule_that_accepts_a_benign_line_is_told_which(tmp_path: Path) -> None:
    own = rule("own.timeout", pattern="unheard of|worker group successfully", match="worker group successfully lost")
    (said,) = complaints(tmp_path, own)
    assert said.startswith("own.yaml:3: rule own.timeout: accepts the benign line benign/launchers.txt:")


def test_a_rule_whose_own_line_is_noise_is_told_by_whose_word(tmp_path: Path) -> None:
    (said,) = complaints(tmp_path, rule("own.rule", match="you may encounter that the flux capacitor 3 broke"))
    assert said.startswith(
        "own.yaml:3: rule own.rule: `match` line is not found in a log, for `noise.advice.may-encount"
    )


def test_a_rule_whose_own_line_another_writer_printed_is_told_who_did(tmp_path: Path) -> None:
    line = "slurmstepd: error: *** STEP 561.17 ON node017 CANCELLED AT 2024-05-01T04:11:25 ***"
    (said,) = complaints(tmp_path, rule("own.rule", pattern="ON (?P<host>[^ ]+) CANCELLED AT", match=line))
    assert "rule own.rule: `match` line is not found in a log, for its prefix says that `scheduler` wrote it: " in said


def test_a_pattern_that_the_scanning_engine_refuses_is_named(tmp_path: Path) -> None:
    read = read_rules(written(tmp_path / "own.yaml", rule("own.rule"), rule("own.large", pattern=LARGE)))
    (said,) = rulecheck.refused(read)
    assert str(said).startswith(
        f"{tmp_path}/own.yaml:4: rule own.large: pattern `{LARGE}`: the scanning engine refuses"
    )


def test_there_are_500_benign_lines_each_once_in_families_that_say_where_their_format_comes_from() -> None:
    lines = list(benign_lines())
    assert len(lines) >= 500
    assert len({line.text for line in lines}) == len(lines)
    for file in Path("diagnose/catalogue/benign").iterdir():
        assert file.read_text(encoding="utf-8").startswith("# "), file
        assert "https://" in file.read_text(encoding="utf-8").split("\n")[0], file
