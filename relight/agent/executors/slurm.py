"""The executor `slurm`: takes nodes out, reboots them and starts jobs again, with Slurm's own programs.

Slurm can be asked what has become of a command: a node's reason holds its id, and jobs count their restarts. What must
not be done twice is told to Slurm once; where Slurm then gives no answer it is only looked at, never told again.
"""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from relight.agent.executors.slurm_programs import (
    Node,
    Patience,
    Programs,
    Refused,
    Unsettled,
    a_moment,
    answered,
    is_acting,
    shown,
)
from relight.agent.executors.slurm_restarts import Restarts
from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Terms,
)
from relight.settings import agents
from relight.stores.waiting import NEVER
from schemas.action import (
    CollectDiagnostics,
    CordonNode,
    DrainNode,
    RebootNode,
    ReplaceNode,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
)
from schemas.command import RecoveryCommand

_POLL_S: Final = 0.5
_PREPARING_S: Final = 30.0
"""As long `prepare` waits for a slurmctld that does not answer."""
_AGAIN_S: Final = 1.0
"""After so long `found` looks a second time: slurmctld may just be at what a program told it that was killed."""
_BOOT_S: Final = 30
"""A boot is another one when its time is so much later: Slurm reckons it from the node's uptime."""
_HOST: Final = re.compile(r"(?!(?i:all)$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_ID: Final = re.compile(r"[A-Za-z0-9_.:@/=+-]{1,512}")
_OUT: Final = {"drain_node": "", "cordon_node": "cordon, ", "replace_node": "replace, ", "reboot_node": "reboot, "}


class SlurmExecutor:
    """Carries out commands in a Slurm.

    Taking a node out is a drain, whichever action asks for it: Slurm has nothing milder, and jobs there go on. A
    replacement is a drain as well, whose reason says `replace`: somebody has to bring the other machine. A node that
    somebody else has taken out stays theirs, with their reason. A process is started again with its whole job. A job is
    named by its id, a task of an array as `123_4`, or by its name where that tells one job. The agent's user has to be
    an operator of Slurm's.
    """

    name = "slurm"
    actions: Final = frozenset({*_OUT, "restart_job", "restart_job_excluding_hosts", "restart_process",
                                "collect_diagnostics"})  # fmt: skip

    def __init__(self, settings: agents.Slurm) -> None:
        """Find Slurm's programs. Raises: Misconfigured."""
        self._settings = settings
        self._programs = Programs(settings)
        self._restarts = Restarts(self._programs)

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return a job's id and how often it was started again, or when a node has booted.

        Raises:
            ActionRejected: Slurm has no such job or node, or cannot do that to it.
            ActionFailed: Slurm gives no answer.
        """
        patience = Patience(NEVER.wait, min(command.deadline_s, time.time() + _PREPARING_S))
        with answered(ActionFailed, refused=ActionRejected):
            return self._notes(command, patience)

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Carry out a command, and return when Slurm says that it is so; a job may then still wait to run.

        Raises:
            ActionRejected: it is none of this executor's actions.
            ActionFailed: Slurm has refused it, or it has not become so by the deadline.
            ActionUnknown: Slurm gave no answer, and could not be asked by the deadline.
            Interrupted: the agent is to stop.
        """
        patience, action = Patience(terms.waited, terms.deadline_s), command.action
        if time.time() >= terms.deadline_s:
            raise ActionFailed("it was not begun: its deadline has passed")
        with answered(ActionFailed, refused=ActionFailed):
            match action:
                case DrainNode() | CordonNode() | ReplaceNode():
                    return self._take_out(command, action.host, patience)
                case RebootNode():
                    return self._reboot(command, action.host, terms.before, patience)
                case RestartJob() | RestartProcess():
                    return self._restarts.restart(command, terms.before, patience)
                case RestartJobExcludingHosts():
                    return self._restarts.restart_elsewhere(command, frozenset(action.hosts), terms.before, patience)
                case CollectDiagnostics():
                    return self._collect(action, terms.before, patience)
        raise ActionRejected(f"{action.kind} is nothing that Slurm can do")

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Ask Slurm whether a command has taken effect: a node's reason and boot, a job's count of restarts.

        Raises:
            ActionError: Slurm gives no answer, or a program that the agent had started before a crash still runs.
        """
        patience = Patience(NEVER.wait, time.time() + self._settings.timeout_s)
        while is_acting(command.id):
            if not patience.pause(_POLL_S / 5):
                raise ActionError("a program that was started for it still runs")
        once = Patience(NEVER.wait, time.time())
        with answered(ActionError, refused=ActionError):
            try:
                if self._is_so(command, before, once):
                    return Effect.DONE
                NEVER.wait(_AGAIN_S)
                return Effect.DONE if self._is_so(command, before, once) else Effect.NOT_DONE
            except Refused:  # it knows the job or the node no more
                return Effect.UNKNOWN

    def close(self) -> None:
        """Do nothing: what Slurm was told goes on."""

    def _notes(self, command: RecoveryCommand, patience: Patience) -> Mapping[str, str]:
        action = command.action
        if unfit := next((each for each in (command.id, command.incident) if not _ID.fullmatch(each)), None):
            raise ActionRejected(f"the id {unfit[:100]!r} cannot be part of a reason")
        match action:
            case RebootNode():
                return self._reboot_notes(action.host, patience)
            case DrainNode() | CordonNode() | ReplaceNode():
                self._node(action.host, patience)
                return {}
            case RestartJob() | RestartProcess():
                return self._restarts.notes(action.job, frozenset(), patience)
            case RestartJobExcludingHosts():
                for host in action.hosts:
                    self._node(host, patience)
                return self._restarts.notes(action.job, frozenset(action.hosts), patience)
            case CollectDiagnostics():
                _fit(*action.hosts)
                if not action.hosts and action.job is None:
                    raise ActionRejected("it names neither a job nor a host")
                return {"job": self._restarts.named(action.job, patience).id} if action.job is not None else {}
            case _:
                raise ActionRejected(f"{action.kind} is nothing that Slurm can do")

    def _reboot_notes(self, host: str, patience: Patience) -> Mapping[str, str]:
        if not self._settings.reboot:
            raise ActionRejected(
                "nodes are rebooted only with slurm.reboot = true, and with a RebootProgram of Slurm's"
            )
        node = self._node(host, patience)
        if node.out and not _is_ours(node):
            raise ActionRejected(f"somebody else has taken it out, and a reboot would undo that: {node.reason}")
        return {"booted": str(node.booted_s if node.booted_s is not None else int(time.time()) - _BOOT_S)}

    def _is_so(self, command: RecoveryCommand, before: Mapping[str, str], patience: Patience) -> bool:
        match command.action:
            case RebootNode(host=host):
                node = self._node(host, patience)
                return _rebooted(node, before) and node.well
            case RestartJob() | RestartProcess():
                return self._restarts.is_so(command, frozenset(), before, patience)
            case RestartJobExcludingHosts(hosts=hosts):
                return self._restarts.is_so(command, frozenset(hosts), before, patience)
            case DrainNode(host=host) | CordonNode(host=host) | ReplaceNode(host=host):
                node = self._node(host, patience)
                return node.out and _is_by(command, node)
        return False

    def _take_out(self, command: RecoveryCommand, host: str, patience: Patience) -> Done:
        node, kind = self._node(host, patience), command.action.kind
        if node.out and not _is_by(command, node) and (kind != "replace_node" or not _is_ours(node)):
            return Done(f"{host} is out of service already, and stays so as it is: {node.reason or 'without a reason'}")
        if not (node.out and _is_by(command, node)):
            update = ("update", f"nodename={host}", "state=drain", f"reason={_reason(command)}")
            self._programs.change(patience, command.id, *update)
        return Done(f"{host} is out of service: {_reason(command)}")

    def _reboot(self, command: RecoveryCommand, host: str, before: Mapping[str, str], patience: Patience) -> Done:
        """Have a node rebooted when its jobs have ended, and wait until it is back."""
        told = False
        while True:
            with answered(ActionUnknown if told else ActionFailed, refused=ActionFailed):
                node = self._node(host, patience)
            mine, anew = _is_by(command, node), _rebooted(node, before)
            if anew and node.well:
                return Done(f"{host} has rebooted and is {_said(node)}", healthy=True)
            if mine and "timed out" in node.reason:
                raise ActionFailed(f"{host} is {_said(node)}: {node.reason}")
            if not (told or mine or anew or any(state.startswith("REBOOT") for state in node.states)):
                told = True
                with suppress(Unsettled):  # then it is only looked at
                    reboot = ("reboot", "ASAP", "nextstate=RESUME", f"reason={_reason(command)}", host)
                    self._programs.change_once(patience, command.id, *reboot)
            if not patience.pause(_POLL_S):
                break
        if mine and "REBOOT_REQUESTED" in node.states:
            self._programs.change(a_moment(), command.id, "cancel_reboot", host)
            raise ActionFailed(f"{host} was not rebooted, for its jobs have not ended; the reboot is cancelled")
        if told and not mine:
            raise ActionUnknown(f"Slurm was told to reboot {host}, which is {_said(node)}")
        raise ActionFailed(f"{host} is not back: it is {_said(node)}")

    def _collect(self, action: CollectDiagnostics, before: Mapping[str, str], patience: Patience) -> Done:
        said = []
        for what in (*(("node", host) for host in action.hosts), *((("job", before["job"]),) if action.job else ())):
            try:
                said.append(self._programs.ask(patience, "scontrol", "show", "-d", *what))
            except Refused as no:
                said.append(f"{' '.join(what)}: {no}")
        return Done(shown(said))

    def _node(self, host: str, patience: Patience) -> Node:
        _fit(host)
        return self._programs.node(patience, host)


def _fit(*hosts: str) -> None:
    """Raise: ActionRejected, of what Slurm would take for an option, a list, or all there are."""
    if unfit := next((host for host in hosts if not _HOST.fullmatch(host)), None):
        raise ActionRejected(f"{unfit[:100]!r} cannot be the name of a host")


def _rebooted(node: Node, before: Mapping[str, str]) -> bool:
    return node.booted_s is not None and node.booted_s > int(before["booted"]) + _BOOT_S


def _reason(command: RecoveryCommand) -> str:
    return f"relight: {_OUT[command.action.kind]}incident {command.incident} command {command.id}"


def _is_by(command: RecoveryCommand, node: Node) -> bool:
    return re.search(rf" command {re.escape(command.id)}(?![^ ])", node.reason) is not None


def _is_ours(node: Node) -> bool:
    return node.reason.startswith("relight: ")


def _said(node: Node) -> str:
    return "+".join(sorted(node.states))
