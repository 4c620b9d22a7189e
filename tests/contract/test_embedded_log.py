"""The contract of the port `EventLog`, kept by the embedded adapter; and a comparison with a model in memory."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition, Span, TopicSpec
from tests.contract.event_log import EventLogContract, Open
from tests.contract.following import Follower, poll_until


class TestEmbeddedLog(EventLogContract):
    @pytest.fixture
    def open_log(self, tmp_path: Path) -> Open:
        return lambda: EmbeddedLog(tmp_path / "relight.db", durable=False)


class Undone(Exception):
    pass


PLACES = [Partition("t", 0), Partition("t", 1), Partition("u", 0)]
BYTES = st.none() | st.binary(max_size=5)
RECORD = st.builds(
    lambda place, key, value, headers: Outgoing(place.topic, value, key, tuple(headers), place.number),
    st.sampled_from(PLACES), BYTES, BYTES, st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2),
)  # fmt: skip
RECORDS = st.lists(RECORD, max_size=6)
POSITIONS = st.dictionaries(st.sampled_from(PLACES), st.integers(0, 20), max_size=3)
STEP = st.one_of(
    st.tuples(st.just("append"), RECORDS, st.just({})),
    st.tuples(st.just("commit"), RECORDS, POSITIONS),
    st.tuples(st.just("undo"), RECORDS, POSITIONS),
    st.tuples(st.just("rejoin"), st.just([]), st.just({})),
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@given(steps=st.lists(STEP, max_size=12), offset=st.integers(0, 20), limit=st.integers(1, 8))
@settings(max_examples=40)
def test_the_log_holds_what_a_list_for_each_partition_would(
    folder: Path, steps: list[tuple[str, list[Outgoing], dict[Partition, int]]], offset: int, limit: int
) -> None:
    held: dict[Partition, list[Outgoing]] = {place: [] for place in PLACES}
    positions: dict[Partition, int] = {}
    (folder / "relight.db").unlink(missing_ok=True)
    with EmbeddedLog(folder / "relight.db", durable=False) as log, ExitStack() as members:
        log.create([TopicSpec("t", 2), TopicSpec("u", 1)])

        def joined() -> Follower:
            follower = Follower(log.join("g", ["t", "u"], "a"))
            members.callback(follower.member.close)
            poll_until(lambda: len(follower.share) == 3, follower)
            return follower

        follower = joined()
        for step, records, advanced in steps:
            if step == "append":
                log.append(records)
            elif step == "rejoin":
                follower = joined()
            else:
                with suppress(Undone):
                    write(follower, records, advanced, undo=step == "undo")
            if step != "undo":
                positions |= advanced
                for record in records:
                    held[Partition(record.topic, record.partition or 0)].append(record)
        for place, expected in held.items():
            found = log.read(place, offset, limit)
            assert [r.offset for r in found] == list(range(len(expected)))[offset : offset + limit]
            assert [Outgoing(r.topic, r.value, r.key, r.headers, r.partition) for r in found] == [
                expected[r.offset] for r in found
            ]
            assert log.spans(place.topic)[place.number] == Span(0, len(expected))
            assert log.positions("g", place.topic).get(place.number) == positions.get(place)
        last = joined()
        left = {place: expected[positions.get(place, 0) :] for place, expected in held.items()}
        poll_until(lambda: len(last.records) == sum(map(len, left.values())), last)
        for place, expected in left.items():
            assert [r.value for r in last.records if r.place == place] == [r.value for r in expected]


def write(follower: Follower, records: list[Outgoing], positions: dict[Partition, int], *, undo: bool) -> None:
    """Append records and advance in one transaction, which is undone at its end if it is to be."""
    with follower.member.transaction() as transaction:
        for record in records:
            transaction.append(record)
        for place, offset in positions.items():
            transaction.advance(place, offset)
        if undo:
            raise Undone
