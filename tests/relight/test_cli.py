"""The command line: what it says, what it refuses, and with which status it ends."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight import __version__
from relight.cli import FORMATS, main
from relight.published import MODELS
from schemas.faults import fault_classes
from schemas.incident import ScanReport

FAILED = (
    "2026-11-24 03:12:01 INFO starting\nTraceback (most recent call last):\nValueError: the flux capacitor is empty\n"
)
QUIET = "2026-11-24 03:12:01 INFO all is well\n"


def relight(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin, catch_exceptions=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "job.log"
    path.write_text(FAILED)
    return path


@pytest.mark.parametrize("command", [[], ["scan"], ["rules"], ["rules", "list"], ["schemas"], ["schemas", "export"]])
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_every_command_helps(command: list[str], word: str) -> None:
    result = relight(*command, word)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")


def test_the_version_is_told() -> None:
    assert relight("--version").stdout == f"relight, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["scam"], ["scan"], ["scan", "--jobs", "-1", "."], ["scan", "--format", "xml", "."], ["rules", "show"]],
)
def test_a_mistake_in_the_arguments_is_one_line_and_status_2(arguments: list[str]) -> None:
    result = relight(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("relight: ")
    assert "--help" in line


def test_a_scan_names_the_fault_and_ends_with_status_0(log: Path) -> None:
    result = relight("scan", log)
    assert result.exit_code == 0
    assert "ValueError: the flux capacitor is empty" in result.stdout


@pytest.mark.parametrize("form", FORMATS)
def test_a_report_can_be_written_in_any_format_to_a_file(log: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / "report"
    assert relight("scan", log, "--format", form, "--output", target).stdout == ""
    assert "flux capacitor" in target.read_text(encoding="utf-8")


def test_the_json_report_is_a_scan_report(log: Path) -> None:
    report = ScanReport.model_validate_json(relight("scan", log, "-f", "json").stdout)
    assert report.runs[0].outcome == "failed"
    assert report.incidents[0].first_cause.line == 3


def test_standard_input_can_be_scanned() -> None:
    report = json.loads(relight("scan", "-", "-f", "json", stdin=FAILED).stdout)
    assert [run["outcome"] for run in report["runs"]] == ["failed"]


@pytest.mark.parametrize(
    ("text", "severity", "status"),
    [(FAILED, "error", 1), (FAILED, "info", 1), (FAILED, "critical", 0), (QUIET, "info", 0)],
)
def test_the_status_tells_of_failures_if_it_is_asked_to(tmp_path: Path, text: str, severity: str, status: int) -> None:
    (tmp_path / "job.log").write_text(text)
    assert relight("scan", tmp_path, "--fail-on", severity).exit_code == status


def test_a_path_that_is_not_there_is_one_line_and_status_2(tmp_path: Path) -> None:
    result = relight("scan", tmp_path / "missing.log")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("relight: ")
    assert "missing.log" in line


def test_a_report_that_cannot_be_written_is_one_line_and_status_2(log: Path, tmp_path: Path) -> None:
    result = relight("scan", log, "--output", tmp_path / "none" / "report.txt")
    assert result.exit_code == 2
    assert "no such file or directory" in result.stderr


def test_a_mistake_in_a_rule_is_one_line_and_status_2(log: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("signatures:\n- {id: own.rule, title: broken}\n")
    result = relight("scan", log, "--rules", own)
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"relight: {own}:2: rule own.rule: ")


def test_a_rules_directory_that_is_not_there_is_one_line_and_status_2(log: Path) -> None:
    result = relight("scan", log, "--rules", "/nowhere/rules")
    assert result.exit_code == 2
    assert "/nowhere/rules" in result.stderr


def test_rules_are_listed_by_fault_class() -> None:
    lines = relight("rules", "list", "--fault", "storage.disk_full").stdout.splitlines()
    assert len(lines) > 2
    assert all("storage.disk_full" in line for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} signatures"


def test_all_fault_classes_are_listed() -> None:
    lines = relight("rules", "faults").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.split()[0] in fault_classes()] == list(fault_classes())


@pytest.mark.parametrize("name", ["nvrm.xid", "nvrm.xid.79"])
def test_a_rule_is_shown_in_full(name: str) -> None:
    text = relight("rules", "show", name).stdout
    assert text.startswith(f"id: {name}\n")
    assert "action:" in text


def test_a_rule_that_is_not_known_suggests_near_ones() -> None:
    result = relight("rules", "show", "nvrm.xld")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr
    assert "nvrm.xid" in result.stderr
    assert "`relight rules list`" in relight("rules", "show", "qqqqqqqq").stderr


def test_the_shipped_rules_pass() -> None:
    result = relight("rules", "check")
    assert result.exit_code == 0
    assert result.stdout.endswith(" rules pass the check.\n")


def test_rules_of_ones_own_are_checked_alone_and_every_complaint_is_a_line(tmp_path: Path) -> None:
    shown = relight("rules", "show", "storage.disk-full").stdout.replace("storage.disk-full", "own.rule")
    own = tmp_path / "own.yaml"
    own.write_text("signatures:\n- " + shown.replace("\n", "\n  ").rstrip() + "\n  identity: [one, two]\n")
    assert relight("rules", "test", own).stdout == "1 rules pass the test.\n"
    result = relight("rules", "check", own)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 2


def test_the_schemas_of_everything_that_leaves_relight_are_exported(tmp_path: Path) -> None:
    result = relight("schemas", "export", tmp_path / "new" / "folder")
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert {f"{name}.schema.json" for name in MODELS} < {path.name for path in paths}
    for path in (path for path in paths if path.suffix == ".json"):
        schema = json.loads(path.read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["type"] == "object"
        assert unresolved(schema, schema) == []


def unresolved(schema: dict, node: object) -> list[str]:
    """Return the references of a schema that lead nowhere."""
    if isinstance(node, list):
        return [ref for child in node for ref in unresolved(schema, child)]
    if not isinstance(node, dict):
        return []
    ref = node.get("$ref")
    own = [ref] if isinstance(ref, str) and ref.removeprefix("#/$defs/") not in schema.get("$defs", {}) else []
    return own + [ref for child in node.values() for ref in unresolved(schema, child)]


def test_a_report_holds_to_its_exported_schema(log: Path, tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    relight("schemas", "export", tmp_path)
    schema = json.loads((tmp_path / "scan-report.schema.json").read_text())
    jsonschema.validate(json.loads(relight("scan", log, "-f", "json").stdout), schema)
