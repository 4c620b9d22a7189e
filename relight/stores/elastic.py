"""The store in Elasticsearch: the adapter `elastic` of the port."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final, Self

from relight.settings import models
from relight.stores import elastic_setup
from relight.stores.elastic_bulk import Bulk, create, replace
from relight.stores.elastic_client import check_product, connect, not_set_up, translated
from relight.stores.elastic_documents import (
    day_of,
    incident_of,
    incident_source,
    line_of,
    line_source,
    moment_sources,
)
from relight.stores.elastic_queries import SORTED, buckets, counting, incident_query, line_query
from relight.stores.port import (
    LIMIT,
    LINES,
    Bucket,
    Facet,
    LineQuery,
    Page,
    Query,
    Refusal,
    Sort,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from relight.stores.waiting import NEVER, Waited
from schemas.document import IncidentDocument
from schemas.record import LogRecord

_PAGE: Final = 500
_HITS: Final = 10_000
"""An answer of Elasticsearch has no more hits than this: `index.max_result_window`."""
_REFRESH_S: Final = 300.0
"""Letting searches see what a rebuild has written takes longer than any other answer."""
_LATE_MS: Final = 60_000
"""Writers' clocks differ, and what is written becomes visible later: a change is looked for again for so long."""
_DOCUMENT: Final = ["relight.document"]


class ElasticStore:
    """A store in Elasticsearch. May be used by several threads."""

    def __init__(
        self,
        settings: models.Elasticsearch,
        *,
        lines_days: int = 30,
        bulk_bytes: int = 4 * 1024 * 1024,
        waited: Waited = NEVER.wait,
        retried: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Take where it is. It is connected to when it is used.

        Args:
            settings: where it is, and how to get in.
            lines_days: how long log lines are kept: what is older lies in the index of the day when it was read.
            bulk_bytes: the most that is written in one request.
            waited: waits so many seconds, and tells whether to give up.
            retried: is told why something is tried again.

        Raises:
            StoreRefused: the settings cannot work.
        """
        self.place = f"Elasticsearch at {', '.join(settings.hosts) or settings.cloud_id}"
        self.client = connect(settings)
        self.prefix, self._days = settings.prefix, lines_days
        self._names = elastic_setup.Names(settings.prefix)
        self._bulk = Bulk(self.client, self.place, bulk_bytes, waited, retried)
        self._cursors, self._told = count(), ("", dict[str, int]())

    def check(self) -> None:
        """Make sure that the server is there, is one that can be used, and is set up. Raises: StoreError.

        Setting up makes templates first and aliases last; to see templates takes a privilege that indexing does not.
        """
        check_product(self.client, self.place)
        with self._translated():
            missing = [name for name in self._names.aliases if not self.client.indices.exists_alias(name=name)]
        if missing:
            raise StoreRefused(
                f"{self.place} is not set up ({', '.join(missing)} missing): run `relight setup elasticsearch`"
            )

    def put_incidents(self, documents: Sequence[IncidentDocument]) -> Sequence[Refusal]:
        """Keep incidents, unless what is there already is as new or newer.

        Their moments are written first: once an incident is there, nobody writes those before it again.
        """
        now_ms = int(time.time() * 1000)
        moments = [
            create(of, self._names.timeline, name, source, alias=True)
            for of, document in enumerate(documents)
            for name, source in moment_sources(document)
        ]
        incidents = [
            replace(of, self._names.incidents, document.id, document.version, incident_source(document, now_ms))
            for of, document in enumerate(documents)
        ]
        return [*self._bulk.write(moments), *self._bulk.write(incidents)]

    def put_lines(self, lines: Sequence[LogRecord]) -> Sequence[Refusal]:
        """Keep log lines; those that are there already stay."""
        return self._bulk.write(
            [
                create(of, self._names.logs(day_of(line, self._days)), line.id, line_source(line))
                for of, line in enumerate(lines)
            ]
        )

    def known(self, ids: Sequence[str]) -> Mapping[str, IncidentDocument]:
        """Return the incidents with these ids that are there: those too that no search sees yet."""
        found: dict[str, IncidentDocument] = {}
        for begin in range(0, len(ids), _PAGE):
            with self._translated():
                answer = self.client.mget(
                    index=self._names.incidents, ids=list(ids[begin : begin + _PAGE]), source_includes=_DOCUMENT
                )
            for told in answer["docs"]:
                if "error" in told:
                    raise self._unread(told["error"])
                if told["found"]:
                    found[told["_id"]] = incident_of(told["_source"])
        return found

    def get(self, prefix: str) -> Sequence[IncidentDocument]:
        """Return the incidents, at most ten, whose ids begin like this."""
        return self._hits({"prefix": {"relight.id": prefix}}, 10, [{"relight.id": "asc"}])[0]

    def search(
        self,
        query: Query,
        sort: Sort = "opened",
        *,
        ascending: bool = False,
        limit: int = 50,
        after: tuple[float, str] | None = None,
    ) -> Page:
        """Return incidents in an order, equal ones by id."""
        limit = min(limit, LIMIT)
        how = {"order": "asc" if ascending else "desc"}
        order: list[dict[str, Any]] = [
            {SORTED[sort]: how | ({"missing": 0} if sort == "lost" else {})},
            {"relight.id": "asc"},
        ]
        documents, total, last = self._hits(incident_query(query), limit + 1, order, after)
        more = len(documents) > limit
        return Page(tuple(documents[:limit]), total, last[limit - 1] if more else None)

    def aggregate(self, query: Query, by: Facet | None = None) -> Sequence[Bucket]:
        """Count incidents by a facet, the largest bucket first, equal ones by key."""
        answer = self._found(
            index=self._names.incidents, query=incident_query(query), size=0, aggs=counting(by), track_total_hits=True
        )
        return list(buckets(by, answer["aggregations"], answer["hits"]["total"]["value"]))

    def lines(self, query: LineQuery) -> Sequence[LogRecord]:
        """Return log lines, the earliest first."""
        order = [{"@timestamp": "asc"}, {"relight.source": "asc"}, {"log.offset": "asc"}]
        answer = self._found(
            index=self._names.logs("*"), query=line_query(query), size=min(query.limit, LINES), sort=order,
            track_total_hits=False,
        )  # fmt: skip
        return [line_of(hit["_id"], hit["_source"]) for hit in answer["hits"]["hits"]]

    def changes(self, after: str | None) -> tuple[Sequence[IncidentDocument], str]:
        """Return incidents that have changed since, at most `LIMIT`, and where to go on.

        What came late is looked for again, so most of what is found has been told. To whoever goes on from the last
        answer of this object it is not told again; anybody else may be told it twice.
        """
        newest = {"newest": {"max": {"field": "event.ingested"}}}
        answer = self._found(index=self._names.incidents, size=0, aggs=newest)
        now_ms = int(answer["aggregations"]["newest"]["value"] or 0)
        if after is None:
            return [], self._cursor(now_ms)
        before_ms = int(after.partition(".")[0])
        cursor, told = self._told
        known = told if cursor == after else {}
        seen: dict[str, int] = {}
        fresh: list[str] = []
        for name, version in self._ingested(before_ms - _LATE_MS):
            if known.get(name) != version:
                if len(fresh) == LIMIT:
                    now_ms = before_ms  # there is more, and the next call begins where this one has
                    break
                fresh.append(name)
            seen[name] = version
        found = self.known(fresh)
        if fresh or now_ms != before_ms:
            after = self._cursor(now_ms)
        self._told = after, seen | {document.id: document.version for document in found.values()}
        return list(found.values()), after

    def forget_lines(self, before_ms: int) -> int:
        """Forget nothing: a day's lines lie in an index of their own, which the cluster's lifecycle deletes."""
        return 0

    def refresh(self) -> None:
        """Let searches see what has been put."""
        with self._translated():
            self.client.options(request_timeout=_REFRESH_S).indices.refresh(
                index=self._names.all, ignore_unavailable=True
            )

    def clear(self) -> None:
        """Forget everything: delete the indices, and make them anew."""
        with self._translated():
            there = self.client.indices.get(index=self._names.all, expand_wildcards="all", filter_path="*.aliases")
            for index in sorted(there):
                self.client.indices.delete(index=index)
            elastic_setup.make_indices(self.client, self.prefix)

    def close(self) -> None:
        """Close the connections."""
        with suppress(Exception):
            self.client.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _hits(
        self, query: dict[str, Any], size: int, order: list[dict[str, Any]], after: tuple[float, str] | None = None
    ) -> tuple[list[IncidentDocument], int, list[tuple[float, str]]]:
        answer = self._found(
            index=self._names.incidents, query=query, size=size, sort=order, track_total_hits=True,
            source_includes=_DOCUMENT, search_after=None if after is None else list(after),
        )  # fmt: skip
        hits = answer["hits"]["hits"]
        places = [(hit["sort"][0], hit["sort"][-1]) for hit in hits]
        return [incident_of(hit["_source"]) for hit in hits], answer["hits"]["total"]["value"], places

    def _ingested(self, since_ms: int) -> Iterator[tuple[str, int]]:
        """Yield ids and versions of incidents that have been written since, the earliest first."""
        since = {"range": {"event.ingested": {"gte": max(0, since_ms), "format": "epoch_millis"}}}
        order = [{"event.ingested": "asc"}, {"relight.id": "asc"}]
        after: list[Any] | None = None
        while True:
            hits = self._found(
                index=self._names.incidents, query=since, size=_HITS, sort=order, source=False, version=True,
                track_total_hits=False, search_after=after,
            )["hits"]["hits"]  # fmt: skip
            for hit in hits:
                yield hit["_id"], hit["_version"]
            if len(hits) < _HITS:
                return
            after = hits[-1]["sort"]

    def _found(self, **asked: Any) -> Mapping[str, Any]:
        """Return what a search finds: all of it. Raises: StoreError."""
        with self._translated():
            answer: Mapping[str, Any] = self.client.search(**asked, allow_partial_search_results=False).body
        if answer["timed_out"]:
            raise StoreUnavailable(f"{self.place} did not finish a search in time (search.default_search_timeout)")
        return answer

    def _unread(self, error: Mapping[str, Any]) -> StoreError:
        """Return what it means that a document cannot be read."""
        reason = f"{error['type']}: {error.get('reason')}"
        if error["type"] == "index_not_found_exception":
            return not_set_up(self.place, reason)
        return StoreUnavailable(f"{self.place} cannot read what is there: {reason}")

    def _cursor(self, at_ms: int) -> str:
        """Return where to go on: a time, and a number by which whoever goes on is known."""
        return f"{at_ms}.{next(self._cursors)}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self.client, self.place):
            yield
