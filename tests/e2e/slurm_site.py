"""A cluster with a real Slurm as its operator runs it: relight's processes, its agent, and a training job that breaks.

Whoever looks after the nodes ships their kernels' logs and vouches for them; the jobs' output lies where all can write.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Final

from relight.stages.remedies import present
from relight.topics import COMMANDS, OUTCOMES
from relight.transports.opening import open_log
from remediate.cases import Cases
from schemas.command import CommandOutcome, OutcomeStatus, RecoveryCommand
from schemas.history import IncidentHistory
from schemas.remedy import CommandHistory
from tests.pipeline.fleet import Fleet, events, until
from tests.servers.slurm_server import NODES, SlurmServer

XID: Final = "NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, name=python3, GPU has fallen off the bus."
_TRAINING: Final = """#!/bin/bash
exec >"{logs}/$SLURMD_NODENAME/slurm-${{SLURM_JOB_ID}}_restart${{SLURM_RESTART_COUNT:-0}}.out" 2>&1
step=$(cat "{folder}/checkpoint" 2>/dev/null || echo 0)
echo "training ..."
while [ ! -e "{folder}/gone.$SLURMD_NODENAME" ]; do
    step=$((step + 1))
    echo "$step" >"{folder}/checkpoint"
    printf ' [%(%Y-%m-%d %H:%M:%S)T] iteration %8d/    5000 | consumed samples: %9d | lm loss: 2.1 |\\n' -1 $step $step
    sleep 0.2
done
echo "RuntimeError: CUDA error: unspecified launch failure"
exit 1
"""
"""It goes on from its checkpoint, and dies where the GPU is gone. Slurm's variables tell it where it is."""


class SlurmSite:
    """The cluster. `settings` are variables of the environment for all of its processes."""

    def __init__(self, slurm: SlurmServer, folder: Path, settings: Mapping[str, Any]) -> None:
        self.slurm, self.folder, self.logs = slurm, folder, folder / "logs"
        for node in NODES:
            (self.logs / node).mkdir(parents=True)
            (folder / "kernel" / node).mkdir(parents=True)
            self.kernel_log(node).touch()
        (folder / "state").mkdir()
        self.fleet = Fleet(("--embedded", str(folder / "relight.db")), folder / "state")
        self.fleet.more |= {
            "TZ": "UTC",
            "RELIGHT_REMEDIATE__COOLDOWN_S": "0",
            "RELIGHT_SLURM__ENABLED": "true",
            "RELIGHT_EXEC__PROGRAMS": json.dumps({"notify": ["/bin/true"]}),
            **{name: str(value) for name, value in settings.items()},
            **slurm.environment,
        }

    def start(self) -> None:
        """Start all stages, with a shipper of the jobs' output, and the agent."""
        assert self.fleet.call("setup").returncode == 0
        self.fleet.start("run", "run", self.logs, "--host", "login1", "--no-dry-run")
        self.fleet.start("agent", "agent")

    def watch_kernel(self, node: str) -> None:
        """Start the shipper of a node's kernel log: its operator knows that only the kernel's logger writes there."""
        state = self.folder / "state" / node
        own = {"RELIGHT_SHIP__STATE_PATH": str(state / "ship.json"), "RELIGHT_SHIP__SPOOL_PATH": str(state / "spool")}
        before, self.fleet.more = self.fleet.more, self.fleet.more | own
        self.fleet.start(f"kernel.{node}", "ship", self.kernel_log(node), "--host", node, "--provenance", "kernel")
        self.fleet.more = before

    def kernel_log(self, node: str) -> Path:
        return self.folder / "kernel" / node / "kern.log"

    def submit(self) -> str:
        """Submit the training job, wait until it trains, and return its id."""
        script = self.folder / "train.sh"
        script.write_text(_TRAINING.format(logs=self.logs, folder=self.folder))
        job = self.slurm.run("sbatch", "--parsable", "-n1", "--requeue", "--output=/dev/null", str(script)).strip()
        assert until(lambda: self.steps() > 2, 20), self.job(job)
        return job

    def lose_gpu(self, node: str) -> None:
        """Let a GPU of a node fall off the bus: the kernel says so, and what trains there dies."""
        with self.kernel_log(node).open("a") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}+00:00 {node} kernel: [ 5690.716123] {XID}\n")
        (self.folder / f"gone.{node}").touch()

    def begin_soon(self, job: str) -> None:
        """Have a job that was requeued run soon: Slurm lets two minutes pass."""
        assert until(lambda: self.job(job)["JobState"] == "PENDING", 30), self.job(job)
        self.slurm.run("scontrol", "update", f"jobid={job}", "starttime=now+2")

    def steps(self) -> int:
        """Return how many steps the job has made."""
        with suppress(FileNotFoundError, ValueError):
            return int((self.folder / "checkpoint").read_text())
        return 0

    def job(self, job: str) -> dict[str, str]:
        words = self.slurm.run("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def node(self, node: str) -> tuple[frozenset[str], str]:
        """Return the states of a node, and the reason for them."""
        told = self.slurm.run("scontrol", "show", "node", "-o", node)
        states = told.partition(" State=")[2].split()[0]
        return frozenset(states.rstrip("*").split("+")), told.partition(" Reason=")[2].partition(" [")[0]

    def cases(self) -> Cases:
        with open_log(self.fleet.settings) as log:
            return present(log).get("default", Cases("default"))

    def incidents(self, fault: str) -> list[IncidentHistory]:
        found = (case.history for case in self.cases().cases.values())
        return [one for one in found if one.diagnosed and one.diagnosed.diagnosis.fault == fault]

    def commands(self) -> dict[str, CommandHistory]:
        """Return the last command of each action, by the action's name."""
        return {one.plan.action.kind: one for one in self.cases().commands.values() if one.plan}

    def issued(self) -> list[RecoveryCommand]:
        """Return the commands that the agent could read, in the order in which they were issued."""
        with open_log(self.fleet.settings) as log:
            found = [event.data for event in events(log, COMMANDS) if isinstance(event.data, RecoveryCommand)]
        return sorted(found, key=lambda one: one.issued_s)

    def outcomes(self, command: str) -> list[OutcomeStatus]:
        with open_log(self.fleet.settings) as log:
            said = [event.data for event in events(log, OUTCOMES)]
        return [one.status for one in said if isinstance(one, CommandOutcome) and one.command == command]

    def told(self) -> str:
        """Return where everything stands, for who reads that a test has failed."""
        incidents = [
            (i.state, i.opened and i.opened.job, i.diagnosed and i.diagnosed.diagnosis.signature)
            for i in (case.history for case in self.cases().cases.values())
        ]
        commands = [
            (c.plan.action.kind, c.state, c.blocked, c.reason) for c in self.cases().commands.values() if c.plan
        ]
        return f"{incidents}\n{commands}\n{self.slurm.run('squeue')}\n{self.slurm.run('sinfo', '-N')}"


@contextmanager
def slurm_site(slurm: SlurmServer, folder: Path, settings: Mapping[str, Any]) -> Iterator[SlurmSite]:
    """Run a cluster on a Slurm while the block lasts, and leave the Slurm as it was."""
    site = SlurmSite(slurm, folder, settings)
    try:
        site.start()
        yield site
    finally:
        site.fleet.close()
        tidy(slurm)


def tidy(slurm: SlurmServer) -> None:
    """Cancel all jobs of a Slurm, and put its nodes back in service."""
    slurm.run("scancel", f"--user={getuser()}")
    for node in NODES:
        with suppress(CalledProcessError):  # it is in service
            slurm.run("scontrol", "update", f"nodename={node}", "state=resume")
    end_s = time.monotonic() + 30
    while slurm.run("scontrol", "show", "node", "-o").count(" State=IDLE ") < len(NODES):
        assert time.monotonic() < end_s, slurm.run("sinfo", "-N")
        time.sleep(0.2)
