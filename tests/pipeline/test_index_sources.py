"""What `relight index` knows of its sources: which lines it keeps, and how it goes on after a crash."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telling import Telling, small_log

from diagnose.matching.scanner import Scanner
from diagnose.matching.stream import Matcher
from ingest.choosing import NEAR_MS, Choice
from ingest.decode import LogFormats
from ingest.redaction import shown
from relight.metrics import StageMetrics
from relight.stages.index import FLOOR, FORGET_MS, NAME, VERSION, Index
from relight.stages.lines import Lines
from relight.stages.snapshots import newest
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import LineQuery, Refusal
from relight.topics import INCIDENTS, LOGS, SNAPSHOTS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, Record
from relight.transports.reading import records
from schemas.deadletter import RecordRefused
from schemas.document import IncidentDocument
from schemas.events import decoded, encoded
from schemas.record import LogRecord, Source, Told
from schemas.shipped import Shipped
from tests.contract.store_stories import events

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
EVERY = Choice(every=True, around=0)
NEAR = Choice(every=False, around=2)


# Lines of a partition


def lines_of(scanner: Scanner, choice: Choice = EVERY) -> Lines:
    return Lines(choice, scanner, LogFormats())


def foreign(offset: int, time_ms: int, text: str = "") -> Record:
    """Return a line of a shipper of another kind, as a record."""
    return Record(LOGS, 0, offset, b"node07.example", (text or f"line {offset}").encode(), (), time_ms)


def piece(offset: int, time_ms: int, text: str, at: int = 0, host: str = "n1", observed_ms: int = NOW_MS) -> Record:
    """Return a chunk as a record."""
    out = outgoing(text, at, host, observed_ms)
    return Record(LOGS, 0, offset, out.key, out.value, out.headers, time_ms)


def outgoing(text: str, at: int = 0, host: str = "n1", observed_ms: int = NOW_MS) -> Outgoing:
    shipped = Shipped(
        cluster="c1", host=host, stream="/a.log", generation="1", offset_bytes=at, line=1, observed_ms=observed_ms
    )
    return Outgoing(LOGS, text.encode(), shipped.key, shipped.headers())


@given(
    after_ms=st.lists(st.sampled_from([-NEAR_MS, -1, 0, 0, 0, 1, NEAR_MS]), min_size=1, max_size=30),
    cuts=st.sets(st.integers(1, 29)),
)
def test_no_line_is_lost_whatever_the_times_of_its_records_and_however_they_are_read(
    after_ms: list[int], cuts: set[int], scanner: Scanner
) -> None:
    said, time_ms = [], NOW_MS
    for offset, step_ms in enumerate(after_ms):
        time_ms += step_ms
        said.append(foreign(offset, time_ms))
    lines, edges = lines_of(scanner), [0, *sorted(cuts), len(said)]
    found = [
        line
        for begin, end in pairwise(edges)
        for line, record in lines.take(said[begin:end])
        if record.offset == line.offset_bytes
    ]
    assert [line.text for line in found] == [f"line {offset}" for offset in range(len(said))]


@pytest.mark.parametrize("choice", [EVERY, NEAR])
def test_what_is_kept_of_a_foreign_source_does_not_depend_on_how_its_records_were_read(
    scanner: Scanner, choice: Choice
) -> None:
    times = [0, 5, 5, 2, 2, -70_000, 70_000, 0, 0, 1, 1, 90_000, 3, 3]
    said = [foreign(n, NOW_MS + ms, f"ERROR {n}" if n % 5 == 2 else f"step {n}") for n, ms in enumerate(times)]
    whole = [line for line, _ in lines_of(scanner, choice).take(said)]
    one_by_one = lines_of(scanner, choice)
    assert [line for record in said for line, _ in one_by_one.take([record])] == whole
    assert whole


def test_a_record_from_the_future_makes_no_source_look_silent(scanner: Scanner) -> None:
    lines = lines_of(scanner)
    for _ in lines.take([piece(0, NOW_MS, "a\n"), foreign(1, NOW_MS + 900 * DAY_MS)]):
        pass
    assert lines.silent(FORGET_MS, NOW_MS) == []


def test_a_source_that_was_heard_in_the_future_is_forgotten_when_it_has_been_silent_for_long(scanner: Scanner) -> None:
    lines = lines_of(scanner)
    list(lines.take([piece(0, NOW_MS + 900 * DAY_MS, "a\n", host="n1"), piece(1, NOW_MS, "b\n", host="n2")]))
    assert lines.silent(FORGET_MS, NOW_MS) == []
    list(lines.take([piece(2, NOW_MS + FORGET_MS + 1, "c\n", at=2, host="n2")]))
    assert lines.silent(FORGET_MS, NOW_MS + FORGET_MS + 1) == ["c1\0n1\0/a.log\x001"]


def test_an_error_of_relights_own_is_not_taken_for_a_record_that_cannot_be_read(scanner: Scanner) -> None:
    class Broken(LogFormats):
        def survey(self, source: Source, head: bytes) -> Told:
            raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        list(Lines(EVERY, scanner, Broken()).take([piece(0, NOW_MS, "a\n")]))


def test_records_that_cannot_be_read_are_passed_over(scanner: Scanner) -> None:
    bad = [
        Record(LOGS, 0, 0, None, None, (), NOW_MS),
        Record(LOGS, 0, 1, None, b"x", (("relight", b"7"),), NOW_MS),
        Record(LOGS, 0, 2, None, b'[{"message": "a"}, {"message": "b"}]', (), NOW_MS),
        Record(LOGS, 0, 3, None, b"a line of before there were clocks", (), -1),
    ]
    assert [line.text for line, _ in lines_of(scanner).take([*bad, piece(4, NOW_MS, "good\n")])] == ["good"]


# The stage


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with small_log(tmp_path) as log:
        yield log


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Telling]:
    with Telling(tmp_path / "store.db") as store:
        yield store


PLACE = Partition(LOGS, 0)


class Crashing:
    """Indexes what a log holds. When it crashes, only what is in the log and in the store stays, and its position."""

    def __init__(self, log: EmbeddedLog, store: EmbeddedStore, scanner: Scanner, choice: Choice = EVERY) -> None:
        self.log, self.store, self.scanner, self.choice = log, store, scanner, choice
        self.position = 0
        self.letters: list[Outgoing] = []
        self.stage = self.made()

    def made(self) -> Index:
        found = Index(
            self.log,
            self.store,
            Matcher(self.scanner, LogFormats(), shown),
            StageMetrics(NAME),
            choice=self.choice,
            waited=lambda wait_s: False,
            lines_days=36_500,
            snapshot_s=0,
        )
        found.gain(PLACE, self.position)
        found.gain(Partition(INCIDENTS, 0), 0)
        return found

    def index(self, *more: Outgoing, snapshot: bool = True) -> list[Outgoing]:
        """Append records, index what is new, and return the snapshots."""
        self.log.append(list(more))
        said = [record for record in records(self.log, LOGS) if record.offset >= self.position]
        self.letters += self.stage.handle(said)
        self.position = said[-1].offset + 1 if said else self.position
        written = list(self.stage.beat()) if snapshot else []
        if written:
            self.log.append(written)
        return written

    def crash(self) -> None:
        self.stage.end()
        self.stage = self.made()


@pytest.fixture
def running(log: EmbeddedLog, store: EmbeddedStore, scanner: Scanner) -> Iterator[Crashing]:
    found = Crashing(log, store, scanner)
    yield found
    found.stage.end()


def kept(store: EmbeddedStore) -> list[LogRecord]:
    return sorted(store.lines(LineQuery(limit=1000)), key=lambda line: line.offset_bytes)


@pytest.mark.parametrize("snapshot", [True, False])
def test_what_is_sent_twice_over_a_crash_is_not_stored_again_as_of_another_day(
    running: Crashing, store: Telling, snapshot: bool
) -> None:
    running.index(outgoing("one\n"))
    running.index(outgoing("two\n", at=4), snapshot=snapshot)
    running.crash()
    later_ms = NOW_MS + 5 * DAY_MS
    running.index(outgoing("one\ntwo\nthree\n", observed_ms=later_ms))
    assert [(line.text, line.observed_ms) for line in store.put] == [
        ("one", NOW_MS), ("two", NOW_MS), ("three", later_ms),
    ]  # fmt: skip


@pytest.mark.parametrize("every", [True, False])
def test_what_is_kept_does_not_depend_on_crashes(
    log: EmbeddedLog, store: EmbeddedStore, scanner: Scanner, tmp_path: Path, every: bool
) -> None:
    said, at = [], 0
    for number in range(40):
        stamp = f"2026-05-12 03:00:{number:02},000 - INFO - " if number % 7 == 0 else ""
        said.append(outgoing(text := f"{stamp}{'ERROR' if number % 6 == 5 else 'step'} {number}\n", at))
        at += len(text)
    choice = Choice(every, around=2)
    steady = Crashing(log, store, scanner, choice)
    steady.index(*said)
    steady.stage.end()
    with (
        EmbeddedLog(tmp_path / "other.db", durable=False) as other_log,
        EmbeddedStore(tmp_path / "other_store.db", durable=False) as other_store,
    ):
        other_log.create(specs(log_partitions=1, cluster_partitions=1))
        crashing = Crashing(other_log, other_store, scanner, choice)
        for number, one in enumerate(said):
            crashing.index(one, snapshot=number % 3 == 0)
            if number % 2:
                crashing.crash()
        crashing.stage.end()
        assert kept(other_store) == kept(store)
    assert len(kept(store)) > 20


def test_records_from_before_the_last_snapshot_are_indexed_again_when_the_position_is_put_back(
    running: Crashing, store: EmbeddedStore
) -> None:
    running.index(outgoing("one\n"), outgoing("two\n", at=4))
    store.clear()
    running.position = 0
    running.crash()
    running.index()
    assert [line.text for line in kept(store)] == ["one", "two"]


def test_a_partition_in_which_nothing_happens_gets_no_snapshots(running: Crashing) -> None:
    assert len(running.index(outgoing("one\n"))) == 2
    assert running.index() == running.index() == []
    running.crash()
    assert running.index() == []


def test_what_came_after_the_last_snapshot_is_in_the_next_one_after_a_crash(running: Crashing) -> None:
    running.index(outgoing("one\n"))
    running.index(outgoing("two\n", at=4), snapshot=False)
    running.crash()
    assert len(running.index()) == 2
    running.crash()
    assert running.index() == []


def test_a_snapshot_has_only_the_sources_of_which_something_has_come(running: Crashing) -> None:
    running.index(*(outgoing("one\n", host=f"n{n}") for n in range(5)))
    assert sorted((one.key or b"").split(b"\0")[2] for one in running.index(outgoing("two\n", at=4, host="n3"))) == [
        b"0", b"n3"
    ]  # fmt: skip


def test_a_source_that_was_restored_and_never_speaks_again_is_forgotten(
    running: Crashing, log: EmbeddedLog, scanner: Scanner
) -> None:
    now_ms = int(time.time() * 1000)
    old = [
        piece(0, now_ms - FORGET_MS - 1, "a\n", host="gone"),
        piece(1, now_ms - FORGET_MS + 60_000, "b\n", host="n2"),
    ]
    list(running.stage.handle(old))
    log.append([outgoing("a\n", host="gone"), outgoing("b\n", host="n2"), *running.stage.beat()])
    running.position = 2
    running.crash()
    assert sources(log) == {"gone", "n2"}
    running.index(outgoing("c\n", host="n3"))
    assert sources(log) == {"n2", "n3"}


def sources(log: EmbeddedLog) -> set[str]:
    """Return the hosts of the sources that a process would restore now."""
    return {key.split("\0")[1] for key in newest(log, NAME, 0, VERSION) if key != FLOOR}


def test_the_snapshots_of_a_source_fit_the_topic(running: Crashing, log: EmbeddedLog) -> None:
    running.index(outgoing("x\n" * 20_000))
    assert all(len(record.value or b"") < 128 * 1024 for record in records(log, SNAPSHOTS))


# What the store refuses


class Choosy(EmbeddedStore):
    """A store that takes no incident, and says so of the document and of its moment."""

    def put_incidents(self, documents: Sequence[IncidentDocument]) -> Sequence[Refusal]:
        parts = ("the document", "a moment")
        return [Refusal(of, one.id, part) for of, one in enumerate(documents) for part in parts]


def test_a_record_of_which_several_things_are_refused_is_one_letter(
    log: EmbeddedLog, scanner: Scanner, tmp_path: Path
) -> None:
    with Choosy(tmp_path / "choosy.db", durable=False) as store:
        running = Crashing(log, store, scanner)
        log.append([Outgoing(INCIDENTS, encoded(event), b"c1") for number in (1, 2) for event in events(number)])
        letters = list(running.stage.handle(list(records(log, INCIDENTS))))
        running.stage.end()
    told = [decoded(letter.value).data for letter in letters]
    assert [one.offset for one in told if isinstance(one, RecordRefused)] == [2, 5]
    assert all("and 1 more of it" in one.reason for one in told if isinstance(one, RecordRefused))
