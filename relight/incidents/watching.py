"""Following incidents as they change: what a store says has changed, each version once, also across its absences."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Event
from typing import Final

from relight.incidents.passing import passes
from relight.incidents.reading import found
from relight.stores.port import IncidentStore, Query, StoreError, StoreUnavailable
from schemas.document import IncidentDocument, Moment
from schemas.history import State

_REMEMBERED: Final = 10_000
_OPEN_AT_FIRST: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """An incident as it is now, with the moments since it was told last; `begun` where nothing of it was told yet."""

    document: IncidentDocument
    moments: Sequence[Moment]
    begun: bool


class Watch:
    """Follows a store. It opens it again where it was away; what it knows of it stays."""

    def __init__(self, opened: Callable[[], IncidentStore], query: Query, tell: Callable[[str], None]) -> None:
        """Take how the store is opened, what is asked for, and how to say that it is away and back."""
        self._opened, self._query, self._tell = opened, query, tell
        self._store: IncidentStore | None = None
        self._cursor: str | None = None
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._away = False

    def changes(self, stop: Event, interval_s: float) -> Iterator[Sequence[Change]]:
        """Yield what is open at first, and then what has changed, until it is stopped.

        Raises: StoreError, where the store refuses at the very beginning. Later it is tried again and again.
        """
        try:
            while not stop.is_set():
                try:
                    told = self._first() if self._cursor is None else self._next()
                except StoreError as error:
                    self._left(error)
                else:
                    self._returned()
                    if told is not None:
                        yield told
                stop.wait(interval_s)
        finally:
            self._let_go()

    def _first(self) -> Sequence[Change]:
        """Return the incidents that are open. Where it goes on from is asked first, so that nothing is missed."""
        store = self._reached()
        _, cursor = store.changes(None)
        states = tuple(state for state in self._query.states or (State.OPEN,) if state is State.OPEN)
        known: list[IncidentDocument] = []
        if states:
            open_now = replace(self._query, states=states)
            known = list(found(store, open_now, "opened", ascending=True, limit=_OPEN_AT_FIRST).documents)
        self._cursor = cursor
        return [Change(document, (), begun=True) for document in known if self._newer(document) is not None]

    def _next(self) -> Sequence[Change] | None:
        documents, cursor = self._reached().changes(self._cursor)
        told = []
        for document in documents:
            before = self._newer(document)
            if before is not None and passes(document, self._query):
                moments = document.timeline[-(document.version - before) :]  # each event adds one
                told.append(Change(document, moments, begun=False))
        self._cursor = cursor
        return told or None

    def _newer(self, document: IncidentDocument) -> int | None:
        """Return the version that was told last, 0 for none; `None` where this one is not newer."""
        before = self._versions.get(document.id, 0)
        if document.version <= before:
            return None
        self._versions[document.id] = document.version
        self._versions.move_to_end(document.id)
        if len(self._versions) > _REMEMBERED:
            self._versions.popitem(last=False)
        return before

    def _reached(self) -> IncidentStore:
        if self._store is None:
            self._store = self._opened()
        return self._store

    def _left(self, error: StoreError) -> None:
        self._let_go()
        if self._cursor is None and not isinstance(error, StoreUnavailable):
            raise error
        if not self._away:
            self._tell(f"the store is away, trying again: {error}")
        self._away = True

    def _returned(self) -> None:
        if self._away:
            self._tell("the store is back")
        self._away = False

    def _let_go(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = None


def words(change: Change) -> str:
    """Return what has changed, in words: the last of each sort of moment, evidence only where it is all there is."""
    if change.begun:
        return "open"
    telling = [moment for moment in change.moments if not moment.event.startswith("evidence.")] or change.moments
    last = {moment.event: moment for moment in telling}
    texts = [moment.text for moment in telling if last[moment.event] is moment]
    more = len(change.moments) - len(texts)
    return "; ".join(texts) + (f" (and {more} more)" if more and texts else "") or "changed"
