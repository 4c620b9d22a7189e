"""The port `IncidentStore`: what is kept of incidents and log lines to be searched. Adapters: `embedded`, `elastic`.

A store is a projection of the topics: it can be deleted, and `relight replay --into store` makes it the same again.
Whatever is written twice is there once, and an older state of an incident never replaces a newer one.

StoreError
├── StoreUnavailable   it cannot be reached, or answers too late, or is busy: try again
├── StoreFull          it has no room, or is read-only: it takes nothing until a person has made some
└── StoreRefused       wrong credentials, a wrong product or version, or it is not set up: a person has to change it
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, Self

from schemas.document import IncidentDocument
from schemas.history import State
from schemas.record import LogRecord
from schemas.vocabulary import Severity


class StoreError(Exception):
    """The store did not do what was asked. The message says what is wrong, where, and what to do."""


class StoreUnavailable(StoreError):
    """It cannot be reached, or answers too late, or is busy: try again."""


class StoreFull(StoreError):
    """It has no room, or is read-only."""


class StoreRefused(StoreError):
    """It does not let this client in, or is none that relight can use as it is."""


Sort = Literal["opened", "updated", "severity", "confidence", "lost"]
"""What incidents can be sorted by. `lost`: GPU hours."""
Facet = Literal["fault", "host", "blamed", "week", "severity", "state", "job", "signature", "domain", "cluster"]
"""What incidents can be counted by. `host`: each that saw it, `blamed`: the one that the culprit is on.

A week is ISO's, such as `2026-W21`, of the time of opening in UTC.
"""

LINES: Final = 10_000
"""No more log lines than this are returned at once."""
LIMIT: Final = 500
"""No more incidents than this are returned at once by a search; `Page.after` goes on behind them."""
BUCKETS: Final = 10_000
"""No more buckets than this are returned by an aggregate: the largest ones."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which incidents are wanted: those that pass all that is given.

    Words of a tuple are alternatives, in which `*` stands for anything and `?` for one character. Times are those of
    opening (Unix, milliseconds), `until_ms` not included. `severity` is the least. `text` holds words that must all be
    there, in any order; `"several words"` in quotation marks stand together, `word*` is a beginning, and `-word` must
    not be there. No more than its first `relight.stores.words.MOST` words are looked for.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    clusters: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    severity: Severity | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of what was found. `total` counts all of it; `after` continues behind this page, `None` at the end."""

    documents: tuple[IncidentDocument, ...]
    total: int
    after: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """Incidents with the same value of a facet, counted and summed up.

    `failed` counts those that ended a run; `first_ms` and `last_ms` are the first and the last opening. Durations are
    sums in milliseconds, each with the number of incidents that have one; `relight.stores.facets` says what they are.
    """

    key: str
    count: int
    failed: int
    first_ms: int
    last_ms: int
    detection_ms: int = 0
    detected: int = 0
    recovery_ms: int = 0
    recovered: int = 0
    lost_gpu_ms: int = 0
    with_ranks: int = 0


@dataclass(frozen=True, slots=True)
class LineQuery:
    """Which log lines are wanted: of any of the sources or hosts, in a span of event time, with words as in `Query`.

    Without sources and hosts the lines of all are wanted. Times are Unix milliseconds, `until_ms` not included.
    """

    cluster: str | None = None
    sources: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    text: str = ""
    limit: int = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that the store does not take, whatever is tried. `of` is its place in what was written."""

    of: int
    id: str
    reason: str


class IncidentStore(Protocol):
    """A store. `close` it, or use it in a `with` block. All methods raise StoreError."""

    def check(self) -> None:
        """Make sure that the store is there, is one that can be used, and is set up."""
        ...

    def put_incidents(self, documents: Sequence[IncidentDocument]) -> Sequence[Refusal]:
        """Keep incidents, unless what is there already is as new or newer. When this returns, they are kept."""
        ...

    def put_lines(self, lines: Sequence[LogRecord]) -> Sequence[Refusal]:
        """Keep log lines; those that are there already stay. When this returns, they are kept."""
        ...

    def known(self, ids: Sequence[str]) -> Mapping[str, IncidentDocument]:
        """Return the incidents with these ids that are there: what was put last, even if no search sees it yet."""
        ...

    def get(self, prefix: str) -> Sequence[IncidentDocument]:
        """Return the incidents, at most ten, whose ids begin like this."""
        ...

    def search(
        self, query: Query, sort: Sort = "opened", *, ascending: bool = False, limit: int = 50,
        after: tuple[float, str] | None = None,
    ) -> Page:  # fmt: skip
        """Return incidents in an order, equal ones by id, at most `LIMIT`; `after` is that of the page before."""
        ...

    def aggregate(self, query: Query, by: Facet | None = None) -> Sequence[Bucket]:
        """Count incidents by a facet, the largest bucket first, equal ones by key; `None`: all in one bucket, if any.

        An incident with several hosts counts for each. There are at most `BUCKETS`.
        """
        ...

    def lines(self, query: LineQuery) -> Sequence[LogRecord]:
        """Return log lines, the earliest first; those of one moment by source and place."""
        ...

    def changes(self, after: str | None) -> tuple[Sequence[IncidentDocument], str]:
        """Return incidents that have changed since a call that returned `after`, and what to call with next.

        Without `after` none are returned: it begins now. An incident may be returned more than once.
        """
        ...

    def forget_lines(self, before_ms: int) -> int:
        """Forget some of the lines of before a time (Unix, milliseconds), return how many: 0 when there are no more.

        `relight.stores.keeping` says which time of a line that is. Where days of lines have a lifecycle of their own,
        nothing is left to do.
        """
        ...

    def refresh(self) -> None:
        """Let searches see what has been put."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def close(self) -> None:
        """Let go of connections and files. Never raises."""
        ...

    def __enter__(self) -> Self:
        """Return the store itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close it."""
        ...
