"""What cannot be read, or is asked for wrongly: one clear line each on standard error, never a traceback."""

import gzip
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import wording
from cluster import BEGIN_S
from command import relight, scan

FAILING = "\n".join(wording.python_exception(0, "KeyError: 'attention_mask'")) + "\n"
GOOD = wording.titan(BEGIN_S, "Training starts at step 1") + "\n" + wording.step(BEGIN_S + 10, 1, 9.0) + "\n" + FAILING

OWN_RULE = """layer: own
signatures:
  - id: own.reactor
    title: The reactor is too warm
    from: app
    severity: error
    fault: training.hang
    pattern: 'reactor temperature exceeded'
    meaning: It is warm.
    action: Cool it.
    source: https://example.com/reactor
    match: ['reactor temperature exceeded: 99']
    not_match: ['reactor temperature normal']
"""


def _refused(*arguments: str | Path) -> list[str]:
    """Return the lines of standard error of a call that must end with status 2 and print nothing else."""
    answer = relight(*arguments)
    assert answer.status == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    return answer.err.splitlines()


def test_a_path_that_does_not_exist_is_said_in_one_line(tmp_path: Path) -> None:
    (line,) = _refused("scan", tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in line


def test_each_of_two_missing_paths_has_its_line(tmp_path: Path) -> None:
    lines = _refused("scan", tmp_path / "one", tmp_path / "two")
    assert [("one" in lines[0]), ("two" in lines[1]), len(lines)] == [True, True, 2]


def test_a_glob_that_nothing_matches_is_said_in_one_line(tmp_path: Path) -> None:
    (line,) = _refused("scan", f"{tmp_path}/*.out")
    assert "*.out" in line


def test_an_empty_directory_is_said_in_one_line(tmp_path: Path) -> None:
    (line,) = _refused("scan", tmp_path)
    assert str(tmp_path) in line


def test_a_truncated_archive_alone_is_read_as_far_as_it_goes_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.log.gz"
    path.write_bytes(gzip.compress(GOOD.encode() * 400, mtime=0)[:-300])
    answer = relight("scan", path)
    assert answer.status in (0, 2)
    (line,) = answer.err.splitlines()
    assert "job.log.gz" in line


def test_a_truncated_archive_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "job.log.gz"
    path.write_bytes(gzip.compress(GOOD.encode())[:12])
    (line,) = _refused("scan", path)
    assert "job.log.gz" in line


def test_a_missing_path_among_others_does_not_keep_them_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    answer = scan(tmp_path / "job.log", tmp_path / "nowhere")
    (line,) = answer.err.splitlines()
    assert "nowhere" in line
    assert [i["fault"] for i in answer.failures] == ["software.user_code"]
    assert [Path(p["path"]).name for p in answer.report["scanned"]["problems"]] == ["nowhere"]


def test_a_truncated_file_among_others_does_not_keep_them_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (tmp_path / "node01.log.gz").write_bytes(gzip.compress(GOOD.encode())[:12])
    answer = scan(tmp_path)
    (line,) = answer.err.splitlines()
    assert "node01.log.gz" in line
    assert answer.outcomes == ["failed"]


def test_a_file_of_another_kind_among_others_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (tmp_path / "weights.bin").write_bytes(b"\x7fELF" + bytes(4096))
    answer = scan(tmp_path)
    assert [Path(p["path"]).name for p in answer.report["scanned"]["skipped"]] == ["weights.bin"]
    assert answer.outcomes == ["failed"]


def test_an_archive_of_logs_is_read_like_a_directory(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    with tarfile.open(tmp_path / "logs.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "job.log", "run7/job.log")
    answer = scan(tmp_path / "logs.tar.gz")
    assert [i["fault"] for i in answer.failures] == ["software.user_code"]


def test_a_file_of_random_bytes_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "noise.log").write_bytes(bytes((at * 7919 + at // 251) % 256 for at in range(100_000)))
    answer = scan(tmp_path / "noise.log")
    assert answer.failures == []


def test_an_empty_file_is_an_incomplete_run(tmp_path: Path) -> None:
    (tmp_path / "job.log").touch()
    answer = scan(tmp_path)
    assert answer.outcomes == ["incomplete"]
    assert answer.incidents == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (OWN_RULE.replace("The reactor", "[The reactor"), "own.yaml"),
        (OWN_RULE.replace("pattern:", "patern:"), "pattern"),
        (OWN_RULE.replace("training.hang", "no.such"), "no.such"),
        (OWN_RULE.replace("exceeded'", "(exceeded'"), "own.yaml"),
    ],
    ids=["no YAML", "no such field", "no such fault class", "no regular expression"],
)
def test_a_rule_file_with_a_mistake_is_refused_with_its_name_and_place(wrong: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (tmp_path / "own.yaml").write_text(wrong)
    lines = _refused("scan", tmp_path / "job.log", "--rules", tmp_path / "own.yaml")
    assert any("own.yaml" in line for line in lines)
    assert any(told in line for line in lines)


def test_rules_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (line,) = _refused("scan", tmp_path / "job.log", "--rules", tmp_path / "nowhere")
    assert "nowhere" in line


def test_a_rule_of_ones_own_is_used(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "own.yaml").write_text(OWN_RULE)
    (tmp_path / "job.log").write_text(GOOD.replace(FAILING, "reactor temperature exceeded: 99\n"))
    (failure,) = scan(tmp_path / "job.log", "--rules", tmp_path / "rules").failures
    assert failure["signature"] == "own.reactor"


@pytest.mark.parametrize("arguments", [("--format", "xml"), ("--group", "host"), ("--jobs", "many"), ("--colour",)])
def test_an_option_that_is_not_known_is_refused_and_the_choices_are_named(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (line,) = _refused("scan", tmp_path / "job.log", *arguments)
    assert "scan --help" in line


def test_scan_without_a_path_is_refused() -> None:
    assert "Missing argument" in _refused("scan")[-1]


def test_fail_on_error_exits_with_1_after_the_report_when_a_run_failed(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    answer = relight("scan", tmp_path / "job.log", "--fail-on", "error")
    assert answer.status == 1
    assert "attention_mask" in answer.out


def test_fail_on_error_exits_with_0_when_nothing_failed(tmp_path: Path) -> None:
    done = wording.titan(BEGIN_S + 60, "Training completed") + "\n"
    (tmp_path / "job.log").write_text(GOOD.replace(FAILING, done))
    assert relight("scan", tmp_path / "job.log", "--fail-on", "error").status == 0


def test_without_fail_on_a_failed_run_is_no_failure_of_the_scan(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    assert relight("scan", tmp_path / "job.log").status == 0


def test_a_report_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    (line,) = _refused("scan", tmp_path / "job.log", "--output", tmp_path / "nowhere" / "report.txt")
    assert "report.txt" in line


def test_the_installed_command_reads_standard_input(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from relight.cli import main; main()", "scan", "-", "--format", "text"]
    done = subprocess.run(command, input=GOOD, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "attention_mask" in done.stdout
    assert done.stderr == ""


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text(GOOD)
    command = (
        f'"{sys.executable}" -c "from relight.cli import main; main()" scan "{tmp_path}/job.log" -f html | head -c 10'
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
