"""What the figures depend on: the machine, the state of the code, the versions."""

import os
import platform
import subprocess
from pathlib import Path

from bench.measure import ROOT


def facts() -> dict[str, str]:
    """Return the machine in words, by what each is."""
    return {
        "CPU": _after_colon("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def commit() -> str:
    """Return the commit that was measured, and whether it was changed."""
    name = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!bench/RESULTS.md")
    return (f"{name} with uncommitted changes" if changed else name) or "unknown"


def committed_on() -> str:
    """Return the day of the commit."""
    return _git("log", "-1", "--format=%cs") or "unknown"


def load() -> str:
    """Return how busy the machine is, as the mean of the last minute, in cores."""
    return f"{os.getloadavg()[0]:.1f}"


def _git(*arguments: str) -> str:
    said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() if said.returncode == 0 else ""


def _memory() -> str:
    words = (_after_colon("/proc/meminfo", "MemTotal") or "").split()
    return f"{int(words[0]) * 1024 / 1e9:.1f} GB" if words else "unknown"


def _after_colon(path: str, key: str) -> str | None:
    file = Path(path)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)
