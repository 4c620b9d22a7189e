"""The store in Elasticsearch keeps the contract, on a real server."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from uuid import uuid4

import pytest

from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import setup
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Facet, IncidentStore, LineQuery, Query, Sort
from schemas.history import State
from schemas.vocabulary import Severity
from tests.contract.store_contract import StoreContract, some
from tests.contract.store_stories import START_S, line


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
