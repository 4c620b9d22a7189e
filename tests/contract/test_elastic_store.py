"""The store in Elasticsearch keeps the contract, on a real server."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest

from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_bulk import Bulk, replace
from relight.stores.elastic_documents import incident_source
from relight.stores.elastic_setup import setup
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import LIMIT, Facet, IncidentStore, LineQuery, Query, Sort
from schemas.document import IncidentDocument
from schemas.history import State
from schemas.vocabulary import Severity
from tests.contract.store_contract import StoreContract, some
from tests.contract.store_stories import START_S, document, events, folded, line, resolved, settled


@pytest.fixture(scope="module")
def elastic_store(elasticsearch_url: str) -> Iterator[ElasticStore]:
    settings = models.Elasticsearch(hosts=(elasticsearch_url,), prefix=f"t{uuid4().hex[:8]}", replicas=0)
    with ElasticStore(settings) as store:
        setup(store.client, store.place, settings, 30)
        store.check()
        yield store
        store.clear()


@pytest.mark.elasticsearch
class TestElasticStore(StoreContract):
    @pytest.fixture
    def store(self, elastic_store: ElasticStore) -> IncidentStore:
        elastic_store.clear()
        return elastic_store


@pytest.mark.elasticsearch
class TestChanges:
    """What `changes` says of what has been said already. Only what an adapter may do beyond the contract."""

    @pytest.fixture
    def store(self, elastic_store: ElasticStore) -> ElasticStore:
        elastic_store.clear()
        return elastic_store

    def put(self, store: ElasticStore, *documents: IncidentDocument) -> None:
        assert not store.put_incidents(documents)
        store.refresh()

    def test_what_has_been_told_is_not_told_again_until_it_changes(self, store: ElasticStore) -> None:
        told = events(1, more=(settled(), resolved()))
        _, after = store.changes(None)
        self.put(store, folded(told[:3])[0], document(2))
        found, after = store.changes(after)
        assert {one.id: one for one in found} == {one.id: one for one in (folded(told[:3])[0], document(2))}
        assert store.changes(after) == ([], after)
        self.put(store, folded(told)[0])
        found, after = store.changes(after)
        assert list(found) == folded(told)
        assert store.changes(after) == ([], after)

    def put_at(self, store: ElasticStore, *told: tuple[IncidentDocument, int]) -> None:
        """Put incidents as if that had been done at other times (Unix, milliseconds)."""
        alias = f"{store.prefix}-incidents"
        actions = [replace(0, alias, one.id, one.version, incident_source(one, at_ms)) for one, at_ms in told]
        assert not Bulk(store.client, store.place).write(actions)
        store.refresh()

    def test_what_came_late_is_told(self, store: ElasticStore) -> None:
        self.put(store, document(1))
        _, after = store.changes(None)
        _, after = store.changes(after)
        self.put_at(store, (document(2), int(time.time() * 1000) - 20_000))
        found, _ = store.changes(after)
        assert list(found) == [document(2)]

    def test_who_goes_on_from_elsewhere_misses_nothing(self, store: ElasticStore) -> None:
        _, mine = store.changes(None)
        _, yours = store.changes(None)
        self.put(store, document(1))
        assert [store.changes(after)[0] for after in (mine, yours, mine)] == [[document(1)]] * 3

    def test_many_changes_are_told_in_parts_each_once(self, store: ElasticStore) -> None:
        _, after = store.changes(None)
        incidents = [document(number) for number in range(2 * LIMIT + 1)]
        self.put(store, *incidents)
        parts = []
        for _ in range(4):
            found, after = store.changes(after)
            parts.append(found)
        assert [len(found) for found in parts] == [LIMIT, LIMIT, 1, 0]
        assert {one.id for found in parts for one in found} == {one.id for one in incidents}

    def test_changes_of_long_are_all_told_though_they_are_told_in_parts(self, store: ElasticStore) -> None:
        _, after = store.changes(None)
        last = LIMIT + 2
        self.put_at(store, *((document(n), n + (3_600_000 if n == last else 0)) for n in range(1, last + 1)))
        first, after = store.changes(after)
        second, _ = store.changes(after)
        assert {one.id for one in (*first, *second)} == {document(n).id for n in range(1, last + 1)}


def any_query(dice: random.Random) -> Query:
    """Return a query of any kind."""

    def sometimes(*values: str) -> tuple[str, ...]:
        return tuple(dice.sample(values, dice.randrange(1, 3))) if dice.random() < 0.3 else ()

    since_ms = round((START_S + dice.randrange(20 * 86_400)) * 1000)
    words = (
        "fallen",
        "node0*",
        '"off the bus"',
        "-gpu",
        "critical",
        "xid 79",
        "c1",
        "n*",
        "kern.log",
        "200",
        "nothing",
    )
    return Query(
        since_ms=since_ms if dice.random() < 0.3 else None,
        until_ms=since_ms + 10 * 86_400_000 if dice.random() < 0.3 else None,
        clusters=sometimes("c1", "c*", "C1"),
        faults=sometimes("gpu.*", "*disk*", "unknown", "comm.ib_lin?"),
        hosts=sometimes("node01", "node1*", "*2", "?ode11"),
        jobs=sometimes("100", "2*", "*"),
        states=tuple(dice.sample(list(State), 2)) if dice.random() < 0.3 else (),
        severity=dice.choice(list(Severity)) if dice.random() < 0.3 else None,
        text=" ".join(dice.sample(words, dice.randrange(3))),
    )


@pytest.mark.elasticsearch
def test_both_stores_give_the_same_answers(elastic_store: ElasticStore, tmp_path: Path) -> None:
    dice = random.Random(4)
    incidents = some(150)
    texts = (
        "NVRM: Xid 79",
        "NET/IB : Got completion from peer",
        "step=100 loss=2.3",
        "naïve ÜBER_straße 0xdeadbeef",
        "ﬁn ²",
    )
    lines = [
        line(dice.choice(texts), time_ms=round(START_S * 1000) + dice.randrange(9), host=f"n{n % 3}") for n in range(60)
    ]
    with EmbeddedStore(tmp_path / "relight.db") as embedded:
        for store in (embedded, elastic_store):
            store.clear()
            store.put_incidents(incidents)
            store.put_lines(lines)
            store.refresh()
        found = 0
        for _ in range(150):
            query, sort, by = any_query(dice), dice.choice(get_args(Sort)), dice.choice(get_args(Facet))
            asked = {"ascending": dice.random() < 0.5, "limit": dice.randrange(1, 40)}
            pages = [store.search(query, sort, **asked) for store in (embedded, elastic_store)]
            assert pages[0].documents == pages[1].documents, query
            assert pages[0].total == pages[1].total, query
            assert embedded.aggregate(query, by) == elastic_store.aggregate(query, by), (query, by)
            assert embedded.aggregate(query) == elastic_store.aggregate(query), query
            found += pages[0].total
        assert found > 150
        for text in ("", "xid", "loss", "0xdead*", "über", "straße", "fin", "²", "net ib", '"net/ib : got"', "-xid"):
            query = LineQuery(text=text, hosts=dice.choice(((), ("n1",))))
            assert embedded.lines(query) == elastic_store.lines(query), text
