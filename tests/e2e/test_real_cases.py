"""The labelled real logs beside the repository: how many are understood must not fall. Nothing here is tuned to one."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from relight.scan import found, scan
from schemas.incident import Incident, ScanReport
from schemas.vocabulary import Impact, Outcome

CASES = Path(__file__).resolve().parents[3] / "shared/cases"
AT_LEAST = {"fault": 25, "line": 23, "outcome": 150}
OUT_OF = {"fault": 28, "line": 26, "outcome": 154}

pytestmark = [
    pytest.mark.cases,
    pytest.mark.skipif(
        not (CASES / "index.jsonl").exists(), reason=f"THE LABELLED REAL LOGS ARE NOT HERE: {CASES} has no index.jsonl"
    ),
]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """Scan every case alone, under a name that tells nothing."""
    neutral = tmp_path_factory.mktemp("cases") / "job.log"
    scores: Counter[str] = Counter()
    for text in (CASES / "index.jsonl").read_text().splitlines():
        case = json.loads(text)
        shutil.copy(CASES / case["file"], neutral)
        scores += _scored(case, scan(found([str(neutral)])), neutral)
    return scores


def _scored(case: dict[str, Any], report: ScanReport, path: Path) -> Counter[str]:
    """Return what is right and what was asked, and `false` for a success that is called a failure."""
    failures = [i for i in report.incidents if i.impact is Impact.FAILED]
    outcomes = {run.outcome for run in report.runs}
    score = Counter({"of outcome": 1, "outcome": outcomes == {Outcome(case["outcome"])}})
    if case["outcome"] == "succeeded":
        return score + Counter({"false": bool(failures)})
    first = failures[0] if failures else None
    fault = first.fault if first else None
    score += Counter({"of fault": 1, "fault": fault == case["fault"]})
    if case["fault"] == "unknown":
        score["fault"] = fault in (None, "unknown", "training.hang")
        score["outcome"] = bool(outcomes) and outcomes <= {Outcome.INCOMPLETE, Outcome.FAILED}
    if case["first_cause_line"]:
        score += Counter({"of line": 1, "line": _names_the_cause(case["cause_pattern"], first, path)})
    return score


def _names_the_cause(pattern: str, incident: Incident | None, path: Path) -> bool:
    if incident is None or incident.first_cause is None:
        return False
    lines = path.read_bytes().decode(errors="replace").split("\n")
    at = incident.first_cause.line
    return at <= len(lines) and bool(re.search(pattern, lines[at - 1]))


@pytest.mark.parametrize("what", AT_LEAST)
def test_of_the_labelled_logs_as_many_are_right_as_before(what: str, scores: Counter[str]) -> None:
    assert scores[f"of {what}"] == OUT_OF[what]
    assert scores[what] >= AT_LEAST[what]


def test_no_labelled_run_that_succeeded_is_called_failed(scores: Counter[str]) -> None:
    assert scores["false"] == 0
