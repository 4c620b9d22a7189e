"""What the port `EventLog` promises of topics and records."""

import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from kafka.partitioner.default import murmur2

from relight.transports.port import EventLog, Outgoing, Partition, Span, TooLarge, TopicMissing, TopicSpec
from tests.contract.following import eventually, everything, values
from tests.contract.log_fixtures import PARTITIONS, LogFixtures, Open, made


class RecordsContract(LogFixtures):
    """Topics, records, spans and compaction."""

    def test_topics_are_as_they_were_specified(self, log: EventLog, other: EventLog) -> None:
        topic = made(log, 3, retention_ms=3_600_000, max_record_bytes=2_000_000)
        compacted = made(log, 1, compacted=True)
        there = other.topics()
        assert there[topic] == TopicSpec(topic, 3, retention_ms=3_600_000, max_record_bytes=2_000_000)
        assert there[compacted] == TopicSpec(compacted, 1, compacted=True)

    def test_creating_leaves_topics_that_are_there_and_their_records(self, log: EventLog, topic: str) -> None:
        log.append([Outgoing(topic, b"kept", partition=0)])
        fresh = f"{topic}-fresh"
        log.create([TopicSpec(topic, 9, retention_ms=1), TopicSpec(fresh, 1)])
        log.create([])
        assert log.topics()[topic] == TopicSpec(topic, PARTITIONS)
        assert log.topics()[fresh] == TopicSpec(fresh, 1)
        assert values(log, topic) == [b"kept"]

    def test_altering_changes_topics_and_only_adds_partitions(self, log: EventLog, topic: str) -> None:
        log.append([Outgoing(topic, b"kept", partition=0)])
        wanted = TopicSpec(topic, PARTITIONS + 2, retention_ms=86_400_000, max_record_bytes=3_000_000)
        log.alter([wanted])
        eventually(lambda: log.topics()[topic] == wanted)
        log.alter([replace(wanted, partitions=1)])
        assert log.topics()[topic] == wanted
        eventually(lambda: len(log.spans(topic)) == PARTITIONS + 2)
        log.append([Outgoing(topic, b"new", partition=PARTITIONS + 1)])
        assert values(log, topic) == [b"kept", b"new"]

    def test_what_names_an_unknown_topic_says_so(self, log: EventLog, topic: str) -> None:
        unknown = f"{topic}-unknown"
        asked: list[Callable[[], object]] = [
            lambda: log.append([Outgoing(unknown, b"x")]),
            lambda: log.read(Partition(unknown, 0), 0),
            lambda: log.spans(unknown),
            lambda: log.positions("group", unknown),
            lambda: log.join("group", [topic, unknown], "a"),
            lambda: log.alter([TopicSpec(unknown, 1)]),
        ]
        for question in asked:
            with pytest.raises(TopicMissing, match=unknown):
                question()
        assert unknown not in log.topics()

    def test_a_partition_that_is_not_there_is_missing(self, log: EventLog, topic: str) -> None:
        with pytest.raises(TopicMissing, match=topic):
            log.read(Partition(topic, PARTITIONS), 0)
        with pytest.raises(TopicMissing, match=topic):
            log.append([Outgoing(topic, b"x", partition=PARTITIONS)])

    def test_records_are_read_as_they_were_appended(self, log: EventLog, other: EventLog, topic: str) -> None:
        headers = (("b", b"1"), ("a", b""), ("b", bytes(range(256))), ("grün", b"2"))
        sent = [
            Outgoing(topic, b"value", b"key", headers, 1),
            Outgoing(topic, None, b"key", partition=1),
            Outgoing(topic, b"", partition=1),
            Outgoing(topic, bytes(range(256)), b"", partition=1),
        ]
        before_ms = time.time() * 1000
        log.append(sent)
        found = other.read(Partition(topic, 1), 0)
        assert [Outgoing(r.topic, r.value, r.key, r.headers, r.partition) for r in found] == sent
        assert all(before_ms - 2000 <= record.time_ms <= time.time() * 1000 + 2000 for record in found)
        assert other.read(Partition(topic, 0), 0) == []

    def test_equal_keys_keep_their_order_in_one_partition(self, log: EventLog, topic: str) -> None:
        for batch in range(3):
            log.append([Outgoing(topic, b"%d" % (batch * 20 + n), b"key-%d" % (n % 10)) for n in range(20)])
        found = everything(log, topic)
        assert len({record.partition for record in found}) > 1
        for key in {record.key for record in found}:
            own = [record for record in found if record.key == key]
            assert len({record.partition for record in own}) == 1
            assert [int(record.value or b"") % 10 for record in own] == [int((key or b"").partition(b"-")[2])] * 6
            assert own == sorted(own, key=lambda record: int(record.value or b""))

    def test_a_key_lies_where_kafkas_clients_put_it(self, log: EventLog, topic: str) -> None:
        keys = [b"", b"a", b"ab", b"abc", b"node17\0/var/log/syslog", "käse".encode(), bytes(range(256))]
        log.append([Outgoing(topic, b"", key) for key in keys])
        found = {record.key: record.partition for record in everything(log, topic)}
        assert found == {key: (murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in keys}

    def test_a_record_goes_to_the_partition_that_it_names(self, log: EventLog, topic: str) -> None:
        log.append([Outgoing(topic, b"%d" % n, b"same key", partition=n) for n in (3, 1, 0, 2)])
        assert values(log, topic) == [b"0", b"1", b"2", b"3"]

    def test_reading_begins_at_an_offset_and_ends_at_the_limit_or_the_end(self, log: EventLog, topic: str) -> None:
        log.append([Outgoing(topic, b"%d" % n, partition=2) for n in range(10)])
        place = Partition(topic, 2)
        offsets = [record.offset for record in log.read(place, 0)]
        assert offsets == sorted(set(offsets))
        assert [r.value for r in log.read(place, offsets[3], limit=4)] == [b"3", b"4", b"5", b"6"]
        assert [r.value for r in log.read(place, offsets[7])] == [b"7", b"8", b"9"]
        assert log.read(place, offsets[-1] + 1) == log.read(place, offsets[-1] + 99) == []

    def test_appending_nothing_is_nothing(self, log: EventLog) -> None:
        log.append([])

    def test_spans_say_what_partitions_hold(self, log: EventLog, other: EventLog, topic: str) -> None:
        assert log.spans(topic) == dict.fromkeys(range(PARTITIONS), Span(0, 0))
        log.append([Outgoing(topic, b"x", partition=1)] * 3)
        span = other.spans(topic)[1]
        assert span.begin == other.read(Partition(topic, 1), 0)[0].offset
        assert span.end > other.read(Partition(topic, 1), 0)[-1].offset
        assert log.read(Partition(topic, 1), span.end) == []

    def test_large_records_come_through_and_too_large_ones_harm_nothing(self, log: EventLog) -> None:
        topic = made(log, max_record_bytes=4_000_000)
        large = os.urandom(3_500_000)
        log.append([Outgoing(topic, large, partition=0)])
        with pytest.raises(TooLarge, match=topic):
            log.append([Outgoing(topic, os.urandom(5_000_000), partition=0)])
        log.append([Outgoing(topic, b"small", partition=0)])
        assert values(log, topic) == [large, b"small"]

    def test_folding_a_compacted_topic_gives_the_last_value_of_each_key(self, log: EventLog) -> None:
        topic = made(log, compacted=True)
        for n in range(6):
            log.append([Outgoing(topic, b"%d" % n, b"key-%d" % (n % 3))])
        log.append([Outgoing(topic, None, b"key-2")])
        folded = {record.key: record.value for record in everything(log, topic)}
        assert {key: value for key, value in folded.items() if value is not None} == {b"key-0": b"3", b"key-1": b"4"}

    def test_closing_twice_is_closing(self, open_log: Open, topic: str) -> None:
        log = open_log()
        member = log.join(topic, [topic], "a")
        member.close()
        member.close()
        log.close()
        log.close()
