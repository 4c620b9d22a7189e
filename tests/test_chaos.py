"""Stages are killed, frozen and doubled while numbered faults are written: each is told of once, and no other is."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.chaos.campaign import Where, campaign
from bench.chaos.peace import said
from bench.chaos.story import Issued
from bench.chaos.verdict import Said, complaints, differences
from relight.transports.embedded import EmbeddedLog
from schemas.events import Event
from schemas.history import EvidenceAdded
from tests.servers.kafka_server import KafkaServer

ROUNDS = 10


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[int, Issued], Said]]:
    """What was issued and said in ten rounds on the embedded log."""
    folder = tmp_path_factory.mktemp("chaos")
    outcome = campaign(Where(folder), ROUNDS, seed=7, every=ROUNDS)
    assert outcome.complaints == []
    with EmbeddedLog(folder / "relight.db") as log:
        yield outcome.issued, said(log)


def test_ten_rounds_on_the_embedded_log_lose_nothing_and_say_nothing_twice(
    survived: tuple[dict[int, Issued], Said],
) -> None:
    issued, found = survived
    assert len(issued) > ROUNDS
    assert list(complaints(issued, found)) == []


@pytest.mark.kafka
def test_ten_rounds_on_kafka_lose_nothing_and_say_nothing_twice(tmp_path: Path, fresh_kafka: KafkaServer) -> None:
    outcome = campaign(Where(tmp_path, fresh_kafka.address, fresh_kafka), ROUNDS, seed=8, every=ROUNDS)
    assert outcome.complaints == []


Tamper = Callable[[list[Event]], list[Event]]


def lost(events: list[Event]) -> list[Event]:
    return [event for event in events if event.subject != events[0].subject]


def doubled(events: list[Event]) -> list[Event]:
    return [*events, events[0]]


def with_a_gap(events: list[Event]) -> list[Event]:
    return events[1:]


def told_twice(events: list[Event]) -> list[Event]:
    """Tell of an incident as another one, too."""
    own = [event for event in events if event.subject == events[0].subject]
    return [*events, *(replace(event, subject="another", id=f"another {event.id}") for event in own)]


def invented(events: list[Event]) -> list[Event]:
    """Let the last evidence show a number that nobody has issued: an earlier one may be replaced."""
    at = max(at for at, event in enumerate(events) if isinstance(event.data, EvidenceAdded))
    event = events[at]
    assert isinstance(event.data, EvidenceAdded)
    evidence = event.data.evidence
    last = evidence.last.model_copy(update={"text": "ValueError: sample oracle-999999 is empty"})
    data = event.data.model_copy(update={"evidence": evidence.model_copy(update={"last": last})})
    return [*events[:at], replace(event, data=data), *events[at + 1 :]]


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (lost, "stands in nowhere"),
        (doubled, "was said twice"),
        (with_a_gap, "where 1 should follow"),
        (told_twice, "should stand in one incident"),
        (invented, "number 999999 was never issued"),
    ],
)
def test_the_verdict_notices_what_is_wrong(
    survived: tuple[dict[int, Issued], Said], tamper: Tamper, words: str
) -> None:
    issued, found = survived
    assert any(words in one for one in complaints(issued, Said(tamper([*found.events]))))


def test_the_verdict_notices_dead_letters(survived: tuple[dict[int, Issued], Said]) -> None:
    issued, found = survived
    assert list(complaints(issued, Said(found.events, ("a letter",)))) == ["dead letter: a letter"]


def test_the_verdict_notices_another_signature_and_another_job(survived: tuple[dict[int, Issued], Said]) -> None:
    issued, found = survived
    number, fault = next(iter(issued.items()))
    for wrong in (replace(fault, signature="python.os-error"), replace(fault, job="0")):
        (complaint,) = complaints({**issued, number: wrong}, found)
        assert f"number {number} " in complaint
        assert "concludes" in complaint


def test_a_conclusion_that_is_missing_on_one_side_is_a_difference(survived: tuple[dict[int, Issued], Said]) -> None:
    _, found = survived
    less = Said(lost([*found.events]))
    assert list(differences(found, found)) == []
    assert "not without disturbance" in "".join(differences(found, less))
    assert "without disturbance only" in "".join(differences(less, found))
