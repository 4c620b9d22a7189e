"""Actions: what can be done about an incident, each a model of its own parameters, and what is true of each kind."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from schemas.model import Model

Name = Annotated[str, Field(min_length=1, max_length=512)]
"""The name of a job, a host or a part, as the orchestrator knows it."""


class ResourceKind(StrEnum):
    """What a command can affect."""

    JOB = "job"
    HOST = "host"
    GPU = "gpu"
    CHANNEL = "channel"


class Resource(Model):
    """Something that a command affects. A GPU's name is `host/gpu`."""

    kind: ResourceKind
    name: Name

    def __str__(self) -> str:
        """Return it as people write it, and as `relight.commands` is keyed: `host/node03`."""
        return f"{self.kind}/{self.name}"


class NoAction(Model):
    """Do nothing: what has happened needs nothing done, such as a run that a person cancelled."""

    kind: Literal["none"] = "none"

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return ()


class Wait(Model):
    """Wait for it to heal by itself, and do the next thing if it has not."""

    kind: Literal["wait"] = "wait"
    seconds: int = Field(ge=1, le=86_400)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return ()


class RestartProcess(Model):
    """Start the training processes of a job on a host again, or one rank of it, where the launcher can do that."""

    kind: Literal["restart_process"] = "restart_process"
    job: Name
    host: Name | None = None
    rank: int | None = Field(default=None, ge=0)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_job(self.job),)


class RestartJob(Model):
    """Start a job again from its last checkpoint, on the hosts that its scheduler gives it."""

    kind: Literal["restart_job"] = "restart_job"
    job: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_job(self.job),)


class RestartJobExcludingHosts(Model):
    """Start a job again from its last checkpoint, and not on these hosts."""

    kind: Literal["restart_job_excluding_hosts"] = "restart_job_excluding_hosts"
    job: Name
    hosts: tuple[Name, ...] = Field(min_length=1, max_length=1000)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_job(self.job), *map(_host, self.hosts))


class RollbackCheckpoint(Model):
    """Start a job again from a checkpoint that is so many before its last one: what came after is lost."""

    kind: Literal["rollback_checkpoint"] = "rollback_checkpoint"
    job: Name
    checkpoints: int = Field(default=1, ge=1, le=100)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_job(self.job),)


class SkipData(Model):
    """Start a job again from its last checkpoint and leave out the batches that it failed at."""

    kind: Literal["skip_data"] = "skip_data"
    job: Name
    batches: int = Field(default=1, ge=1, le=100_000)

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_job(self.job),)


class CordonNode(Model):
    """Give a host no new work; what runs there goes on."""

    kind: Literal["cordon_node"] = "cordon_node"
    host: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_host(self.host),)


class DrainNode(Model):
    """Take a host out of service through the scheduler that owns it; what runs there is moved or ended."""

    kind: Literal["drain_node"] = "drain_node"
    host: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_host(self.host),)


class ResetGpu(Model):
    """Reset a GPU. `gpu` is its UUID where the log gives it, else its PCI address."""

    kind: Literal["reset_gpu"] = "reset_gpu"
    host: Name
    gpu: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return Resource(kind=ResourceKind.GPU, name=f"{self.host}/{self.gpu}"), _host(self.host)


class RebootNode(Model):
    """Drain a host and start it anew."""

    kind: Literal["reboot_node"] = "reboot_node"
    host: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_host(self.host),)


class ReplaceNode(Model):
    """Take a host out of service for good and let another take its place: its hardware is to be repaired."""

    kind: Literal["replace_node"] = "replace_node"
    host: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_host(self.host),)


class FreeDisk(Model):
    """Make room on a host, of what the orchestrator's own settings say may go: no path comes from a log."""

    kind: Literal["free_disk"] = "free_disk"
    host: Name

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (_host(self.host),)


class CollectDiagnostics(Model):
    """Save what tells more of the fault and would be lost by the next step: dumps, stacks, counters."""

    kind: Literal["collect_diagnostics"] = "collect_diagnostics"
    hosts: tuple[Name, ...] = Field(default=(), max_length=1000)
    job: Name | None = None

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (*((_job(self.job),) if self.job else ()), *map(_host, self.hosts))


class Notify(Model):
    """Tell people, on a channel of the settings."""

    kind: Literal["notify"] = "notify"
    channel: Name = "default"

    @property
    def resources(self) -> tuple[Resource, ...]:
        """Return what it affects."""
        return (Resource(kind=ResourceKind.CHANNEL, name=self.channel),)


Action = Annotated[
    NoAction
    | Wait
    | RestartProcess
    | RestartJob
    | RestartJobExcludingHosts
    | RollbackCheckpoint
    | SkipData
    | CordonNode
    | DrainNode
    | ResetGpu
    | RebootNode
    | ReplaceNode
    | FreeDisk
    | CollectDiagnostics
    | Notify,
    Field(discriminator="kind"),
]
"""Something that can be done, with its parameters."""


@dataclass(frozen=True, slots=True)
class ActionFacts:
    """A row of the table. Every flag says what the action may do at its worst.

    `destructive`: it ends what still works, or loses data or steps. `takes_out`: hosts are out of service after it.
    `restarts`: a job runs again after it, so that progress of the job is what shows its success.
    """

    model: type[BaseModel]
    destructive: bool = False
    takes_out: bool = False
    restarts: bool = False

    @property
    def of_a_machine(self) -> bool:
        """Tell whether it takes a machine away or mends it, whatever job there was."""
        return self.takes_out and not self.restarts


ACTIONS: Final = {
    "none": ActionFacts(NoAction),
    "wait": ActionFacts(Wait),
    "restart_process": ActionFacts(RestartProcess, restarts=True),
    "restart_job": ActionFacts(RestartJob, restarts=True),
    "restart_job_excluding_hosts": ActionFacts(RestartJobExcludingHosts, takes_out=True, restarts=True),
    "rollback_checkpoint": ActionFacts(RollbackCheckpoint, destructive=True, restarts=True),
    "skip_data": ActionFacts(SkipData, destructive=True, restarts=True),
    "cordon_node": ActionFacts(CordonNode, takes_out=True),
    "drain_node": ActionFacts(DrainNode, destructive=True, takes_out=True),
    "reset_gpu": ActionFacts(ResetGpu, destructive=True, takes_out=True),
    "reboot_node": ActionFacts(RebootNode, destructive=True, takes_out=True),
    "replace_node": ActionFacts(ReplaceNode, destructive=True, takes_out=True),
    "free_disk": ActionFacts(FreeDisk, destructive=True),
    "collect_diagnostics": ActionFacts(CollectDiagnostics),
    "notify": ActionFacts(Notify),
}
"""Every action by its name, in the order of their weight."""


def _job(name: str) -> Resource:
    return Resource(kind=ResourceKind.JOB, name=name)


def _host(name: str) -> Resource:
    return Resource(kind=ResourceKind.HOST, name=name)
