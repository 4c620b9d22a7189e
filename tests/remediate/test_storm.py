"""A storm: ten thousand incidents in a minute over a thousand hosts, with the playbooks that are shipped."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_storm_is_planned_for_faster_than_it_comes_in_little_memory_and_within_the_breakers_limit() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.planner", "--incidents", "10000", "--hosts", "1000"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    words = run.stdout.split()
    told = {name: float(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    assert told["most_hosts_out"] == 10
    assert told["hosts_taken_out_twice"] == 0
    assert told["incidents_per_s"] > 10_000 / 60
    assert told["resident_mb"] < 200
