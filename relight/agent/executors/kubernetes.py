"""The executor `kubernetes`: commands about nodes and jobs, carried out through the API of a Kubernetes.

What it does there is in kubernetes_nodes.py and kubernetes_restarts.py. Nothing of it is kept in this process: what has
become of a command, the API server is asked.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from relight.agent.executors import kubernetes_nodes as nodes
from relight.agent.executors import kubernetes_notes as notes
from relight.agent.executors import kubernetes_restarts as restarts
from relight.agent.executors.kubernetes_api import Api, Refused
from relight.agent.executors.kubernetes_asking import POLL_S, Asking
from relight.agent.executors.kubernetes_diagnostics import collected
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Terms
from relight.settings.agents import Kubernetes
from schemas.action import CollectDiagnostics
from schemas.command import OUTPUT_CHARACTERS, RecoveryCommand


class KubernetesExecutor:
    """Carries out actions on the nodes and jobs of one cluster. `poll_s`: how often it is looked what has changed."""

    name: Final = "kubernetes"
    actions: Final = frozenset(
        {
            "restart_process",
            "restart_job",
            "restart_job_excluding_hosts",
            "cordon_node",
            "drain_node",
            "replace_node",
            "collect_diagnostics",
        }
    )

    def __init__(self, settings: Kubernetes, poll_s: float = POLL_S) -> None:
        """Find the way in; whether anybody is there shows with the first command.

        Raises:
            NoClient: The official client is not installed, or finds no way in.
        """
        self._settings = settings
        self._poll_s = poll_s
        self._api = Api(settings)

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return which node or job it is, by its uid, and what a job would be made anew of."""
        action = command.action
        with _answering():
            if isinstance(action, nodes.OfNode):
                return nodes.noted(self._briefly(), action)
            if isinstance(action, notes.Restart):
                return notes.noted(self._briefly(), action, self._settings.namespace)
            if isinstance(action, CollectDiagnostics):
                return {}
        raise ActionRejected(f"{action.kind} is nothing that can be done through Kubernetes")

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Carry out a command, on what was noted of it."""
        action = command.action
        asking = Asking(self._api, terms.waited, terms.deadline_s, self._poll_s)
        with _answering(asking):
            if isinstance(action, nodes.OfNode):
                return nodes.carried_out(asking, command, action, terms.before, self._settings.drain_s)
            if isinstance(action, notes.Restart):
                return restarts.carried_out(asking, command, terms.before)
            if isinstance(action, CollectDiagnostics):
                return Done(collected(asking, action, self._settings.namespace).output[-OUTPUT_CHARACTERS:])
        raise ActionRejected(f"{action.kind} is nothing that can be done through Kubernetes")

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return what the node or the job says; diagnostics can be collected twice."""
        action = command.action
        with _answering():
            if isinstance(action, nodes.OfNode):
                return nodes.found(self._briefly(), command, action, before)
            if isinstance(action, notes.Restart):
                return restarts.found(self._briefly(), command, before)
        return Effect.NOT_DONE

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _briefly(self) -> Asking:
        return Asking.briefly(self._api, self._poll_s)


@contextmanager
def _answering(asking: Asking | None = None) -> Iterator[None]:
    """Say as an action's error what the server refuses or answers that nobody has expected."""
    try:
        yield
    except Refused as refused:
        raise ActionFailed(f"Kubernetes says {refused.status}: {refused}") from refused
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        how = ActionUnknown if asking and asking.acted else ActionFailed
        raise how(f"Kubernetes has answered with an object of another shape: {error!r}"[:500]) from error
