"""Whole jobs, line by line and in any order between hosts, come to the diagnosis that a person would make."""

from pathlib import Path

import pytest
from cluster import Cluster, write
from fold import folded, gist, open_incidents
from lines import interleaved
from stories import FAILED, UNHARMED, told

from diagnose.matching.scanner import Scanner

CLUSTER = Cluster(seed=3, hosts=3)


@pytest.mark.parametrize("name", FAILED)
def test_a_job_that_fails_has_one_open_incident_with_its_true_cause(
    name: str, scanner: Scanner, tmp_path: Path
) -> None:
    story = told(FAILED[name], CLUSTER)
    folder = write(story.lines, tmp_path / "logs")
    known = folded(scanner, interleaved(folder, "c", seed=1))["c"]
    (incident,) = [i for i in open_incidents(known) if i.diagnosed and i.diagnosed.impact == "failed"]
    assert incident.settled
    assert incident.diagnosed is not None
    assert incident.diagnosed.diagnosis.fault == story.truth.fault
    if story.truth.host is not None:
        assert incident.diagnosed.diagnosis.culprit.host == story.truth.host


@pytest.mark.parametrize("name", UNHARMED)
def test_a_job_that_does_not_fail_has_no_open_failure(name: str, scanner: Scanner, tmp_path: Path) -> None:
    story = told(UNHARMED[name], CLUSTER)
    folder = write(story.lines, tmp_path / "logs")
    known = folded(scanner, interleaved(folder, "c", seed=1))["c"]
    assert [i for i in open_incidents(known) if i.diagnosed and i.diagnosed.impact == "failed"] == []


@pytest.mark.parametrize("name", sorted(FAILED)[:6])
def test_another_interleaving_in_other_cuts_gives_the_same_incidents(
    name: str, scanner: Scanner, tmp_path: Path
) -> None:
    folder = write(told(FAILED[name], CLUSTER).lines, tmp_path / "logs")
    first = folded(scanner, interleaved(folder, "c", seed=1), batch=7)["c"]
    second = folded(scanner, interleaved(folder, "c", seed=2), batch=50)["c"]
    assert gist(first.incidents.values()) == gist(second.incidents.values())
