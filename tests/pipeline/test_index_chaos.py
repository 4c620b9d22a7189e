"""Elasticsearch and `relight index` are killed while lines and incidents stream in: nothing is lost, or there twice."""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from fleet import Fleet, until

from relight.settings import models
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import Names, setup
from relight.stores.port import StoreError
from relight.topics import INCIDENTS, LOGS
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Outgoing
from schemas.events import Event, encoded
from schemas.shipped import Shipped
from tests.contract.store_stories import START_S, events, folded, reopened, resolved, settled
from tests.servers.elasticsearch_server import ElasticsearchServer

pytestmark = [pytest.mark.kafka, pytest.mark.elasticsearch]

LINES = 100_000
SOURCES = 20
CHUNK = 250
KILLS = 3
STEP = 4


@pytest.fixture
def own_store(own_elasticsearch: ElasticsearchServer, fleet: Fleet) -> Iterator[ElasticStore]:
    own = models.Elasticsearch(hosts=(own_elasticsearch.url,), prefix=f"t{uuid4().hex[:8]}", replicas=0)
    fleet.more |= {
        "RELIGHT_ELASTICSEARCH__HOSTS": own_elasticsearch.url,
        "RELIGHT_ELASTICSEARCH__PREFIX": own.prefix,
        "RELIGHT_ELASTICSEARCH__REPLICAS": "0",
        "RELIGHT_INDEX__LINES": "all",
    }
    with ElasticStore(own) as store:
        setup(store.client, store.place, own, 30)
        yield store
        store.clear()


def chunks() -> Iterator[Outgoing]:
    """Yield the lines of some sources as a shipper sends them, the sources in turn."""
    each = LINES // SOURCES
    for begin in range(0, each, CHUNK):
        for source in range(SOURCES):
            said = "".join(f"line {source} {number:06d}\n" for number in range(begin, begin + CHUNK)).encode()
            shipped = Shipped(
                cluster="c1", host=f"n{source}", stream="/train.log", generation="1",
                offset_bytes=begin * len(said) // CHUNK, line=begin + 1, observed_ms=round(START_S * 1000),
            )  # fmt: skip
            yield Outgoing(LOGS, said, shipped.key, shipped.headers())


def happened() -> list[list[Event]]:
    """Return the events of forty incidents, five each."""
    return [events(number, more=(settled(), resolved(), reopened())[:2]) for number in range(40)]


def stream(log: EventLog, told: Sequence[Sequence[Event]], stop: threading.Event) -> None:
    """Append lines and events bit by bit, the events of an incident in their order."""
    dice = random.Random(3)
    waiting = [list(own) for own in told]
    parts = list(chunks())
    for at in range(0, len(parts), STEP):
        some = [own.pop(0) for own in dice.sample(waiting, min(2, len(waiting)))]
        waiting = [own for own in waiting if own]
        events_ = [Outgoing(INCIDENTS, encoded(event), event.cluster.encode()) for event in some]
        log.append([*parts[at : at + STEP], *events_])
        if stop.wait(0.4):
            return
    rest = [event for own in waiting for event in own]
    log.append([Outgoing(INCIDENTS, encoded(event), event.cluster.encode()) for event in rest])


class Watch:
    """Looks at the versions of incidents again and again: none may go back."""

    def __init__(self, store: ElasticStore, names: Sequence[str], stop: threading.Event) -> None:
        self.store, self.names, self.stop = store, names, stop
        self.seen: dict[str, int] = {}
        self.backwards: list[str] = []
        self.looks = 0

    def run(self) -> None:
        while not self.stop.wait(0.1):
            try:
                found = self.store.known(self.names)
            except StoreError:
                continue
            self.looks += 1
            for name, document in found.items():
                if document.version < self.seen.get(name, 0):
                    self.backwards.append(name)
                self.seen[name] = document.version


@pytest.mark.parametrize("fleet", ["kafka"], indirect=True)
@pytest.mark.parametrize("victim", ["elasticsearch", "index", "both while nothing is acknowledged"])
def test_nothing_is_lost_or_there_twice_or_older(
    fleet: Fleet, own_store: ElasticStore, own_elasticsearch: ElasticsearchServer, victim: str, tmp_path: Path
) -> None:
    told, stop = happened(), threading.Event()
    assert sum(map(len, told)) == 200
    expected = {found.id: found for own in told for found in folded(own)}
    watch = Watch(own_store, sorted(expected), stop)
    with open_log(fleet.settings) as log:
        threads = [threading.Thread(target=stream, args=(log, told, stop)), threading.Thread(target=watch.run)]
        fleet.start("index", "index")
        for thread in threads:
            thread.start()
        try:
            for _ in range(KILLS):
                before = count(own_store)
                assert until(lambda before=before: count(own_store) > before + 2000), fleet.said("index")[-2000:]
                assert threads[0].is_alive(), "everything was written before it was disturbed"
                strike(victim, fleet, own_elasticsearch)
            threads[0].join()
            assert until(lambda: count(own_store) == LINES, 120), (count(own_store), fleet.said("index")[-2000:])
            assert until(lambda: own_store.known(sorted(expected)) == expected, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    time.sleep(1)
    assert count(own_store) == LINES
    assert own_store.known(sorted(expected)) == expected
    assert watch.looks > 10
    assert watch.backwards == []
    assert moments(own_store) == 200


def strike(victim: str, fleet: Fleet, server: ElasticsearchServer) -> None:
    """Kill what is to be killed, and start it again."""
    if victim.startswith("both"):
        server.freeze()
        time.sleep(1.5)  # what is on its way to the server now never arrives
    if victim != "elasticsearch":
        fleet.kill("index")
    if victim != "index":
        server.kill()
        time.sleep(0.5)
        server.start()
    if victim != "elasticsearch":
        fleet.start("index", "index")


def count(store: ElasticStore) -> int:
    """Return how many lines are there, wherever."""
    try:
        store.refresh()
        names = Names(store.prefix)
        return int(store.client.count(index=names.logs("*"), ignore_unavailable=True)["count"])
    except Exception:
        return -1


def moments(store: ElasticStore) -> int:
    store.refresh()
    return int(store.client.count(index=Names(store.prefix).timeline)["count"])
