"""How commands open the store of incidents: what is wrong with it, or with what was typed, is one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from relight.commands.errors import mistakes

if TYPE_CHECKING:
    from relight.settings import Resolved
    from relight.stores.port import IncidentStore


@contextmanager
def stored(resolved: "Resolved") -> "Iterator[tuple[IncidentStore, str]]":
    """Open the store, and tell where it is."""
    from relight.stores.opening import open_store, store_place

    with store_errors(), open_store(resolved.settings, create=False) as store:
        yield store, store_place(resolved.settings)


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn what a store raises, and a choice of incidents that makes no sense, into one line."""
    from relight.incidents.filters import Unclear
    from relight.incidents.reading import NoIncident
    from relight.stores.port import StoreError

    with mistakes(StoreError, Unclear, NoIncident):
        yield
