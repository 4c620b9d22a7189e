"""The benchmark runs: tiny, so that its figures mean nothing, but every part of it is walked through."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.corpus import corpus_of
from bench.measure import ROOT, Bench, FailedError
from bench.patterns import for_python, for_ripgrep, neutral, patterns_of
from relight.catalogue import catalogue


def run(tmp_path: Path, *arguments: str) -> str:
    output, scratch = tmp_path / "RESULTS.md", tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "bench", "--size", "50KB", "--sample", "2KB", "--rounds", "1", "--limit", "20"]
    said = subprocess.run(
        [*command, "--starts", "1", *arguments, "--output", str(output)],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr[-2000:]
    assert not list(scratch.iterdir()), "the temporary folder is removed"
    return output.read_text(encoding="utf-8")


def test_without_real_logs_the_results_say_loudly_that_the_corpus_is_synthetic(tmp_path: Path) -> None:
    text = run(tmp_path, "--cases", str(tmp_path / "absent"), "--part", "start", "--part", "jobs")
    assert "**The corpus is synthetic.**" in text
    assert "byte-identical" in text
    assert str(tmp_path / "scratch") not in text


def test_every_contestant_is_measured_or_said_to_be_missing(tmp_path: Path) -> None:
    text = run(tmp_path, "--cases", str(tmp_path / "absent"), "--part", "contest")
    for name in ("relight, one file", "relight, a directory", "Hyperscan", "Python `re`", "Drain3", "rg", "sec"):
        assert f"\n| {name}" in text
    assert "exit status" not in text


def test_a_catalogue_can_be_smaller_and_larger_than_the_shipped_one(tmp_path: Path) -> None:
    larger = len(catalogue().signatures) + 7
    text = run(
        tmp_path, "--cases", str(tmp_path / "absent"), "--part", "flatness",
        "--signatures", "30", "--signatures", str(larger),
    )  # fmt: skip
    assert "\n| 30 | 0 |" in text
    assert f"\n| {larger:,} | 7 |" in text


def test_one_seed_makes_one_corpus(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.append(corpus_of(tmp_path / "absent", tmp_path / name, 50_000, 10_000, seed=3))
    assert made[0].whole.path.read_bytes() == made[1].whole.path.read_bytes()
    many = sorted(p for p in made[0].many.path.rglob("*") if p.is_file())
    assert b"".join(p.read_bytes() for p in many) == made[0].whole.path.read_bytes()


def test_a_run_over_its_limit_is_ended_and_said(tmp_path: Path) -> None:
    bench = Bench(tmp_path, rounds=1, limit_s=1, say=lambda words: None)
    with pytest.raises(FailedError, match="ended after 1 s"):
        bench.run(["sleep", "30"])


def test_peak_memory_is_that_of_the_command_and_not_of_the_benchmark(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(1024)) * (200 * 1024)
    bench = Bench(tmp_path, rounds=1, limit_s=20, say=lambda words: None)
    assert bench.run(["true"]).peak_bytes < 60_000_000 < len(ballast)


def test_patterns_lose_their_captures_and_keep_their_flags() -> None:
    assert neutral(r"(?i)xid (?P<xid>\d+) {") == r"(?i:xid (?:\d+) \{)"
    assert neutral(r"[\\w@.\\:-]") == r"(?:[\\w@.\\:-])"
    assert neutral(r"[[(]\/\"") == r'(?:[\[(]/")'


def test_nearly_all_patterns_of_the_catalogue_can_be_given_to_the_others() -> None:
    patterns = patterns_of(catalogue())
    assert len(for_python(patterns).left_out) <= len(patterns) // 100
    if shutil.which("rg"):
        assert len(for_ripgrep(patterns).left_out) <= len(patterns) // 100
