"""`relight incidents watch`: what is told of changes, once each, also when the store was away."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from relight.incidents import changes
from relight.incidents.filters import Filters, query_of
from relight.incidents.passing import passes
from relight.incidents.watching import Change, Watch, words
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import IncidentStore, Query, StoreRefused, StoreUnavailable
from schemas.document import IncidentDocument
from schemas.history import State
from schemas.vocabulary import Severity
from tests.relight import incident_stories as stories

LOST = "863dc87e-7841-52ce-aeff-0ee6cbef93cb"
EVENTS = stories.lost_gpu()


def lost(events: int = len(EVENTS)) -> IncidentDocument:
    """Return the lost GPU as it is after so many of its events."""
    return stories.folded(LOST, EVENTS[:events])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(path, durable=False) as store:
        yield store


class Watched:
    """A watch that looks whenever it is asked to. `away` is why the store cannot be opened."""

    def __init__(self, path: Path, query: Query = Query()) -> None:  # noqa: B008 - it is frozen
        self.path = path
        self.said: list[str] = []
        self.away: Exception | None = None
        self.stop = Event()
        self.changes = Watch(self._opened, query, self.said.append).changes(self.stop, 0.001)

    def look(self) -> list[Change]:
        return list(next(self.changes))

    def _opened(self) -> IncidentStore:
        if self.away is not None:
            self.stop.set()
            raise self.away
        return EmbeddedStore(self.path, durable=False)


# What is told


def test_first_the_open_ones_are_told_and_then_what_changes(store: EmbeddedStore, path: Path) -> None:
    stories.fill(store, [lost(3), stories.folded("b", stories.ordinary("comm.dns", stories.FELL, "node01", over_s=9))])
    watched = Watched(path)
    assert [(change.document.id, change.begun) for change in watched.look()] == [(LOST, True)]
    stories.fill(store, [lost(5)])
    (change,) = watched.look()
    assert not change.begun
    assert [moment.sequence for moment in change.moments] == [4, 5]


def test_a_version_is_told_once_however_often_the_store_tells_it(path: Path, store: EmbeddedStore) -> None:
    watched = Watched(path)
    assert watched.look() == []
    stories.fill(store, [lost(3)])
    assert len(watched.look()) == 1
    store.clear()
    stories.fill(store, [stories.folded("b", stories.undiagnosed()), lost(3)])
    stories.fill(store, [stories.folded("c", stories.undiagnosed())])
    assert LOST not in [change.document.id for change in watched.look()]


def test_what_the_filters_do_not_ask_for_is_not_told(path: Path, store: EmbeddedStore) -> None:
    watched = Watched(path, Query(severity=Severity.CRITICAL))
    watched.look()
    stories.fill(store, [stories.folded("b", stories.undiagnosed()), lost(3)])
    assert [change.document.id for change in watched.look()] == [LOST]


def test_words_name_what_matters_and_evidence_only_where_it_is_all() -> None:
    whole = lost()
    assert words(Change(whole, whole.timeline[-1:], begun=False)) == "attempt 3 of job 48211 made progress"
    assert words(Change(whole, whole.timeline[3:4], begun=False)).startswith("symptom: A collective did not finish")
    told = words(Change(whole, whole.timeline, begun=False))
    assert "confidence 0.98" in told
    assert "confidence 0.71" not in told
    assert told.endswith("(and 3 more)")


QUERIES = (
    Query(),
    Query(since_ms=round(stories.FELL.timestamp() * 1000)),
    Query(until_ms=round(stories.FELL.timestamp() * 1000)),
    Query(clusters=("l?b",)),
    Query(clusters=("other",)),
    Query(faults=("gpu.*", "comm.dns")),
    Query(hosts=("node0[1-9]", "node07")),
    Query(hosts=("node*4",)),
    Query(jobs=("48*", "50?")),
    Query(states=(State.RESOLVED, State.MERGED)),
    Query(severity=Severity.ERROR, hosts=("node07",)),
)


@pytest.mark.parametrize("query", QUERIES)
def test_filters_mean_the_same_for_a_change_as_in_a_store(store: EmbeddedStore, query: Query) -> None:
    documents = [
        lost(), stories.folded("h", stories.hostile()), stories.folded("u", stories.undiagnosed()),
        stories.folded("m", stories.merged()), *stories.fleet(30),
    ]  # fmt: skip
    stories.fill(store, documents)
    found = {document.id for document in store.search(query, limit=100).documents}
    assert {document.id for document in documents if passes(document, query)} == found


# How it is told


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_change_fits_the_terminal_and_has_its_id(width: int) -> None:
    for told in (lost(), stories.folded("h" * 36, stories.hostile())):
        lines = changes.as_line(Change(told, told.timeline, begun=False), width, colour=False).splitlines()
        assert max(map(len, lines)) <= width
        assert lines[0].endswith(told.id[:8])
        assert not [line for line in lines if "\x1b" in line]


def test_what_has_changed_is_on_a_line_of_its_own_where_the_terminal_is_narrow() -> None:
    change = Change(lost(), lost().timeline[-1:], begun=False)
    narrow = changes.as_line(change, 80, colour=False).splitlines()
    assert [line.strip() for line in narrow[1:]] == ["attempt 3 of job 48211 made progress"]
    assert len(changes.as_line(change, 140, colour=False).splitlines()) == 1


def test_columns_for_a_pipe_have_time_severity_state_fault_culprit_what_and_id() -> None:
    whole = lost()
    told = changes.as_tabs(Change(whole, whole.timeline[-1:], begun=False))
    assert told.rstrip("\n").split("\t") == [
        "2026-05-12 03:52:04", "critical", "resolved", "gpu.fallen_off_bus", "GPU 0000:3b:00 on node03",
        "attempt 3 of job 48211 made progress", LOST,
    ]  # fmt: skip


# Absences


def test_a_store_that_is_away_is_said_once_and_so_is_its_return(path: Path, store: EmbeddedStore) -> None:
    tries = iter([StoreUnavailable("no answer"), StoreUnavailable("no answer"), None])
    said: list[str] = []

    def opened() -> IncidentStore:
        if error := next(tries):
            raise error
        return EmbeddedStore(path, durable=False)

    assert list(next(Watch(opened, Query(), said.append).changes(Event(), 0.001))) == []
    assert said == ["the store is away, trying again: no answer", "the store is back"]


def test_what_changed_while_the_store_was_away_is_told_when_it_is_back(path: Path, store: EmbeddedStore) -> None:
    failing: list[bool] = []
    said: list[str] = []

    def opened() -> IncidentStore:
        if failing:
            failing.pop()
            raise StoreUnavailable("no answer")
        return EmbeddedStore(path, durable=False)

    watch = Watch(opened, Query(), said.append)
    following = watch.changes(Event(), 0.001)
    next(following)
    assert watch._store is not None
    watch._left(StoreUnavailable("it went away"))
    failing += [True, True]
    stories.fill(store, [lost(3)])
    assert [change.document.id for change in next(following)] == [LOST]
    assert said == ["the store is away, trying again: it went away", "the store is back"]


def test_a_store_that_refuses_from_the_beginning_is_not_waited_for(path: Path) -> None:
    watched = Watched(path)
    watched.away = StoreRefused("wrong password")
    with pytest.raises(StoreRefused):
        watched.look()


def test_states_are_not_filtered_unless_asked_for_so_that_an_end_is_told() -> None:
    query = query_of(Filters(), 0, standing=())
    assert passes(lost(), query)
    assert not passes(lost(), replace(query, states=(State.OPEN,)))


# The process


def lines_of(path: Path, *words: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).parent / "relight"), "incidents", "watch", "--interval", "0.05", *words]
    return subprocess.Popen(
        [*command, "--embedded", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_follows_live_and_ends_cleanly(path: Path, store: EmbeddedStore, number: signal.Signals) -> None:
    stories.fill(store, [lost(3)])
    process = lines_of(path, "--format", "jsonl")
    assert process.stdout is not None
    patience = threading.Timer(20, process.kill)
    patience.start()
    try:
        first = json.loads(process.stdout.readline())
        assert (first["change"], first["id"], first["state"]) == ("begun", LOST, "open")
        stories.fill(store, [lost()])
        second = json.loads(process.stdout.readline())
        assert (second["change"], second["state"]) == ("changed", "resolved")
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    finally:
        patience.cancel()
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, "")
    assert time.monotonic() - began < 5
