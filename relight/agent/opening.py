"""Makes an agent of the settings: with the executors whose sections say how, each imported only where it is used."""

import threading
from collections.abc import Iterator
from contextlib import closing

from relight.agent.agent import Agent
from relight.agent.allowed import Allowed
from relight.agent.gate import Gate
from relight.agent.port import Executor
from relight.agent.work import Workshop
from relight.keys import NoKeys, Role, key_file
from relight.metrics import StageMetrics
from relight.settings import Misconfigured, Settings
from relight.stages.building import Built
from relight.stages.names import member_name
from relight.stages.process import Worker
from relight.stages.runner import Runner
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Refused


def executors(settings: Settings, gate: Gate) -> Iterator[Executor]:
    """Yield the executors in use; the first one that takes a command carries it out.

    Those that begin several commands together do so at the gate.

    Raises:
        Misconfigured: a section says something that cannot be.
    """
    if settings.process.jobs:
        from relight.agent.executors.process import ProcessExecutor

        yield ProcessExecutor(settings.process, settings.ship.host)
    if settings.slurm.enabled:
        from relight.agent.executors.slurm import SlurmExecutor

        yield SlurmExecutor(settings.slurm)
    if settings.kubernetes.enabled:
        from relight.agent.executors.kubernetes import KubernetesExecutor
        from relight.agent.executors.kubernetes_api import NoClient

        try:
            yield KubernetesExecutor(settings.kubernetes)
        except NoClient as error:
            raise Misconfigured(str(error)) from error
    if settings.exec.used:
        from relight.agent.executors.exec import ExecExecutor

        yield ExecExecutor(settings.exec)
    if settings.webhook.used:
        from relight.agent.executors.webhook import WebhookExecutor

        yield WebhookExecutor(settings.webhook)
    if settings.notify.used:
        from relight.agent.executors.notify import NotifyExecutor

        yield NotifyExecutor(settings.notify, gate.begin)


def agent_of(settings: Settings, log: EventLog, metrics: StageMetrics, stop: threading.Event, member: str) -> Agent:
    """Return the agent, as a member of its group.

    Raises:
        Refused: there is nothing that it could do, or its keys cannot be used.
        Misconfigured: a section says something that cannot be.
    """
    gate = Gate()
    found = tuple(executors(settings, gate))
    if not found:
        raise Refused(
            "the agent could do nothing: set one of process.jobs, slurm.enabled, kubernetes.enabled, exec.programs, "
            "webhook.url, notify.slack and its like"
        )
    try:
        commands, outcomes = key_file(settings, Role.COMMANDS), key_file(settings, Role.OUTCOMES)
    except NoKeys as error:
        raise Refused(str(error)) from error
    own = settings.agent
    return Agent(
        log,
        Workshop(found, stop.wait, gate),
        Allowed(own.actions, own.hosts, own.jobs),
        metrics,
        cluster=settings.cluster.name,
        by=own.name or member,
        member=member,
        commands=commands,
        outcomes=outcomes,
        group=own.group,
        at_once=own.at_once,
    )


def agent(settings: Settings, stop: threading.Event) -> Built:
    """Return the agent as a worker."""
    metrics = StageMetrics("agent")

    def work() -> None:
        with (
            member_name(settings.cluster.member, "agent") as member,
            open_log(settings) as log,
            closing(agent_of(settings, log, metrics, stop, member)) as made,
        ):
            _start_jobs(settings, made)
            Runner(made, log, member, metrics, stop).run()

    return Built(Worker("agent", work), metrics)


def _start_jobs(settings: Settings, made: Agent) -> None:
    """Start the training programs that have never been started."""
    from relight.agent.executors.process import ProcessExecutor
    from relight.agent.port import ActionError

    for executor in made.executors:
        if isinstance(executor, ProcessExecutor):
            for job in settings.process.jobs:
                try:
                    executor.start(job)
                except ActionError as error:
                    raise Misconfigured(f"process.jobs: {job}: {error}") from error
