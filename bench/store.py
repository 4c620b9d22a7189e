"""How fast stores are: `relight index` beside plain `helpers.bulk`, and what people ask; `make bench-store`.

Everything runs on this machine: the broker, Elasticsearch (one node, half a gigabyte of heap, the quick compiler only),
the indexer, and what asks.
"""

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from elasticsearch import helpers

from bench.pipeline import RELIGHT, STEP, TALK
from diagnose.matching.scanner import Scanner
from ingest.choosing import Choice
from ingest.decode import LogFormats
from relight.catalogue import automaton, catalogue
from relight.settings import models, settings
from relight.stages.lines import Lines
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_documents import day_of, line_source
from relight.stores.elastic_setup import Names, setup
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import IncidentStore, LineQuery, Query
from relight.topics import LOGS, specs
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Outgoing
from relight.transports.reading import records
from schemas.history import State
from schemas.record import LogRecord
from schemas.shipped import Shipped
from schemas.vocabulary import Impact, Kept, Provenance, Severity
from tests.contract.store_stories import document, resolved, settled
from tests.servers.elasticsearch_server import ElasticsearchServer
from tests.servers.kafka_server import KafkaServer

HOSTS: Final = 200
DAYS: Final = 10
END_S: Final = datetime(2026, 5, 22, tzinfo=UTC).timestamp()
_AT_ONCE: Final = 5000


def main() -> None:
    """Measure, and print the figures as they stand in RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--indexed", type=int, default=150_000, help="lines for the throughput of indexing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines to search in")
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=40, help="how often each question is asked")
    parser.add_argument("--only", choices=["index", "search"])
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relight-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        elastic = ElasticsearchServer(folder / "es")
        elastic.start()
        stack.callback(elastic.stop)
        if told.only != "search":
            indexing(folder, elastic.url, told.indexed, told.rounds)
        if told.only != "index":
            searching(folder, elastic.url, told.lines, told.incidents, told.asked)


# Indexing


def indexing(folder: Path, url: str, count: int, rounds: int) -> None:
    """Write the same documents by `relight index` and by `helpers.bulk`, in turn."""
    (folder / "kafka").mkdir()
    server = KafkaServer(folder / "kafka")
    server.start()
    try:
        with open_log(settings({"kafka.bootstrap": server.address}, None)) as log:
            log.create(specs(6, 3))
            log.append(list(chunks(count)))
            documents = [line for line, _ in lines().take(records(log, LOGS))]
            assert len(documents) == count, len(documents)
            plain, ours = [], []
            for _ in range(rounds):
                plain.append(bulked(url, documents))
                ours.append(indexed(folder, url, server.address, log, count))
                print(f"  helpers.bulk {plain[-1]:,.0f} documents/s, relight index {ours[-1]:,.0f}", flush=True)
    finally:
        server.stop()
    a, b = statistics.median(plain), statistics.median(ours)
    print(f"| indexing {count:,} lines | helpers.bulk {a:,.0f}/s | relight index {b:,.0f}/s | {b / a:.0%} |")


def chunks(count: int, sources: int = 24, each: int = 250) -> Iterator[Outgoing]:
    """Yield lines of training as a shipper sends them."""
    places = dict.fromkeys(range(sources), (0, 1))
    for begin in range(0, count, each):
        source = begin // each % sources
        offset, line = places[source]
        at = datetime.fromtimestamp(END_S - 3600 + line / 100, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        kinds = (STEP, *TALK)
        number = min(each, count - begin)
        said = "".join(kinds[n % 5].format(at=at, step=line + n) for n in range(number)).encode()
        shipped = Shipped(
            cluster="bench", host=f"gpu-{source:02}", stream="/log/train.log", generation="1", offset_bytes=offset,
            line=line, observed_ms=int(END_S * 1000), job="48211",
        )  # fmt: skip
        places[source] = offset + len(said), line + number
        yield Outgoing(LOGS, said, shipped.key, shipped.headers())


def lines() -> Lines:
    """Return what chooses all lines."""
    scanner = Scanner(*automaton(catalogue()))
    return Lines(Choice(every=True, around=0), scanner, LogFormats(), cluster="bench")


def fresh(url: str) -> models.Elasticsearch:
    """Return settings with indices that are not there yet, set up."""
    own = models.Elasticsearch(hosts=(url,), prefix=f"b{uuid4().hex[:8]}", replicas=0)
    with ElasticStore(own) as store:
        setup(store.client, store.place, own, 30)
    return own


def bulked(url: str, documents: Sequence[LogRecord]) -> float:
    """Return how many documents a second `helpers.bulk` writes; they are made before."""
    own = fresh(url)
    names = Names(own.prefix)
    actions = [
        {"_op_type": "create", "_index": names.logs(day_of(d, 30)), "_id": d.id, "_source": line_source(d)}
        for d in documents
    ]
    with ElasticStore(own) as store:
        begun = time.monotonic()
        done, _ = helpers.bulk(store.client, actions)
        took = time.monotonic() - begun
        assert done == len(documents)
        store.clear()
    return len(documents) / took


def indexed(folder: Path, url: str, broker: str, log: EventLog, count: int) -> float:
    """Return how many documents a second `relight index` writes, from its first tenth to the end."""
    own = fresh(url)
    state = folder / f"state-{own.prefix}"
    environment = {
        **os.environ,
        "XDG_STATE_HOME": str(state),
        "RELIGHT_ELASTICSEARCH__HOSTS": url,
        "RELIGHT_ELASTICSEARCH__PREFIX": own.prefix,
        "RELIGHT_ELASTICSEARCH__REPLICAS": "0",
        "RELIGHT_INDEX__LINES": "all",
    }
    reset(log)
    with ElasticStore(own) as store, (folder / "index.err").open("ab") as err:
        process = subprocess.Popen([RELIGHT, "index", "--bootstrap", broker], env=environment, stderr=err, stdout=err)
        try:
            seen: list[tuple[float, int]] = []
            while not seen or seen[-1][1] < count:
                assert process.poll() is None, (folder / "index.err").read_text()
                seen.append((time.monotonic(), written(store)))
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait()
        store.clear()
    (begun, first), (ended, last) = next(one for one in seen if one[1] > count // 10), seen[-1]
    return (last - first) / (ended - begun)


def reset(log: EventLog) -> None:
    """Let the group of `relight index` begin at the beginning again."""
    with_positions = [name for name in (LOGS,) if log.positions("relight.index", name)]
    for topic in with_positions:
        member = log.join("relight.index", [topic], "bench")
        while not member.assigned():
            member.poll(0.1)
        with member.transaction() as transaction:
            for partition in member.assigned():
                transaction.advance(partition, 0)
        member.close()


def written(store: ElasticStore) -> int:
    """Return how many documents have been written, seen by searches or not."""
    found = store.client.indices.stats(index=Names(store.prefix).logs("*"), metric="indexing")
    return int(found["_all"]["primaries"].get("indexing", {}).get("index_total", 0))


# Searching


def searching(folder: Path, url: str, line_count: int, incident_count: int, asked: int) -> None:
    """Fill both stores with the same, and ask them the same."""
    own = fresh(url)
    with EmbeddedStore(folder / "relight.db", durable=False) as embedded, ElasticStore(own) as elastic:
        for name, store in (("embedded", embedded), ("Elasticsearch", elastic)):
            begun = time.monotonic()
            fill(store, line_count, incident_count)
            print(f"  {name}: filled in {time.monotonic() - begun:.0f} s", flush=True)
        elastic.refresh()
        some = [page.id for page in elastic.search(Query(), limit=200).documents]
        for question, ask in questions(some).items():
            figures = [latency(ask, store, asked) for store in (embedded, elastic)]
            cells = " | ".join(f"{p50 * 1000:.1f} | {p95 * 1000:.1f}" for p50, p95 in figures)
            print(f"| {question} | {cells} |", flush=True)


def fill(store: IncidentStore, line_count: int, incident_count: int) -> None:
    """Put incidents and lines, always the same ones."""
    dice = random.Random(5)
    for begin in range(0, incident_count, 500):
        store.put_incidents([incident(dice, number) for number in range(begin, min(begin + 500, incident_count))])
    for begin in range(0, line_count, _AT_ONCE):
        store.put_lines([log_line(dice, number) for number in range(begin, min(begin + _AT_ONCE, line_count))])


def incident(dice: random.Random, number: int) -> Any:
    """Return an incident of the last ten days."""
    fault = dice.choice(("gpu.fallen_off_bus", "gpu.ecc_uncorrectable", "comm.ib_link", "storage.disk_full", "unknown"))
    opened_s = END_S - dice.random() * DAYS * 86_400
    more = () if dice.random() < 0.1 else (settled(opened_s + 30), resolved(opened_s + dice.randrange(60, 7200)))
    return document(
        number, fault=fault, host=f"node{dice.randrange(HOSTS):03}", job=str(48_000 + dice.randrange(500)),
        severity=dice.choice(list(Severity)), impact=dice.choice(list(Impact)), opened_s=opened_s,
        began_s=opened_s - dice.randrange(1, 60), ranks=dice.choice((8, 64, 512)), more=more,
    )  # fmt: skip


def log_line(dice: random.Random, number: int) -> LogRecord:
    """Return a line of the last ten days."""
    at_ms = int((END_S - dice.random() * DAYS * 86_400) * 1000)
    host, step = f"node{dice.randrange(HOSTS):03}", dice.randrange(1_000_000)
    return LogRecord(
        id=f"{number:032x}", cluster="c1", source=f"{host}:/log/train.log", stream="/log/train.log", line=number + 1,
        offset_bytes=number * 120, text=(STEP, *TALK)[number % 5].format(at="03:12:04", step=step).rstrip(),
        observed_ms=at_ms, time_ms=at_ms, host=host, rank=number % 8, job="48211", provenance=Provenance.APP,
        kept=Kept.CONTEXT,
    )  # fmt: skip


Ask = Callable[[IncidentStore, random.Random], object]


def questions(ids: Sequence[str]) -> dict[str, Ask]:
    """Return what people ask most, each with another host, job or time every time."""

    def since(hours: float) -> int:
        return int((END_S - hours * 3600) * 1000)

    def around(store: IncidentStore, dice: random.Random, text: str = "") -> object:
        begin = int((END_S - dice.random() * DAYS * 86_400) * 1000)
        hosts = (f"node{dice.randrange(HOSTS):03}",)
        return store.lines(LineQuery(hosts=hosts, since_ms=begin, until_ms=begin + 600_000, text=text))

    return {
        "open incidents, newest first": lambda s, d: s.search(Query(states=(State.OPEN,))),
        "of the last two hours": lambda s, d: s.search(Query(since_ms=since(2))),
        "of a day, `gpu.*`, at least errors": lambda s, d: s.search(
            Query(since_ms=since(24), faults=("gpu.*",), severity=Severity.ERROR)
        ),
        "of a host": lambda s, d: s.search(Query(hosts=(f"node{d.randrange(HOSTS):03}",))),
        "of a job": lambda s, d: s.search(Query(jobs=(str(48_000 + d.randrange(500)),))),
        "`fallen off node*`, by words": lambda s, d: s.search(Query(text=f"fallen off node{d.randrange(20):02}*")),
        "one, by the beginning of its id": lambda s, d: s.get(d.choice(ids)[:8]),
        "counted by host: the worst ones": lambda s, d: s.aggregate(Query(since_ms=since(24 * 7)), "host"),
        "counted by fault class and summed up": lambda s, d: s.aggregate(Query(), "fault"),
        "lines of a host in ten minutes": around,
        "those with two words in them": lambda s, d: around(s, d, "loader shard"),
    }


def latency(ask: Ask, store: IncidentStore, asked: int) -> tuple[float, float]:
    """Return the median and the 95th percentile of the time that a question takes (seconds), after three to warm up."""
    dice = random.Random(11)
    took = []
    for number in range(asked + 3):
        begun = time.perf_counter()
        ask(store, dice)
        if number >= 3:
            took.append(time.perf_counter() - begun)
    took.sort()
    return statistics.median(took), took[int(len(took) * 0.95) - 1]


if __name__ == "__main__":
    main()
