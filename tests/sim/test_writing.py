"""What is written: the same bytes for the same seed, skewed clocks, lost lines, and a host that falls silent."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.sim.tape import Entry, Tape
from relight.sim.telling import write
from relight.sim.training import Course, trained
from relight.sim.truth import Truth
from relight.sim.world import Options, simulated


def relight(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def digest(folder: Path) -> str:
    """Return a digest of all files below a folder, with their names and times."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(folder)} {path.stat().st_mtime if 'logs' in path.parts else 0}\n".encode())
            whole.update(path.read_bytes())
    return whole.hexdigest()


def test_the_same_seed_makes_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        command = [sys.executable, "-m", "relight", "sim", "write", str(out)]
        options = ["--seed", "4", "--hosts", "4", "--incidents", "2", "--days", "0.05", "--loss", "0.1", "--skew", "5"]
        entry = [sys.executable, "-c", "from relight.cli import main; main()", *command[3:], *options]
        subprocess.run(entry, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, stdout=subprocess.DEVNULL)
        digests.add(digest(out))
    assert len(digests) == 1


def test_another_seed_makes_other_bytes(tmp_path: Path) -> None:
    for seed in (1, 2):
        assert (
            relight("sim", "write", tmp_path / str(seed), "--seed", seed, "--hosts", 1, "--days", 0.02).exit_code == 0
        )
    assert digest(tmp_path / "1") != digest(tmp_path / "2")


def written(out: Path, **options: object) -> Truth:
    return write(simulated(Options(**{"seed": 3, "hosts": 3, "days": 0.1, **options})), out)  # type: ignore[arg-type]


def test_loss_drops_about_so_many_lines(tmp_path: Path) -> None:
    whole, lossy = written(tmp_path / "a"), written(tmp_path / "b", loss=0.3)
    assert 0.65 < lossy.lines / whole.lines < 0.75


def test_a_telling_line_that_is_lost_is_not_in_the_truth(tmp_path: Path) -> None:
    lost = [written(tmp_path / str(n), seed=n, scenario="gpu-off-bus", loss=0.9, hosts=1) for n in range(6)]
    assert any(truth.incidents[0].first_line is None for truth in lost)
    assert all(not truth.incidents[0].silent for truth in lost)


def test_clocks_are_wrong_by_the_skew_at_most(tmp_path: Path) -> None:
    world = simulated(Options(seed=3, hosts=40, days=0.02, incidents=0, skew_s=5, noise=0))
    assert all(abs(host.skew_s) <= 5 for host in world.cluster.hosts)
    assert max(abs(host.skew_s) for host in world.cluster.hosts) > 3
    truth = written(tmp_path, scenario="gpu-off-bus", skew_s=5.0)
    line = truth.incidents[0].first_line
    assert line is not None
    assert 0 < abs((line.stamped - line.said).total_seconds()) <= 5.001


def test_a_host_without_power_says_nothing_any_more() -> None:
    world = simulated(Options(seed=3, hosts=3, days=0.1, scenario="host-power-loss"))
    stage = world.stages[0]
    own = [entry.time_s for entry in world.tape if entry.host is stage.culprit.host]
    others = [entry.time_s for entry in world.tape if entry.host not in (None, stage.culprit.host)]
    assert max(own) < stage.at_s < max(others)


def test_a_run_says_nothing_of_its_training_after_its_fault_not_even_of_a_checkpoint_that_it_was_writing() -> None:
    job = simulated(Options(seed=3, hosts=1, days=0.3, incidents=0)).jobs[0]
    job = replace(job, framework="megatron", step_s=10.0, checkpoint_every=50)

    def said(stops_s: float) -> list[Entry]:
        tape = Tape()
        trained(tape, Random(1), job, Course(stops_s=stops_s))
        return tape.entries

    saving = next(e.time_s for e in said(job.start_s + 5000) if "saving checkpoint" in e.text)
    for after_s in (-0.001, 1.0):
        entries = said(saving + after_s)
        assert entries
        assert all(entry.time_s < saving + after_s for entry in entries)
    assert any("successfully saved" in entry.text for entry in said(saving + 20))


def test_the_culprit_of_a_silent_hang_is_the_only_rank_that_does_not_time_out() -> None:
    world = simulated(Options(seed=3, hosts=2, days=0.2, scenario="rank-hangs-silently"))
    said = {entry.rank.number for entry in world.tape if entry.rank and "Watchdog caught collective" in entry.text}
    assert set(range(16)) - said == {world.stages[0].culprit.number}


def test_the_truth_lies_outside_of_the_logs(tmp_path: Path) -> None:
    written(tmp_path)
    assert (tmp_path / "truth.json").exists()
    assert not list((tmp_path / "logs").rglob("truth*"))


def texts(out: Path) -> Iterator[str]:
    for path in (out / "logs").rglob("*"):
        if path.is_file():
            yield path.read_text()


def test_the_truth_counts_lines_and_bytes(tmp_path: Path) -> None:
    truth = written(tmp_path)
    assert truth.lines == sum(text.count("\n") for text in texts(tmp_path))
    assert truth.bytes == sum(len(text.encode()) for text in texts(tmp_path))


def test_a_directory_with_logs_is_not_written_over(tmp_path: Path) -> None:
    written(tmp_path)
    result = relight("sim", "write", tmp_path, "--seed", 1)
    assert result.exit_code == 2
    assert result.stderr == f"relight: {tmp_path / 'logs'} is not empty: name another directory, or empty it.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--seed", 1, "--scenario", "gpu-of-bus"), "Did you mean gpu-off-bus"),
        (("--seed", 1, "--healthy", "--scenario", "gpu-off-bus"), "exclude each other"),
        (("--seed", 1, "--hosts", 1, "--scenario", "host-power-loss"), "2 hosts or more"),
        (("--hosts", 1), "--seed"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[object, ...], said: str) -> None:
    result = relight("sim", "write", tmp_path / "o", *arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert said in line


def test_the_scenarios_are_listed() -> None:
    result = relight("sim", "list")
    assert result.exit_code == 0
    assert any(line.startswith("gpu-off-bus ") and "gpu.fallen_off_bus" in line for line in result.stdout.splitlines())
