"""How a store is asked: page by page for as many incidents as are wanted, and for one by the beginning of its id."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relight.incidents.cleaning import clean
from relight.stores.port import IncidentStore, Page, Query, Sort
from schemas.document import IncidentDocument

PAGE: Final = 200
"""So many incidents are asked for at once."""
SHORT: Final = 8
"""An id is told by so many of its first characters where there is little room."""
_MOST_NAMED: Final = 10


class NoIncident(LookupError):
    """A beginning of an id names none, or more than one. The message says which to type instead."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: how many there are in all, and those that are wanted, read as they are taken."""

    total: int
    documents: Iterator[IncidentDocument]


def found(store: IncidentStore, query: Query, sort: Sort, *, ascending: bool, limit: int | None) -> Found:
    """Ask for incidents; `limit` `None` is all of them. Raises: StoreError."""
    first = store.search(query, sort, ascending=ascending, limit=min(limit or PAGE, PAGE))

    def pages() -> Iterator[Page]:
        page, left = first, limit
        yield page
        while page.after is not None:
            left = None if left is None else left - len(page.documents)
            if left == 0:
                return
            page = store.search(query, sort, ascending=ascending, limit=min(left or PAGE, PAGE), after=page.after)
            yield page

    return Found(first.total, (document for page in pages() for document in page.documents))


def named(store: IncidentStore, beginning: str) -> IncidentDocument:
    """Return the incident whose id begins like this. Raises: NoIncident, StoreError."""
    begun = beginning.strip()
    known = store.get(begun) if begun else ()
    for document in known:
        if len(known) == 1 or document.id == begun:
            return document
    if not known:
        raise NoIncident(
            f"no incident has an id that begins with {clean(beginning)!r}: `relight incidents list` tells them"
        )
    ids = sorted(document.id for document in known)
    length = max(SHORT, len(begun) + 1)
    while len({name[:length] for name in ids}) < len(ids):
        length += 1
    more = " or more" if len(ids) == _MOST_NAMED else ""
    told = ", ".join(clean(name[:length]) for name in ids)
    raise NoIncident(f"{clean(beginning)!r} is the beginning of {len(ids)}{more} incidents: type more, one of {told}")
