"""Asking a Kubernetes on behalf of one command: again where nothing came back, until its deadline or the agent's end.

Every change that is asked for here can be asked for twice: it names the object by its uid or version, or it says what
is to be. So a lost answer is no worse than a slow one.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from relight.agent.executors.kubernetes_api import Api, Json, NoAnswer, Place, Refused
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Interrupted
from relight.stores.waiting import NEVER, Waited

POLL_S: Final = 1.0
"""How often it is looked whether something has changed."""
_PATIENCE_S: Final = 10.0
_PASSING: Final = frozenset((429, 500, 502, 503, 504))
"""HTTP statuses that pass by themselves."""


class Asking:
    """A command's conversation with the API server. `acted`: something may have been changed by it."""

    def __init__(self, api: Api, waited: Waited, until_s: float, poll_s: float = POLL_S) -> None:
        """Take how the agent waits, and until when (Unix, seconds)."""
        self.acted = False
        self._api, self._waited, self._until_s, self._poll_s = api, waited, until_s, poll_s

    @classmethod
    def briefly(cls, api: Api, poll_s: float = POLL_S) -> "Asking":
        """Return one that gives up soon, for where the agent gives no terms."""
        return cls(api, NEVER.wait, time.time() + _PATIENCE_S, poll_s)

    def get(self, place: Place, query: Mapping[str, str | int] | None = None, passing: bool = True) -> Any:
        """Return what is there. Without `passing` a refusal that may pass by itself is raised too.

        Raises:
            ActionError: The server cannot be asked, or says no.
            Interrupted: The agent is to stop.
            Refused: It is not there (404), or what was asked for is wrong.
        """
        return self._until_answered("GET", place, query, None, passing)

    def listed(self, place: Place, query: Mapping[str, str | int] | None = None) -> list[Json]:
        """Return the objects of a collection; none of a kind that the server does not know. Raises as `get` does."""
        try:
            return [one for one in self.get(place, query).get("items") or () if isinstance(one, dict)]
        except Refused as refused:
            if refused.status == 404:
                return []
            raise ActionFailed(f"{place.path}: {refused}") from refused

    def change(
        self, method: str, place: Place, body: Json, query: Mapping[str, str] | None = None, passing: bool = True
    ) -> Any:
        """Change something and return the answer. Raises as `get` does; without `passing` what passes is raised too."""
        return self._until_answered(method, place, query, body, passing)

    @property
    def late(self) -> bool:
        """Tell whether the deadline has passed."""
        return time.time() >= self._until_s

    def begin(self) -> None:
        """See that there is time to begin.

        Raises:
            ActionFailed: The deadline has passed.
        """
        if self.late:
            raise ActionFailed("its deadline had passed before it was begun")

    def pause(self, late: str) -> None:
        """Wait a little.

        Raises:
            ActionFailed: The deadline has passed; it says `late`.
            Interrupted: The agent is to stop.
        """
        if self.late:
            raise ActionFailed(late)
        if self._waited(max(0.0, min(self._poll_s, self._until_s - time.time()))):
            raise Interrupted

    def _until_answered(
        self, method: str, place: Place, query: Mapping[str, str | int] | None, body: Json | None, passing: bool = True
    ) -> Any:
        changes = method != "GET" and not (query and query.get("dryRun"))
        while True:
            try:
                answer = self._api.ask(method, place, query, body, self._until_s - time.time())
            except NoAnswer as error:
                self.acted |= changes and error.sent
                why = f"no answer from Kubernetes: {error}"
            except Refused as refused:
                if not passing or refused.status not in _PASSING:
                    raise self._no(method, place, refused) from refused
                why = f"Kubernetes says {refused.status}: {refused}"
            else:
                self.acted |= changes
                return answer
            self._again(why)

    def _again(self, why: str) -> None:
        """Wait before the next attempt, if there is to be one."""
        if self.late and self.acted:
            raise ActionUnknown(why)
        self.pause(why)

    def _no(self, method: str, place: Place, refused: Refused) -> Exception:
        """Return what a refusal means: with 403 that there is a permission to give, others are for who has asked."""
        if refused.status == 401:
            return ActionFailed(f"Kubernetes does not know this account: {refused}")
        if refused.status == 403 and " cannot " in str(refused):
            said = f"its account may not {place.permission(method)}: {refused}"
            return ActionFailed(said) if self.acted else ActionRejected(said)
        return refused
