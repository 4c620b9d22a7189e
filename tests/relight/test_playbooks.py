"""`relight playbooks`: what is in force, whether it is sound, and what it comes to for an incident of the store."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from relight.cli import main
from relight.playbook_book import playbooks
from relight.stores.embedded import EmbeddedStore
from schemas.history import DiagnosisRevised, DiagnosisSettled
from schemas.incident import Blamed
from schemas.vocabulary import Culprit, Impact
from tests.relight import incident_stories as stories

LOST = "863dc87e-7841-52ce-aeff-0ee6cbef93cb"
OPEN = "11111111-0000-52ce-aeff-0ee6cbef93cb"
UNVERIFIED = "22222222-0000-52ce-aeff-0ee6cbef93cb"
UNKNOWN = "33333333-0000-52ce-aeff-0ee6cbef93cb"
HOSTILE = "44444444-0000-52ce-aeff-0ee6cbef93cb"
OWN = {
    "id": "own.lost",
    "title": "A GPU of mine is lost",
    "faults": "gpu.fallen_off_bus",
    "when": {"hosts": "node0*"},
    "ladder": [{"action": "notify", "channel": "lab", "why": "I want to see it."}],
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    for name in list(os.environ):
        if name.startswith(("RELIGHT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    *_, settled, _ = stories.lost_gpu()
    went_on = stories.lost_gpu(job="777")[:-1]
    unverified = stories.ordinary("gpu.fallen_off_bus", stories.FELL + timedelta(days=40), "node09")
    told = {
        LOST: stories.lost_gpu(),
        OPEN: went_on,
        UNVERIFIED: unverified,
        UNKNOWN: stories.undiagnosed(),
        HOSTILE: stories.hostile(),
    }
    assert isinstance(settled[0], DiagnosisSettled)
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, [stories.folded(name, events) for name, events in told.items()])
        yield store


def own(path: Path, *changes: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump({"playbooks": [OWN | change for change in changes or ({},)]}))
    return path


def relight(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["playbooks", *map(str, words)], catch_exceptions=False)


def explain(name: str, *words: str | Path) -> str:
    result = relight("explain", name, "--embedded", "relight.db", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return " ".join(result.stdout.split())


# List, show, check


def test_all_playbooks_in_force_are_listed_with_their_ladders() -> None:
    lines = relight("list").stdout.splitlines()
    assert lines[-1] == f"{len(playbooks())} playbooks"
    assert any(
        line.split("  ")[0] == "gpu.fallen-off-bus" and "restart_job_excluding_hosts > reboot_node >" in line
        for line in lines
    )


def test_those_for_some_faults_are_listed_alone() -> None:
    lines = relight("list", "--fault", "comm.dns").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["any.fault", "comm.dns", "2"]


def test_a_playbook_of_ones_own_is_in_force_where_it_is_named_and_replaces_one_of_the_same_id(tmp_path: Path) -> None:
    assert "own.lost" not in relight("list").stdout
    assert "own.lost" in relight("list", "--playbooks", own(tmp_path / "own.yaml")).stdout
    own(tmp_path / "own.yaml", {"id": "gpu.fallen-off-bus"})
    assert "A GPU of mine is lost" in relight("show", "gpu.fallen-off-bus", "--playbooks", tmp_path).stdout


def test_playbooks_of_ones_own_are_a_setting(tmp_path: Path) -> None:
    own(tmp_path / "own.yaml")
    (tmp_path / "relight.toml").write_text(f"[remediate]\nplaybooks = ['{tmp_path}/own.yaml']\n")
    assert "own.lost" in relight("list").stdout


def test_what_is_shown_of_a_playbook_can_be_written_into_a_file_and_is_the_same(tmp_path: Path) -> None:
    for one in playbooks():
        (tmp_path / "own.yaml").write_text(relight("show", one.id).stdout)
        assert one in playbooks((tmp_path / "own.yaml",))


def test_a_playbook_that_is_not_there_is_answered_with_near_ones() -> None:
    result = relight("show", "gpu.fallen-of-bus")
    assert result.exit_code == 2
    assert "did you mean gpu.fallen-off-bus" in result.stderr
    assert "`relight playbooks list` lists them" in relight("show", "zzz").stderr


def test_the_shipped_playbooks_pass_the_check_and_what_is_worth_knowing_is_a_note() -> None:
    result = relight("check")
    assert (result.exit_code, result.stderr) == (0, "")
    *notes, last = result.stdout.splitlines()
    assert last == f"{len(playbooks())} playbooks pass the check."
    assert all(note.startswith("note: ") for note in notes)


def test_only_the_files_that_are_named_are_checked(tmp_path: Path) -> None:
    result = relight("check", own(tmp_path / "own.yaml"))
    assert (result.exit_code, result.stdout) == (0, "1 playbooks pass the check.\n")
    assert relight("check", "--playbooks", tmp_path / "own.yaml").stdout == result.stdout


def test_what_the_check_finds_is_one_line_each_with_file_line_and_playbook(tmp_path: Path) -> None:
    unsound = {"ladder": [{"action": "restart_job", "timeout": "1s", "why": "It is worth a try."}]}
    path = own(tmp_path / "own.yaml", unsound, {"id": "own.other", "when": {"hosts": "node0*", "impact": "none"}})
    result = relight("check", path)
    assert result.exit_code == 2
    said = result.stderr.splitlines()
    assert len(said) == 2
    for line in said:
        assert line.startswith(f"relight: {path}:")
        assert ": playbook own.lost: " in line


def test_a_fault_class_that_ones_own_playbooks_leave_without_any_is_named(tmp_path: Path) -> None:
    result = relight("check", own(tmp_path / "own.yaml", {"id": "any.fault", "when": {"impact": "failed"}}))
    assert result.exit_code == 2
    assert "relight: no playbook covers gpu.pcie_error in the case of impact none" in result.stderr


@pytest.mark.parametrize("command", [["list"], ["check"], ["show", "any.fault"], ["explain", "8"]])
def test_a_mistake_in_ones_own_playbooks_is_one_line(tmp_path: Path, command: list[str]) -> None:
    result = relight(*command, "--playbooks", own(tmp_path / "own.yaml", {"faults": "gpu.melted"}))
    assert result.exit_code == 2
    assert "playbook own.lost: field `faults.1`: 'gpu.melted' stands for no fault class" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_playbook_of_ones_own_that_is_not_sound_is_not_used(tmp_path: Path) -> None:
    path = own(tmp_path / "own.yaml", {"ladder": [{"action": "restart_job", "why": "It is worth a try."}]})
    result = relight("list", "--playbooks", path)
    assert result.exit_code == 2
    assert "the last rung must be `notify` or `none`" in result.stderr


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_path_without_playbooks_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    result = relight("list", "--playbooks", tmp_path / name)
    assert (result.exit_code, result.stderr) == (2, f"relight: {tmp_path}/{name}: no playbook files (*.yaml) there\n")


# Explain


def test_the_playbook_of_an_incident_is_explained_with_what_its_rungs_come_to(store: EmbeddedStore) -> None:
    told = explain(OPEN[:6])
    for said in (
        f"incident {OPEN}: GPU has fallen off the bus",
        "gpu.fallen_off_bus, impact failed, confidence 0.98, GPU 0000:3b:00 on node03, job 777",
        "Playbook gpu.fallen-off-bus: A GPU is gone from the bus because it names the fault more exactly",
        "not any.fault: it applies too, but gpu.fallen-off-bus names the fault more exactly",
        "not gpu.unharmed: the impact is failed, not none",
        "1. restart_job_excluding_hosts: job/777, host/node03 given 30m to help",
        "2. reboot_node: host/node03 needs approval; destructive; given 45m to help",
        "4. notify: channel/default Neither another host nor a reboot has helped.",
    ):
        assert said in told, said
    for wrong in ("not settled", "not verified", "passed over", "nothing more is done"):
        assert wrong not in told


def test_what_is_over_is_said_to_be_over(store: EmbeddedStore) -> None:
    assert "The incident is resolved: nothing more is done about it." in explain(LOST)


def test_without_verified_provenance_no_destructive_step_is_taken_and_it_is_said(store: EmbeddedStore) -> None:
    told = explain(UNVERIFIED)
    assert "Provenance was not verified: no destructive step will be taken." in told
    assert "The diagnosis is not settled: nothing is done before it is." in told
    assert "1. restart_job_excluding_hosts: job/501, host/node09" in told
    assert "2. reboot_node: passed over the step may be destructive, and nothing vouches for the lines" in told


def test_without_a_diagnosis_there_is_no_playbook_and_it_is_said(store: EmbeddedStore) -> None:
    assert explain(UNKNOWN).endswith("No playbook: it has no diagnosis yet")


def test_a_playbook_of_ones_own_for_these_hosts_is_the_one(store: EmbeddedStore, tmp_path: Path) -> None:
    told = explain(OPEN, "--playbooks", own(tmp_path / "own.yaml"))
    assert "Playbook own.lost: A GPU of mine is lost because it names the host or the job" in told
    assert "1. notify: channel/lab I want to see it." in told


def test_what_happened_on_the_host_before_counts_as_recurrence(store: EmbeddedStore) -> None:
    names = [f"5555555{n}-0000-52ce-aeff-0ee6cbef93cb" for n in range(3)]
    for name, days in zip(names, (1, 2, 20), strict=True):
        stories.fill(store, [stories.folded(name, stories.lost_gpu(stories.FELL + timedelta(days=days)))])
    assert "Playbook gpu.broken-again" in explain(names[1])
    assert "not gpu.broken-again: it has happened 1 of 3 times within 7d" in explain(names[2])


def test_the_same_in_another_cluster_is_no_recurrence(store: EmbeddedStore) -> None:
    names = [f"5555555{n}-0000-52ce-aeff-0ee6cbef93cb" for n in range(2)]
    for name, days in zip(names, (1, 2), strict=True):
        told = stories.lost_gpu(stories.FELL + timedelta(days=days))
        stories.fill(store, [stories.folded(name, told, "elsewhere")])
    assert "Playbook gpu.fallen-off-bus" in explain(names[1])


def test_a_rung_that_lacks_its_target_is_passed_over_with_the_reason(store: EmbeddedStore) -> None:
    found = stories.found(None, culprit=Blamed(kind=Culprit.GPU, name="a GPU", gpu="3"), fault="gpu.gsp_error")
    revised = DiagnosisRevised(diagnosis=found, impact=Impact.FAILED, provenance_verified=True, witnessed=True)
    opened = stories.lost_gpu()[0]
    told = (opened, (revised, opened[1]))
    stories.fill(store, [stories.folded("66666666-0000-52ce-aeff-0ee6cbef93cb", told)])
    said = explain("666")
    assert "1. restart_job_excluding_hosts: passed over the host of the culprit is not known" in said
    assert "5. notify: channel/default" in said


def test_no_escape_and_no_secret_of_an_incident_comes_out(store: EmbeddedStore) -> None:
    result = relight("explain", HOSTILE, "--embedded", "relight.db")
    assert result.exit_code == 0
    for bad in ("\x1b", "\u202e", "\x07", "hunter2secret"):
        assert bad not in result.output
    assert "what is known as the host is no name of one" in " ".join(result.output.split())


def test_an_incident_that_is_not_there_is_one_line_and_no_store_is_made(store: EmbeddedStore, tmp_path: Path) -> None:
    result = relight("explain", "zz", "--embedded", "relight.db")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "`relight incidents list` tells them" in result.stderr
    assert relight("explain", "zz", "--embedded", "none.db").exit_code == 2
    assert not (tmp_path / "none.db").exists()
