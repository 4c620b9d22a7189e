"""Rules: the shipped catalogue is sound, one's own override it, and an error names file, rule and line."""

from pathlib import Path

import pytest
import yaml

from diagnose import rulecheck
from diagnose.rules import Catalogue, Rule, RuleError, catalogue_of, files_under, read_rules, shipped_files
from diagnose.tables import table
from ingest.decode import decoder_for
from relight.catalogue import catalogue, rules
from schemas.faults import fault_classes
from schemas.record import Source

RULE = {
    "id": "own.rule",
    "title": "The flux capacitor broke",
    "from": "app",
    "fault": "software.user_code",
    "pattern": r"flux capacitor (?P<gpu>\d+) broke",
    "meaning": "It is broken for good.",
    "action": "Replace the capacitor.",
    "source": "https://example.org/flux",
    "match": "the flux capacitor 3 broke",
    "not_match": "the flux capacitor 3 is fine",
}


def written(path: Path, *rules: dict[str, object], **top: object) -> Path:
    """Write a rule file whose first rule is at line 3 and whose others follow each other."""
    text = "layer: own\nsignatures:\n" + "".join(
        f"- {yaml.safe_dump(rule, default_flow_style=True, width=9999)}" for rule in rules
    )
    path.write_text(yaml.safe_dump(top) + text if top else text)
    return path


def complaint(path: Path) -> str:
    """Return what loading says, or else what the linter says."""
    try:
        read = read_rules(path)
    except RuleError as error:
        return str(error)
    (found,) = rulecheck.check(read, {rule.signature.id: rule for rule in read})
    return str(found)


def test_the_shipped_catalogue_is_well_formed() -> None:
    every = rules()
    assert rulecheck.check(every, {rule.signature.id: rule for rule in every}) == []


def test_every_shipped_rule_treats_its_own_lines_rightly() -> None:
    assert rulecheck.test(rules(), decoder_for(Source("rules"), b"")) == []


def test_the_shipped_catalogue_has_at_least_150_signatures_each_id_once() -> None:
    ids = [rule.signature.id for rule in rules()]
    assert len(ids) >= 150
    assert sorted(set(ids)) == sorted(ids)


def test_every_fault_class_but_unknown_is_reached(known: Catalogue) -> None:
    reached = {s.fault for s in known.signatures} | {row["fault"] for t in ("xid", "sxid") for row in table(t).values()}
    assert set(fault_classes()) - {"unknown"} <= reached


def test_every_source_is_an_https_address(known: Catalogue) -> None:
    assert [s.id for s in known.signatures if not s.source.startswith("https://")] == []


def test_every_rule_file_is_shipped_data_with_a_layer() -> None:
    for file in shipped_files():
        assert yaml.safe_load(file.read_bytes())["layer"], file.name


def test_rules_are_read_with_the_line_that_they_begin_at(tmp_path: Path) -> None:
    read = read_rules(written(tmp_path / "own.yaml", RULE, {**RULE, "id": "own.other"}))
    assert [(rule.signature.id, rule.line) for rule in read] == [("own.rule", 3), ("own.other", 4)]


def test_single_values_are_lists_of_one_and_defaults_of_the_file_apply(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    bare = {key: value for key, value in RULE.items() if key != "from"}
    path.write_text(yaml.safe_dump({"defaults": {"from": "kernel", "severity": "critical"}, "signatures": [bare]}))
    (rule,) = read_rules(path)
    assert rule.signature.patterns == (RULE["pattern"],)
    assert (rule.signature.provenance, rule.signature.severity) == (("kernel",), "critical")


def test_a_rule_of_ones_own_is_added_and_one_of_a_shipped_id_replaces_it(tmp_path: Path, known: Catalogue) -> None:
    own = written(tmp_path / "own.yaml", RULE, {**RULE, "id": "nvrm.init-failed"})
    merged = catalogue((tmp_path,))
    assert len(merged.signatures) == len(known.signatures) + 1
    assert merged.by_id["own.rule"].title == RULE["title"]
    assert merged.by_id["nvrm.init-failed"].title == RULE["title"]
    assert catalogue((own,)) == merged


def test_a_catalogue_is_in_the_order_of_its_ids_whatever_the_order_of_its_files(tmp_path: Path) -> None:
    written(tmp_path / "z.yaml", RULE)
    (rule,) = read_rules(tmp_path / "z.yaml")
    before = Rule(rule.signature.model_copy(update={"id": "a.rule"}), "a", 1)
    assert [s.id for s in catalogue_of([rule, before]).signatures] == ["a.rule", "own.rule"]


def test_a_directory_is_read_with_all_that_is_below_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    files = [written(tmp_path / "deep" / "a.yaml", RULE), written(tmp_path / "b.yml", RULE)]
    (tmp_path / "notes.txt").write_text("no rules")
    assert sorted(files_under(tmp_path)) == sorted(files)


@pytest.mark.parametrize("name", ["", "missing", "empty"])
def test_a_path_without_rules_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        files_under(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fault": "gpu.melted"}, "own.yaml:3: rule own.rule: field `fault`: 'gpu.melted' is not a fault class"),
        ({"patern": "x"}, "own.yaml:3: rule own.rule: field `patern`: "),
        ({"severity": "awful"}, "own.yaml:3: rule own.rule: field `severity`: "),
        ({"id": "Own Rule"}, "own.yaml:3: rule Own Rule: field `id`: "),
        ({"source": "http://example.org"}, "own.yaml:3: rule own.rule: field `source`: "),
        ({"match": []}, "own.yaml:3: rule own.rule: field `match`: "),
        ({"fault": None}, "own.yaml:3: rule own.rule: a signature of kind `fault` needs a `fault:` or a `table:`"),
        ({"kind": "start"}, "own.yaml:3: rule own.rule: a signature of kind `start` cannot have a `fault:`"),
        ({"pattern": "flux ("}, "own.yaml:3: rule own.rule: pattern `flux (`: "),
        ({"pattern": "flux(?=x)"}, "own.yaml:3: rule own.rule: pattern `flux(?=x)`: "),
        ({"pattern": r"flux\ncapacitor"}, r"own.yaml:3: rule own.rule: pattern `flux\ncapacitor`: "),
        ({"unless": "flux ["}, "own.yaml:3: rule own.rule: pattern `flux [`: "),
        ({"identity": ["pci"]}, "own.yaml:3: rule own.rule: `identity` names `pci`, which no pattern captures"),
        ({"table": "xid"}, "own.yaml:3: rule own.rule: `table: xid` needs a capture of that name"),
        ({"explains": ["gpu.melted"]}, "own.yaml:3: rule own.rule: `explains` names `gpu.melted`"),
        ({"not_match": RULE["match"]}, "own.yaml:3: rule own.rule: a line stands in `match` and in `not_match`"),
    ],
)
def test_an_error_names_file_line_rule_and_what_is_wrong(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    assert complaint(written(tmp_path / "own.yaml", RULE | change)).startswith(f"{tmp_path}/{expected}")


def test_an_id_that_is_taken_twice_in_a_file_is_an_error_that_names_both_lines(tmp_path: Path) -> None:
    message = complaint(written(tmp_path / "own.yaml", RULE, RULE))
    assert message == f"{tmp_path}/own.yaml:4: rule own.rule: the id is taken already by the rule at line 3"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("signatures:\n- id: 'open\n", 3),
        ("signatures:\n- {id: a}\n  b: [\n", 3),
        ("- just\n- a list\n", 1),
        ("signatures: 7\n", 1),
        ("signatures: []\nrules: []\n", 1),
        ("signatures:\n- just words\n", 2),
        ("", 1),
    ],
)
def test_what_is_no_rule_file_is_an_error_with_a_line(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    assert complaint(path).startswith(f"{path}:{line}: ")


def test_what_a_rule_explains_may_be_a_class_a_glob_or_another_rule(tmp_path: Path) -> None:
    read = read_rules(written(tmp_path / "own.yaml", RULE | {"explains": ["gpu.*", "comm.dns", "own.rule"]}))
    assert rulecheck.check(read, {"own.rule": read[0]}) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"match": "nothing of the kind"}, "`match` line does not match: nothing of the kind"),
        ({"not_match": "flux capacitor 4 broke too"}, "`not_match` line matches: flux capacitor 4 broke too"),
        ({"unless": "capacitor"}, "`match` line does not match: the flux capacitor 3 broke"),
    ],
)
def test_the_lines_of_a_rule_test_it(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    read = read_rules(written(tmp_path / "own.yaml", RULE | change))
    (found,) = rulecheck.test(read, decoder_for(Source("rules"), b""))
    assert str(found) == f"{tmp_path}/own.yaml:3: rule own.rule: {expected}"


def test_lines_cannot_test_a_pattern_that_is_none(tmp_path: Path) -> None:
    read = read_rules(written(tmp_path / "own.yaml", RULE | {"pattern": "flux(?=x)"}))
    (found,) = rulecheck.test(read, decoder_for(Source("rules"), b""))
    assert str(found).startswith(f"{tmp_path}/own.yaml:3: rule own.rule: pattern `flux(?=x)`: ")


@pytest.mark.parametrize("pattern", [r"\d", ".", r"0|\b", "a", ".*"])
def test_a_pattern_without_four_fixed_characters_is_refused(pattern: str) -> None:
    signature = catalogue().by_id["c10d.init-timeout"].model_copy(update={"patterns": (pattern,)})
    assert rulecheck.check([Rule(signature, "own.yaml", 3)], {})


READING = RULE | {"pattern": r"flux capacitor \d+ broke", "match": "the flux capacitor 3 broke after 1,200 ms"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (r"after (?P<time_ms>\S+)", "`values` captures `time_ms`, which is no metric (schemas/metrics.yaml)"),
        (r"after \S+", r"`values` pattern `after \S+` captures nothing"),
        (r"after (?P<step_time_ms>", "`values` pattern `after (?P<step_time_ms>`: missing )"),
    ],
)
def test_values_capture_metrics(tmp_path: Path, values: str, expected: str) -> None:
    assert f"own.yaml:3: rule own.rule: {expected}" in complaint(
        written(tmp_path / "own.yaml", READING | {"values": values})
    )


@pytest.mark.parametrize(
    ("values", "sound"),
    [
        (r"after (?P<step_time_ms>[0-9,]+) ms", True),
        (r"capacitor (?P<step>\d+)", True),
        (r"after (?P<step_time_ms>.+)", False),
        (r"for (?P<step_time_ms>[0-9,]+) ms", False),
    ],
)
def test_values_read_a_number_from_a_line_of_the_rules_own(tmp_path: Path, values: str, sound: bool) -> None:
    read = read_rules(written(tmp_path / "own.yaml", READING | {"values": values}))
    found = [str(error) for error in rulecheck.test(read, decoder_for(Source("rules"), b""))]
    expected = f"{tmp_path}/own.yaml:3: rule own.rule: `values` pattern reads no number from any `match` line: {values}"
    assert found == ([] if sound else [expected])
