"""The real command line, as the tests call it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from relight.cli import main


@dataclass(frozen=True)
class Answer:
    """What a call has printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def runs(self) -> list[dict[str, Any]]:
        return self.report["runs"]

    @property
    def incidents(self) -> list[dict[str, Any]]:
        return self.report["incidents"]

    @property
    def failures(self) -> list[dict[str, Any]]:
        return [incident for incident in self.incidents if incident["impact"] == "failed"]

    @property
    def outcomes(self) -> list[str]:
        return [run["outcome"] for run in self.runs]


def relight(*arguments: str | Path) -> Answer:
    """Call `relight` in this process; an exception that the command line does not turn into a message is raised."""
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    return Answer(result.exit_code, result.stdout, result.stderr)


def scan(*arguments: str | Path) -> Answer:
    """Call `relight scan --format json`."""
    answer = relight("scan", *arguments, "--format", "json")
    assert answer.status == 0, answer.err
    return answer
