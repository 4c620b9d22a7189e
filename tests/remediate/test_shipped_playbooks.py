"""The playbooks that are shipped: sound, one for every fault class, and what vendors and the fault table ask for."""

import re

import pytest

from diagnose.tables import table
from relight.playbook_book import playbooks, shipped_files, written
from remediate import playbook_lint
from remediate.ladders import choose
from remediate.playbook_rules import in_force
from schemas.action import ACTIONS
from schemas.faults import fault_classes
from schemas.playbook import Playbook
from schemas.vocabulary import Domain, Impact, RetryOutlook
from tests.remediate.stories import incident

SHIPPED = playbooks()
VENDORS = [
    (name, code, row["fault"], row["immediate_action"], row["severity"])
    for name in ("xid", "sxid")
    for code, row in table(name).items()
    if row["fault"] and row["kind"] == "fault"
]


def chosen(fault: str, *ages_s: float, impact: Impact = Impact.FAILED, signature: str = "made.up") -> Playbook:
    found = choose(SHIPPED, incident(fault, impact=impact, signature=signature), ages_s).playbook
    assert found is not None
    return found


def actions(one: Playbook) -> list[str]:
    return [rung.action for rung in one.ladder]


def test_they_are_sound_and_each_id_is_taken_once() -> None:
    every = written()
    assert playbook_lint.check(every, in_force(every)) == []
    assert len(in_force(every)) == len(every)


def test_they_cover_every_fault_class_in_every_case() -> None:
    assert playbook_lint.uncovered(SHIPPED) == []


@pytest.mark.parametrize("fault", fault_classes())
def test_a_failed_run_has_a_playbook_that_names_its_fault(fault: str) -> None:
    assert fault in chosen(fault).faults


@pytest.mark.parametrize("fault", fault_classes())
def test_the_first_rung_is_what_the_table_of_faults_says_first(fault: str) -> None:
    if fault == "gpu.other_xid":
        return  # what the entry of the code says: below
    wanted = re.search("|".join(sorted(ACTIONS, key=len, reverse=True)), fault_classes()[fault].first_action)
    assert wanted is not None
    assert actions(chosen(fault))[0] == wanted[0]


@pytest.mark.parametrize("fault", [fault for fault, row in fault_classes().items() if row.domain is Domain.WORKLOAD])
def test_a_fault_of_the_program_is_not_restarted_on_and_on_and_costs_no_host_its_place(fault: str) -> None:
    for ages in ((), (60, 60, 60)):
        assert actions(chosen(fault, *ages)).count("restart_job") <= 1
        assert "restart_job_excluding_hosts" not in actions(chosen(fault, *ages))


@pytest.mark.parametrize("fault", fault_classes())
def test_what_a_restart_cannot_get_past_is_not_simply_restarted(fault: str) -> None:
    """Unless something is changed first: the hosts, the room on the disk, the checkpoint, the data."""
    one = incident(fault, signature="made.up", diagnosis={"retry_outlook": RetryOutlook.CANNOT_RECOVER})
    found = choose(SHIPPED, one).playbook
    assert found is not None
    may_be_restarted = ("scheduler.preempted", "scheduler.evicted", "scheduler.time_limit")
    assert actions(found)[0] != "restart_job" or fault in may_be_restarted


@pytest.mark.parametrize(("name", "code", "fault", "action", "severity"), VENDORS)
def test_what_the_vendor_says_of_a_code_is_what_is_done(
    name: str, code: str, fault: str, action: str, severity: str
) -> None:
    for prefix in {"xid": ("nvrm.xid", "dcgm.xid", "nvrm.xid-previous"), "sxid": ("nvswitch.sxid",)}[name]:
        first = chosen(fault, signature=f"{prefix}.{code}").ladder[0]
        if action in ("RESTART_APP", "CHECK_UVM", "IGNORE"):
            assert first.action == "restart_job", f"{prefix}.{code} costs a host its place"
            unharmed = chosen(fault, impact=Impact.NONE, signature=f"{prefix}.{code}")
            assert actions(unharmed) == ["notify"]
        elif severity == "critical":
            assert first.action == "restart_job_excluding_hosts"
            if action == "RESET_GPU":
                assert "reset_gpu" in actions(chosen(fault, signature=f"{prefix}.{code}"))


def test_what_the_vendor_asks_no_host_for_costs_one_its_place_only_when_it_comes_back_there() -> None:
    again = [60.0, 3600.0]
    assert actions(chosen("gpu.other_xid", *again, signature="nvrm.xid.13"))[0] == "restart_job_excluding_hosts"
    assert actions(chosen("gpu.other_xid", again[0], signature="nvrm.xid.13"))[0] == "restart_job"
    assert "replace_node" not in actions(chosen("gpu.ecc_uncorrectable", *again, signature="nvrm.xid.94"))


def test_a_host_that_fails_a_third_time_is_replaced_without_another_reboot() -> None:
    assert "reboot_node" in actions(chosen("gpu.fallen_off_bus", 3600))
    assert actions(chosen("gpu.fallen_off_bus", 3600, 86_400)) == [
        "restart_job_excluding_hosts", "replace_node", "notify",
    ]  # fmt: skip


def test_a_timeout_is_restarted_first_and_on_recurrence_the_host_is_left_out() -> None:
    assert actions(chosen("comm.collective_timeout"))[0] == "restart_job"
    assert actions(chosen("comm.collective_timeout", 3600))[0] == "restart_job_excluding_hosts"


def test_what_was_wanted_is_left_alone() -> None:
    assert actions(chosen("scheduler.cancelled")) == ["none"]


def test_a_run_that_still_goes_on_is_taken_from_a_slow_host_only_with_approval() -> None:
    first = chosen("training.straggler", impact=Impact.DEGRADED).ladder[0]
    assert first.needs_approval


def test_they_are_grouped_by_the_layer_of_their_faults() -> None:
    names = {file.name.removesuffix(".yaml") for file in shipped_files()}
    for one in written():
        group = one.file.rpartition("/")[2].removesuffix(".yaml")
        layers = {fault_classes()[fault].layer.value for fault in one.playbook.fault_names}
        layers = {{"launcher": "scheduler"}.get(layer, layer) for layer in layers}
        assert group == "general" or layers == {group}, f"{one.playbook.id} stands in {group}.yaml"
    assert "general" in names
