"""What Elasticsearch does not take, and servers that it is not: each is a clear message, and nothing is lost."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from ingest.choosing import Choice
from relight.deadletters import read
from relight.metrics import StageMetrics
from relight.settings import models
from relight.stages.index import Index
from relight.stages.sources import matcher
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import Names, setup
from relight.stores.port import LineQuery, Query, StoreFull, StoreRefused, StoreUnavailable
from relight.topics import INCIDENTS, LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, Refused, Unavailable
from relight.transports.reading import records
from schemas.deadletter import RecordRefused
from schemas.events import decoded, encoded
from schemas.shipped import Shipped
from tests.contract.store_stories import document, events, line
from tests.servers.elasticsearch_server import ElasticsearchServer
from tests.servers.guarded import PASSWORD, USER, guarded
from tests.servers.listening import Door, listening
from tests.servers.process import free_ports

pytestmark = pytest.mark.elasticsearch


def told(url: str, **more: object) -> models.Elasticsearch:
    return models.Elasticsearch.model_validate(
        {"hosts": (url,), "prefix": f"t{uuid4().hex[:8]}", "replicas": 0, "timeout_s": 5} | more
    )


@pytest.fixture
def own(elasticsearch_url: str) -> models.Elasticsearch:
    return told(elasticsearch_url)


@pytest.fixture
def store(own: models.Elasticsearch) -> Iterator[ElasticStore]:
    with ElasticStore(own, waited=lambda wait_s: False) as store:
        setup(store.client, store.place, own, 30)
        yield store
        block(store, False)
        store.clear()


def block(store: ElasticStore, on: bool) -> None:
    """Make all indices read-only as Elasticsearch does on a disk that is nearly full, or let them be written again."""
    store.client.indices.put_settings(
        index=Names(store.prefix).all,
        settings={"index.blocks.read_only_allow_delete": True if on else None},
        ignore_unavailable=True,
        allow_no_indices=True,
    )


Answer = tuple[int, bytes]


def as_it_is(path: str, body: bytes) -> Answer | None:
    return None


@contextmanager
def door(
    url: str,
    before: Callable[[str, bytes], Answer | None] = as_it_is,
    changed: Callable[[bytes], bytes] = lambda found: found,
) -> Iterator[str]:
    """Give the address of a proxy: `before` may answer in place of the server, whose answers can be `changed`."""

    class Own(Door):
        behind = urlsplit(url)

        def answered(self, body: bytes) -> tuple[int, bytes, str] | None:
            own = before(self.path, body)
            return own and (*own, "application/json" if own[1].startswith(b"{") else "text/html")

        def changed(self, found: bytes) -> bytes:
            return changed(found)

    with listening(Own) as address:
        yield address


def through(store: ElasticStore, address: str, **more: object) -> ElasticStore:
    """Return the same store as it is reached through a door."""
    return ElasticStore(told(address, prefix=store.prefix, **more))


def with_conflict(store: ElasticStore) -> None:
    """Make today's index of lines with another type of a field than the template's."""
    with_mapping(store, {"dynamic": False, "properties": {"relight": {"type": "keyword"}}})


def with_mapping(store: ElasticStore, mapping: dict[str, object]) -> None:
    """Make today's index of lines with another mapping than the template's."""
    day = Names(store.prefix).logs("2026.05.12")
    template = {"mappings": mapping}
    name = f"{store.prefix}-other"
    store.client.indices.put_index_template(
        name=name, index_patterns=[f"{store.prefix}-logs-*"], priority=999, template=template
    )
    store.client.indices.create(index=day)
    store.client.indices.delete_index_template(name=name)


# What a document is refused for


def test_a_mapping_conflict_refuses_the_document_with_the_servers_reason(store: ElasticStore) -> None:
    with_conflict(store)
    (refusal,) = store.put_lines([line("one")])
    assert refusal.of == 0
    assert "document_parsing_exception" in refusal.reason


def test_what_is_refused_keeps_nothing_else_back(store: ElasticStore) -> None:
    with_conflict(store)
    later = line(
        "another day", time_ms=line("x").time_ms + 3 * 86_400_000, observed_ms=line("x").observed_ms + 3 * 86_400_000
    )  # type: ignore[operator]
    refusals = store.put_lines([line("one"), later, line("two")])
    assert [one.of for one in refusals] == [0, 2]


def test_an_id_that_is_too_long_is_refused_and_the_others_are_kept(store: ElasticStore) -> None:
    lines = [line("one"), line("two", id="ü" * 256), line("three", id="ü" * 256 + "x")]
    (refusal,) = store.put_lines(lines)
    assert (refusal.of, refusal.id, refusal.reason) == (2, lines[2].id, "its id is longer than 512 bytes")
    store.refresh()
    assert {found.id for found in store.lines(LineQuery())} == {lines[0].id, lines[1].id}


def test_a_document_for_which_a_whole_request_is_refused_is_found_and_the_others_are_kept(store: ElasticStore) -> None:
    documents = [document(number) for number in range(7)]
    history = documents[4].history.model_copy(update={"sequence": -1})
    documents[4] = documents[4].model_copy(update={"history": history})
    (refusal,) = store.put_incidents(documents)
    assert (refusal.of, refusal.id) == (4, documents[4].id)
    assert "illegal version value" in refusal.reason
    assert set(store.known([one.id for one in documents])) == {one.id for one in documents} - {documents[4].id}


def test_what_a_proxy_finds_too_large_is_sent_in_smaller_parts(store: ElasticStore, elasticsearch_url: str) -> None:
    def small(path: str, body: bytes) -> Answer | None:
        return (413, b"<h1>413 Request Entity Too Large</h1>") if len(body) > 6000 else None

    lines = [line("x " * 400) for _ in range(12)]
    lines[5] = line("x " * 4000)
    with door(elasticsearch_url, small) as address, through(store, address) as narrow:
        (refusal,) = narrow.put_lines(lines)
    assert (refusal.of, refusal.reason) == (5, "too large: <h1>413 Request Entity Too Large</h1>")
    store.refresh()
    assert {found.id for found in store.lines(LineQuery())} == {one.id for one in lines} - {lines[5].id}


def test_a_proxy_that_finds_everything_wrong_refuses_no_document(store: ElasticStore, elasticsearch_url: str) -> None:
    with (
        door(elasticsearch_url, lambda path, body: (400, b"HTTP was sent to an HTTPS port")) as address,
        through(store, address) as wrong,
        pytest.raises(StoreRefused, match="HTTP was sent to an HTTPS port"),
    ):
        wrong.put_lines([line("one"), line("two")])


def test_a_server_that_is_too_old_for_the_client_refuses_no_document(
    store: ElasticStore, elasticsearch_url: str
) -> None:
    answer = b'{"error": {"type": "media_type_header_exception", "reason": "Invalid media-type"}, "status": 400}'
    with (
        door(elasticsearch_url, lambda path, body: (400, answer)) as address,
        through(store, address) as old,
        pytest.raises(StoreRefused, match="relight needs Elasticsearch 9"),
    ):
        old.put_lines([line("one"), line("two")])


# When nothing is taken


def test_a_full_disk_says_what_to_do(store: ElasticStore) -> None:
    block(store, True)
    with pytest.raises(StoreFull, match=r"(?s)takes nothing.*read.only.*Make room"):
        store.put_incidents([document(1)])
    block(store, False)
    assert not store.put_incidents([document(1)])


@pytest.mark.parametrize("kind", ["write", "read_only"])
def test_a_day_that_a_person_made_read_only_takes_nothing_until_it_is_writable(store: ElasticStore, kind: str) -> None:
    day = Names(store.prefix).logs("2026.05.12")
    store.client.indices.create(index=day, settings={f"index.blocks.{kind}": True})
    with pytest.raises(StoreFull, match=r"takes nothing.*Take the block away"):
        store.put_lines([line("one")])
    store.client.indices.put_settings(index=day, settings={f"index.blocks.{kind}": None})
    assert not store.put_lines([line("one")])


def test_a_day_that_is_closed_takes_nothing_until_it_is_open(store: ElasticStore) -> None:
    day = Names(store.prefix).logs("2026.05.12")
    store.client.indices.create(index=day)
    store.client.indices.close(index=day)
    with pytest.raises(StoreFull, match=r"takes nothing: closed\. Open the index"):
        store.put_lines([line("one")])
    store.client.indices.open(index=day)
    assert not store.put_lines([line("one")])


def test_a_cluster_with_as_many_shards_as_it_may_have_takes_nothing(own_elasticsearch: ElasticsearchServer) -> None:
    own = told(own_elasticsearch.url)
    with ElasticStore(own) as store:
        setup(store.client, store.place, own, 30)
        store.client.cluster.put_settings(persistent={"cluster.max_shards_per_node": 1})
        try:
            with pytest.raises(StoreFull, match=r"takes nothing.*maximum normal shards open.*max_shards_per_node"):
                store.put_lines([line("one")])
        finally:
            store.client.cluster.put_settings(persistent={"cluster.max_shards_per_node": None})
        assert not store.put_lines([line("one")])
        store.clear()


def test_an_index_that_is_older_than_the_program_says_how_to_set_it_up(store: ElasticStore) -> None:
    with_mapping(store, {"dynamic": "strict", "properties": {"message": {"type": "text"}}})
    with pytest.raises(StoreRefused, match="run `relight setup elasticsearch --apply`"):
        store.put_lines([line("one")])


# When not all of it can be read


def nowhere(store: ElasticStore, index: str) -> None:
    """Make an index whose only shard no node takes."""
    store.client.indices.create(
        index=index, wait_for_active_shards=0, settings={"index.routing.allocation.require._name": "nobody"}
    )


def test_a_search_that_misses_a_shard_is_unavailable_and_not_half_an_answer(store: ElasticStore) -> None:
    store.put_incidents([document(1)])
    store.put_lines([line("one")])
    store.refresh()
    nowhere(store, f"{store.prefix}-incidents-2")
    nowhere(store, Names(store.prefix).logs("2026.05.13"))
    steps = (
        lambda: store.search(Query()),
        lambda: store.get(document(1).id),
        lambda: store.aggregate(Query()),
        lambda: store.lines(LineQuery()),
        lambda: store.changes(None),
    )
    for step in steps:
        with pytest.raises(StoreUnavailable, match="missing shards"):
            step()


def test_a_search_that_ran_out_of_time_is_unavailable(store: ElasticStore, elasticsearch_url: str) -> None:
    def late(found: bytes) -> bytes:
        return found.replace(b'"timed_out":false', b'"timed_out":true')

    with (
        door(elasticsearch_url, changed=late) as address,
        through(store, address) as slow,
        pytest.raises(StoreUnavailable, match="did not finish a search in time"),
    ):
        slow.search(Query())


def test_an_incident_that_cannot_be_read_is_not_taken_for_one_that_is_not_there(store: ElasticStore) -> None:
    store.put_incidents([document(1)])
    index = f"{store.prefix}-incidents-1"
    store.client.indices.put_settings(index=index, settings={"index.blocks.read": True})
    with pytest.raises(StoreUnavailable, match=r"cannot read what is there: .*index read"):
        store.known([document(1).id])
    store.client.indices.put_settings(index=index, settings={"index.blocks.read": None})
    assert set(store.known([document(1).id])) == {document(1).id}


def test_incidents_are_not_unknown_where_there_is_no_index_of_them(store: ElasticStore) -> None:
    store.client.indices.delete(index=f"{store.prefix}-incidents-1")
    with pytest.raises(StoreRefused, match=r"is not set up.*relight setup elasticsearch"):
        store.known([document(1).id])


def test_searches_that_take_long_to_see_what_was_put_are_waited_for(
    store: ElasticStore, elasticsearch_url: str
) -> None:
    def slow(path: str, body: bytes) -> Answer | None:
        time.sleep(1.5 if "_refresh" in path else 0)
        return None

    with door(elasticsearch_url, slow) as address, through(store, address, timeout_s=1) as patient:
        patient.refresh()


# When it is not there


def test_a_server_that_is_not_there_is_unavailable() -> None:
    (port,) = free_ports(1)
    with (
        ElasticStore(told(f"http://127.0.0.1:{port}")) as store,
        pytest.raises(StoreUnavailable, match="Check that it runs"),
    ):
        store.check()


def test_wrong_credentials_are_refused(elasticsearch_url: str) -> None:
    with guarded(elasticsearch_url) as door:
        with ElasticStore(told(door, username=USER, password="guess")) as store:
            with pytest.raises(StoreRefused, match=r"does not let relight in.*unable to authenticate.*username"):
                store.check()
            with pytest.raises(StoreRefused, match="does not let relight in"):
                store.put_incidents([document(1)])
        right = told(door, username=USER, password=PASSWORD)
        with ElasticStore(right) as store:
            setup(store.client, store.place, right, 30)
            store.check()
            store.put_incidents([document(1)])
            assert store.known([document(1).id])
            store.clear()


def test_a_server_that_is_not_set_up_says_how_to(own: models.Elasticsearch) -> None:
    with ElasticStore(own) as store:
        with pytest.raises(StoreRefused, match="relight setup elasticsearch"):
            store.check()
        with pytest.raises(StoreRefused, match="relight setup elasticsearch"):
            store.put_incidents([document(1)])
        with pytest.raises(StoreRefused, match="relight setup elasticsearch"):
            store.search(Query())


def test_an_index_that_was_deleted_is_not_made_by_itself_with_other_mappings(store: ElasticStore) -> None:
    for name in (f"{store.prefix}-timeline-1", f"{store.prefix}-incidents-1"):
        store.client.indices.delete(index=name)
    with pytest.raises(StoreRefused, match="relight setup elasticsearch"):
        store.put_incidents([document(1)])
    assert not store.client.indices.exists(index=f"{store.prefix}-timeline")


# What is not Elasticsearch 9


def test_a_version_that_is_none_is_named(store: ElasticStore, elasticsearch_url: str) -> None:
    def odd(found: bytes) -> bytes:
        return re.sub(rb'"version":"[0-9.]+"', b'"version":"main"', found)

    with (
        door(elasticsearch_url, changed=odd) as address,
        through(store, address) as strange,
        pytest.raises(StoreRefused, match=r"this is Elasticsearch main\. relight needs Elasticsearch 9"),
    ):
        strange.check()


def test_an_elasticsearch_7_is_named(elasticsearch_7_url: str) -> None:
    with ElasticStore(told(elasticsearch_7_url)) as store:
        for step in (store.check, lambda: store.search(Query())):
            with pytest.raises(StoreRefused, match=r"this is Elasticsearch 7\.[0-9.]+\. relight needs Elasticsearch 9"):
                step()


def test_an_opensearch_is_named(opensearch_url: str) -> None:
    with ElasticStore(told(opensearch_url)) as store:
        for step in (store.check, lambda: store.search(Query()), lambda: store.put_incidents([document(1)])):
            with pytest.raises(StoreRefused, match=r"this is OpenSearch [0-9.]+\. relight needs Elasticsearch 9"):
                step()


def test_tls_where_there_is_none_says_so(elasticsearch_url: str) -> None:
    own = told(elasticsearch_url.replace("http://", "https://"))
    with ElasticStore(own) as store, pytest.raises(StoreRefused, match="TLS failed"):
        store.check()


# What the stage makes of it


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with EmbeddedLog(tmp_path / "relight.db") as log:
        log.create(specs(1, 1))
        yield log


def stage(log: EmbeddedLog, store: ElasticStore, waits: list[float], patience: int = 10**6) -> Index:
    """Return a stage that waits for nothing, and is told to stop when it has waited often enough."""

    def waited(wait_s: float) -> bool:
        waits.append(wait_s)
        return len(waits) >= patience

    return Index(log, store, matcher(()), StageMetrics("index"), choice=Choice(every=True, around=0), waited=waited)


def handled(log: EmbeddedLog, made: Index) -> list[Outgoing]:
    for topic in (LOGS, INCIDENTS):
        made.begin(Partition(topic, 0), 0)
    return list(made.handle([record for topic in (LOGS, INCIDENTS) for record in records(log, topic)]))


def chunk(text: str) -> Outgoing:
    at_ms = line("x").observed_ms
    shipped = Shipped(cluster="c1", host="n1", stream="/a", generation="1", offset_bytes=0, line=1, observed_ms=at_ms)
    return Outgoing(LOGS, text.encode(), shipped.key, shipped.headers())


def test_what_is_refused_is_a_dead_letter_with_the_whole_record(log: EmbeddedLog, store: ElasticStore) -> None:
    with_conflict(store)
    log.append([chunk("one\ntwo\n"), *(Outgoing(INCIDENTS, encoded(e), b"c1") for e in events(1))])
    (letter,) = handled(log, stage(log, store, []))
    data = decoded(letter.value).data
    assert isinstance(data, RecordRefused)
    assert (data.stage, data.topic, data.offset, data.value) == ("index", LOGS, 0, b"one\ntwo\n")
    assert "and 1 more of it" in data.reason
    assert "mapping" in data.reason or "parsing" in data.reason
    assert store.known([document(1).id])


def test_a_dead_letter_that_is_retried_after_the_conflict_is_over_is_there(
    log: EmbeddedLog, store: ElasticStore
) -> None:
    with_conflict(store)
    log.append([chunk("one\ntwo\n")])
    log.append(handled(log, stage(log, store, [])))
    store.client.indices.delete(index=Names(store.prefix).logs("2026.05.12"))
    (letter,) = read(log).letters
    data = decoded(next(iter(records(log, "relight.deadletters"))).value).data
    assert isinstance(data, RecordRefused)
    assert letter.id
    log.append([Outgoing(data.topic, data.value, data.key, data.headers)])
    assert handled(log, stage(log, store, [])) == []
    store.refresh()
    assert int(store.client.count(index=Names(store.prefix).logs("*"))["count"]) == 2


def test_on_a_full_disk_it_waits_and_then_lets_go_without_moving_on(log: EmbeddedLog, store: ElasticStore) -> None:
    log.append([chunk("one\n")])
    block(store, True)
    with_room = stage(log, store, waits := [], patience=3)
    store.client.indices.create(index=Names(store.prefix).logs("2026.05.12"))
    block(store, True)
    with pytest.raises(Unavailable, match="takes nothing"):
        handled(log, with_room)
    assert len(waits) == 3
    block(store, False)
    assert handled(log, stage(log, store, [])) == []
    store.refresh()
    assert int(store.client.count(index=Names(store.prefix).logs("*"))["count"]) == 1


def test_credentials_that_are_taken_away_stop_it_without_moving_on(log: EmbeddedLog, elasticsearch_url: str) -> None:
    log.append([chunk("one\n")])
    with (
        guarded(elasticsearch_url) as door,
        ElasticStore(told(door, username=USER, password="guess")) as store,
        pytest.raises(Refused, match="does not let relight in"),
    ):
        handled(log, stage(log, store, [], patience=2))


def test_it_writes_nothing_into_a_server_that_is_not_set_up(log: EmbeddedLog, own: models.Elasticsearch) -> None:
    log.append([chunk("one\n")])
    with ElasticStore(own) as store:
        with pytest.raises(Refused, match="relight setup elasticsearch"):
            handled(log, stage(log, store, [], patience=2))
        assert not store.client.indices.exists(index=f"{own.prefix}-*", allow_no_indices=False)
