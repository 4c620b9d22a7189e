"""From a line in a file to a search: in the embedded store, and in a real Elasticsearch behind a real Kafka."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from fleet import Fleet, incidents, until

from relight.settings import Settings, models, settings
from relight.stores.elastic import ElasticStore
from relight.stores.elastic_setup import setup
from relight.stores.opening import open_store
from relight.stores.port import IncidentStore, LineQuery, Query
from relight.transports.opening import open_log
from schemas.history import IncidentHistory
from schemas.record import LogRecord

XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid=4711, GPU has fallen off the bus."
START = datetime(2026, 5, 1, 4, tzinfo=UTC).timestamp()


def stamped(second: float, text: str) -> str:
    return f"{datetime.fromtimestamp(START + second, UTC).isoformat()} gpu-17 kernel: {text}\n"


def kernel_log(count: int = 200, fault_at: int = 100) -> str:
    return "".join(stamped(n, f"[{n}.000000] {XID}" if n == fault_at else f"eth0: frame {n}") for n in range(count))


@pytest.fixture
def store_settings(fleet: Fleet, request: pytest.FixtureRequest) -> Settings:
    """Settings with the store that belongs to the fleet's log: Elasticsearch with Kafka, else the embedded one."""
    if fleet.flags[0] == "--embedded":
        return fleet.settings
    url = request.getfixturevalue("elasticsearch_url")
    prefix = f"t{uuid4().hex[:8]}"
    fleet.more |= {
        "RELIGHT_ELASTICSEARCH__HOSTS": url,
        "RELIGHT_ELASTICSEARCH__PREFIX": prefix,
        "RELIGHT_ELASTICSEARCH__REPLICAS": "0",
    }
    own = models.Elasticsearch(hosts=(url,), prefix=prefix, replicas=0)
    with ElasticStore(own) as store:
        setup(store.client, store.place, own, 30)
    flags = {"kafka.bootstrap": fleet.flags[1], "elasticsearch.hosts": url, "elasticsearch.prefix": prefix}
    return settings(flags, None)


@pytest.fixture
def store(store_settings: Settings) -> Iterator[IncidentStore]:
    with open_store(store_settings) as store:
        yield store
        if isinstance(store, ElasticStore):
            store.clear()


def stored(store: IncidentStore) -> dict[str, IncidentHistory]:
    store.refresh()
    return {found.id: found.history for found in store.search(Query(), limit=500).documents}


def run_to_rest(fleet: Fleet, store: IncidentStore, path: Path) -> None:
    """Ship a file through all stages until its incident is settled and stored."""
    fleet.start("match", "diagnose", "match")
    fleet.start("correlate", "diagnose", "correlate")
    fleet.start("index", "index")
    fleet.start("ship", "ship", path, "--host", "gpu-17", "--provenance", "kernel")
    assert until(lambda: [i for i in stored(store).values() if i.settled]), fleet.said("index")
    with open_log(fleet.settings) as log:
        assert until(lambda: stored(store) == incidents(log))
    assert until(lambda: _rests(store)), "lines are still coming"


def _rests(store: IncidentStore) -> bool:
    """Tell whether lines are stored, and none has come for a second."""
    before = store.lines(LineQuery())
    time.sleep(1)
    return bool(before) and store.lines(LineQuery()) == before


def test_a_line_in_a_file_is_found_by_a_search(fleet: Fleet, store: IncidentStore, tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text(kernel_log())
    run_to_rest(fleet, store, path)
    page = store.search(Query(text='"fallen off the bus" gpu-17', faults=("gpu.*",)))
    (found,) = page.documents
    assert found.history.diagnosed is not None
    assert found.history.diagnosed.diagnosis.culprit.host == "gpu-17"
    assert [moment.event for moment in found.timeline][:1] == ["incident.opened"]
    lines = until(lambda: around_fault(store))
    assert [line.line for line in lines] == list(range(96, 107))
    assert lines[5].text.endswith(XID)


def around_fault(store: IncidentStore) -> list[LogRecord]:
    store.refresh()
    return list(store.lines(LineQuery(hosts=("gpu-17",))))


def test_a_store_that_was_emptied_is_made_the_same_again(fleet: Fleet, store: IncidentStore, tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text(kernel_log())
    run_to_rest(fleet, store, path)
    for name in list(fleet.running):
        fleet.stop(name)
    with open_log(fleet.settings) as log:
        said = incidents(log)
    before = store.search(Query(), limit=500).documents, store.lines(LineQuery())
    assert before[0]
    assert before[1]
    assert fleet.call("replay", "--into", "store").returncode == 0  # upon what is there: nothing changes
    store.refresh()
    assert (store.search(Query(), limit=500).documents, store.lines(LineQuery())) == before
    done = fleet.call("replay", "--into", "store", "--fresh")
    assert done.returncode == 0, done.stderr
    assert "1 incidents" in done.stdout
    store.refresh()
    assert (store.search(Query(), limit=500).documents, store.lines(LineQuery())) == before
    assert stored(store) == said


def test_an_emptied_store_gets_whole_incidents_again_from_their_next_event_on(
    fleet: Fleet, store: IncidentStore, tmp_path: Path
) -> None:
    path = tmp_path / "kern.log"
    path.write_text(kernel_log())
    fleet.start("match", "diagnose", "match")
    fleet.start("correlate", "diagnose", "correlate")
    fleet.start("index", "index")
    fleet.start("ship", "ship", path, "--host", "gpu-17", "--provenance", "kernel")
    assert until(lambda: [i for i in stored(store).values() if i.settled])
    fleet.stop("index")
    store.clear()
    fleet.start("index", "index")
    with path.open("a") as file:
        file.write(stamped(300, f"[300.0] {XID}") + stamped(1300, "eth0: later"))
    with open_log(fleet.settings) as log:
        assert until(lambda: stored(store) and stored(store) == incidents(log)), fleet.said("index")


@pytest.mark.parametrize("kept", ["all", "none"])
@pytest.mark.parametrize("fleet", ["embedded"], indirect=True)
def test_which_lines_are_kept_is_a_setting(fleet: Fleet, store: IncidentStore, tmp_path: Path, kept: str) -> None:
    path = tmp_path / "kern.log"
    path.write_text(kernel_log())
    fleet.more["RELIGHT_INDEX__LINES"] = kept
    fleet.start("run", "run", path, "--host", "gpu-17", "--provenance", "kernel")
    assert until(lambda: [i for i in stored(store).values() if i.settled])
    wanted = 200 if kept == "all" else 0
    assert until(lambda: len(store.lines(LineQuery(limit=1000))) == wanted)
