"""What Elasticsearch does not take, and servers that it is not: each is a clear message, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path
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
from relight.stores.port import Query, StoreFull, StoreRefused, StoreUnavailable
from relight.topics import INCIDENTS, LOGS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, Refused, Unavailable
from relight.transports.reading import records
from schemas.deadletter import RecordRefused
from schemas.events import decoded, encoded
from schemas.shipped import Shipped
from tests.contract.store_stories import document, events, line
from tests.servers.guarded import PASSWORD, USER, guarded
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


def with_conflict(store: ElasticStore) -> None:
    """Make today's index of lines with another mapping than the template's."""
    day = Names(store.prefix).logs("2026.05.12")
    store.client.indices.create(index=day)
    store.client.indices.delete(index=day)
    template = {"mappings": {"dynamic": "strict", "properties": {"relight": {"type": "keyword"}}}}
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
    assert "strict_dynamic_mapping_exception" in refusal.reason or "document_parsing_exception" in refusal.reason


def test_what_is_refused_keeps_nothing_else_back(store: ElasticStore) -> None:
    with_conflict(store)
    later = line(
        "another day", time_ms=line("x").time_ms + 3 * 86_400_000, observed_ms=line("x").observed_ms + 3 * 86_400_000
    )  # type: ignore[operator]
    refusals = store.put_lines([line("one"), later, line("two")])
    assert [one.of for one in refusals] == [0, 2]


def test_a_day_that_a_person_made_read_only_refuses_its_lines_and_no_others(store: ElasticStore) -> None:
    day = Names(store.prefix).logs("2026.05.12")
    store.client.indices.create(index=day, settings={"index.blocks.write": True})
    (refusal,) = store.put_lines([line("one")])
    assert "index write (api)" in refusal.reason
    assert not store.put_incidents([document(1)])


# When nothing is taken


def test_a_full_disk_says_what_to_do(store: ElasticStore) -> None:
    block(store, True)
    with pytest.raises(StoreFull, match=r"(?s)takes nothing.*read.only.*Make room"):
        store.put_incidents([document(1)])
    block(store, False)
    assert not store.put_incidents([document(1)])


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
        handled(log, stage(log, store, []))


def test_it_writes_nothing_into_a_server_that_is_not_set_up(log: EmbeddedLog, own: models.Elasticsearch) -> None:
    log.append([chunk("one\n")])
    with ElasticStore(own) as store:
        with pytest.raises(Refused, match="relight setup elasticsearch"):
            handled(log, stage(log, store, []))
        assert not store.client.indices.exists(index=f"{own.prefix}-*", allow_no_indices=False)
