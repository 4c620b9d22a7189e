"""The closed loop on a real Slurm: a GPU is lost, the job goes on elsewhere, and its node is taken out or mended."""

from pathlib import Path

import pytest

from schemas.command import OutcomeStatus
from schemas.history import State
from schemas.remedy import CommandState, Guard
from tests.e2e.slurm_site import SlurmSite, slurm_site
from tests.pipeline.fleet import until
from tests.servers.slurm_server import SlurmServer

DONE = [OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.SUCCEEDED]
FAULT = "gpu.fallen_off_bus"
RUNGS = {
    "drain_node": "approval: never, timeout: 10m, why: Nothing else is to land on it.",
    "restart_job_excluding_hosts": "timeout: 10m, why: The job goes on elsewhere.",
    "notify": "why: Nothing of this has helped.",
}


def playbook(folder: Path, *actions: str) -> Path:
    """Write a playbook of the operator's own, and return its file."""
    ladder = "".join(f"      - {{action: {action}, {RUNGS[action]}}}\n" for action in actions)
    path = folder / "playbooks.yaml"
    path.write_text(
        "playbooks:\n  - id: gpu.fallen-off-bus\n    title: The node is drained and the job goes on\n"
        f"    faults: {FAULT}\n    ladder:\n{ladder}"
    )
    return path


def broken(site: SlurmSite) -> tuple[str, str]:
    """Let a job train, and lose the GPU of its node; return the job and the node."""
    job = site.submit()
    node = site.job(job)["NodeList"]
    site.watch_kernel(node)
    site.lose_gpu(node)
    return job, node


def goes_on_elsewhere(site: SlurmSite, job: str, node: str) -> None:
    """Wait until the job was started again once, makes progress on another node, and its incident is over."""
    assert until(lambda: "restart_job_excluding_hosts" in site.commands(), 30), site.told()
    assert until(lambda: site.job(job)["Restarts"] == "1", 30), site.told()
    site.begin_soon(job)
    assert until(lambda: [one.state for one in site.incidents(FAULT)] == [State.RESOLVED], 60), site.told()
    (incident,) = site.incidents(FAULT)
    assert incident.diagnosed is not None
    assert incident.opened is not None
    assert (incident.diagnosed.provenance_verified, incident.diagnosed.witnessed) == (True, True)
    assert (incident.opened.job, incident.diagnosed.diagnosis.culprit.host) == (job, node)
    told = site.job(job)
    assert (told["JobState"], told["Restarts"], told["ExcNodeList"]) == ("RUNNING", "1", node)
    assert told["NodeList"] != node
    assert until(lambda: site.commands()["restart_job_excluding_hosts"].state is CommandState.EFFECTIVE, 20)
    assert "progress" in site.commands()["restart_job_excluding_hosts"].reason


def each_once(site: SlurmSite, *actions: str) -> None:
    """Check that these commands were issued, in this order and once each, and that each has succeeded once."""
    issued = site.issued()
    assert tuple(one.action.kind for one in issued if one.action.kind != "notify") == actions
    for command in issued:
        if command.action.kind != "notify":
            assert site.outcomes(command.id) == DONE, command.action.kind


@pytest.mark.parametrize("first", ["drain_node", "restart_job_excluding_hosts"])
def test_a_node_that_has_lost_a_gpu_is_drained_and_its_job_goes_on_elsewhere(
    first: str, slurm: SlurmServer, tmp_path: Path
) -> None:
    (second,) = {"drain_node", "restart_job_excluding_hosts"} - {first}
    own = playbook(tmp_path, first, second, "notify")
    with slurm_site(slurm, tmp_path, {"RELIGHT_REMEDIATE__PLAYBOOKS": own}) as site:
        job, node = broken(site)
        goes_on_elsewhere(site, job, node)
        assert until(lambda: "drain_node" in site.commands(), 20), site.told()
        assert until(lambda: site.commands()["drain_node"].state is CommandState.EFFECTIVE, 20), site.told()
        (incident,), drain = site.incidents(FAULT), site.commands()["drain_node"]
        states, reason = site.node(node)
        assert "DRAIN" in states
        assert reason == f"relight: incident {incident.id} command {drain.id}"
        diagnosed = ["collect_diagnostics", "drain_node"]
        each_once(site, *([*diagnosed, second] if first == "drain_node" else [first, *diagnosed]))


def test_the_shipped_playbook_moves_the_job_and_reboots_its_node_when_a_person_agrees(
    slurm: SlurmServer, tmp_path: Path
) -> None:
    with slurm_site(slurm, tmp_path, {"RELIGHT_SLURM__REBOOT": "true"}) as site:
        job, node = broken(site)
        goes_on_elsewhere(site, job, node)
        assert until(lambda: "reboot_node" in site.commands(), 20), site.told()
        assert until(lambda: site.commands()["reboot_node"].blocked, 20), site.told()
        reboot = site.commands()["reboot_node"]
        assert reboot.blocked is not None
        assert reboot.blocked.guard is Guard.APPROVAL
        asks = f"`relight commands approve {reboot.id}`"
        assert until(lambda: any(asks in one.reason for one in site.issued() if one.action.kind == "notify"), 20)
        assert not slurm.reboot_asked(node)
        assert site.node(node) == (frozenset({"IDLE"}), "")
        agreed = site.fleet.call("commands", "approve", reboot.id, "--by", "ann", "--reason", "it is free")
        assert agreed.returncode == 0, agreed.stderr
        assert until(lambda: slurm.reboot_asked(node), 30), site.told()
        states, reason = site.node(node)
        assert reason.startswith(f"relight: reboot, incident {reboot.incidents[0]} command {reboot.id}"), states
        slurm.reboot(node)
        assert until(lambda: site.commands()["reboot_node"].state is CommandState.EFFECTIVE, 30), site.told()
        assert site.commands()["reboot_node"].approved_by == "ann"
        assert until(lambda: site.node(node)[0] == {"IDLE"}, 10), site.told()
        assert site.job(job)["Restarts"] == "1"
        each_once(site, "restart_job_excluding_hosts", "collect_diagnostics", "reboot_node")
