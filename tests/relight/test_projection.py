"""The fold of incidents' events into documents: what it does where events are missing, very many, or in batches."""

from collections.abc import Iterable, Mapping, Sequence

import pytest

from relight.stores import projection
from relight.stores.elastic_documents import moment_sources
from relight.stores.projection import MOMENTS, Projection, incident_of
from schemas.document import IncidentDocument
from schemas.events import Event
from schemas.history import Happening
from tests.contract.store_stories import COMMAND, START_S, commanded, events, folded, reopened, resolved


class Topic:
    """What was said of incidents, and a count of how often all of it was read."""

    def __init__(self, said: Iterable[Event] = ()) -> None:
        self.said, self.reads = list(said), 0

    def recorded(self, names: Sequence[str]) -> list[Event]:
        self.reads += 1
        return [event for event in self.said if incident_of(event) in names]


class Kept:
    """What a store has of incidents: the newest states that were put."""

    def __init__(self) -> None:
        self.documents: dict[str, IncidentDocument] = {}
        self.asked = 0

    def known(self, names: Sequence[str]) -> Mapping[str, IncidentDocument]:
        self.asked += 1
        return {name: self.documents[name] for name in names if name in self.documents}

    def put(self, documents: Iterable[IncidentDocument]) -> None:
        for document in documents:
            if document.id not in self.documents or self.documents[document.id].version < document.version:
                self.documents[document.id] = document


def again(times: int) -> list[tuple[Happening, float]]:
    """Return that an incident was over and was not, so often."""
    return [one for n in range(times) for one in (resolved(START_S + 600 + n), reopened(START_S + 600.5 + n))]


def test_an_incident_whose_beginning_is_gone_is_looked_for_once() -> None:
    said = events(1, more=again(5))[4:]
    topic = Topic(said)
    fold = Projection(Kept().known, topic.recorded)
    for event in said:
        assert fold.after([event]) == []
    assert topic.reads == 1


def test_after_forgetting_it_is_looked_for_again_for_its_beginning_may_be_there() -> None:
    said = events(1, more=again(1))
    topic = Topic(said[1:])
    fold = Projection(Kept().known, topic.recorded)
    assert fold.after(said[2:3]) == []
    topic.said = said
    fold.forget()
    assert fold.after(said[3:4]) == folded(said)


def test_those_of_one_call_that_are_behind_are_caught_up_in_one_pass() -> None:
    whole = [events(number, more=again(2)) for number in range(5)]
    topic = Topic(event for said in whole for event in said)
    documents = Projection(Kept().known, topic.recorded).after(said[-1] for said in whole)
    assert documents == [folded(said)[0] for said in whole]
    assert topic.reads == 1


def test_what_the_store_has_is_gone_on_from_where_the_beginning_is_gone() -> None:
    said, kept = events(1, more=again(5)), Kept()
    kept.put(folded(said[:6]))
    topic = Topic(said[4:])
    assert Projection(kept.known, topic.recorded).after(said[9:]) == folded(said)


def test_a_document_is_never_replaced_by_one_of_fewer_events() -> None:
    said, kept = events(1, more=again(5)), Kept()
    kept.put(folded(said[:6]))
    topic = Topic(said[8:])
    fold = Projection(kept.known, topic.recorded)
    assert fold.after(said[8:]) == []
    assert fold.after(said[6:7]) == []
    fold.forget()
    topic.said = said
    assert fold.after(said[6:7]) == folded(said[:7])


def test_how_many_are_remembered_whose_beginning_is_gone_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_BEYOND", 3)
    topic = Topic()
    fold = Projection(Kept().known, topic.recorded)
    fold.after(events(number)[2] for number in range(4))
    fold.after([events(3)[2]])
    assert topic.reads == 1
    fold.after([events(0)[2]])
    assert topic.reads == 2


def moments(documents: Iterable[IncidentDocument]) -> dict[str, object]:
    return {name: source for document in documents for name, source in moment_sources(document)}


@pytest.mark.parametrize("size", [1, 7, MOMENTS, 100_000])
def test_every_moment_is_told_however_the_events_come_in_batches(size: int) -> None:
    said, kept = events(1, more=again(MOMENTS)), Kept()
    fold = Projection(kept.known, Topic(said).recorded)
    told: dict[str, object] = {}
    for begin in range(0, len(said), size):
        documents = fold.after(said[begin : begin + size])
        told |= moments(documents)
        kept.put(documents)
        fold.forget()
    assert list(told) == [event.id for event in said]
    (whole,) = kept.documents.values()
    assert (len(whole.timeline), whole.left_out) == (MOMENTS, len(said) - MOMENTS)
    assert whole == Projection(lambda names: {}, lambda names: []).after(said)[-1]


def test_every_moment_is_told_where_an_incident_is_caught_up() -> None:
    said = events(1, more=again(MOMENTS))
    documents = Projection(Kept().known, Topic(said).recorded).after(said[-1:])
    assert list(moments(documents)) == [event.id for event in said]
    assert [document.version for document in documents] == sorted(document.version for document in documents)


def test_what_was_folded_last_is_remembered_and_the_store_not_asked() -> None:
    said, kept = events(1, more=again(3)), Kept()
    fold = Projection(kept.known, Topic().recorded)
    for event in said:
        assert len(fold.after([event])) == 1
    assert kept.asked == 1


def test_long_incidents_are_remembered_less_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "_WEIGHT", 100)
    kept = Kept()
    fold = Projection(kept.known, Topic().recorded)
    whole = [events(number, more=again(15)) for number in range(3)]
    for said in whole:
        kept.put(fold.after(said))
    asked = kept.asked
    fold.after(whole[2])
    assert kept.asked == asked
    fold.after(whole[0])
    assert kept.asked == asked + 1
    for said in (*whole, *reversed(whole)):  # two are remembered: what is forgotten weighs nothing any more
        fold.after(said)
    assert kept.asked == asked + 4


def test_events_of_a_command_go_to_the_incident_that_it_was_planned_for() -> None:
    said = events(1)
    kept = Kept()
    fold = Projection(kept.known, Topic(said).recorded)
    kept.put(fold.after(said))
    for event in commanded(said):
        kept.put(fold.after([event]))
    (document,) = kept.documents.values()
    assert document.commands[COMMAND].state == "effective"
    assert document.commands[COMMAND].lost_steps == 3
    texts = [moment.text for moment in document.timeline[-5:]]
    assert texts == [
        "planned: restart_job job/48211: It is worth a try.",
        "held back by cooldown: a command for job/48211 ended less than 120 s ago",
        "issued",
        "succeeded by agent",
        "the job makes progress again",
    ]


def test_events_of_a_command_change_nothing_when_they_come_again() -> None:
    said = [*events(1), *commanded(events(1))]
    fold = Projection(Kept().known, Topic(said).recorded)
    (document,) = fold.after(said)
    assert fold.after(said) == []
    assert document.version == len(said)


def test_a_command_whose_incident_the_store_lacks_is_caught_up_with_it() -> None:
    said = [*events(1), *commanded(events(1))]
    topic = Topic(said)
    fold = Projection(Kept().known, topic.recorded)
    assert fold.after(said[-1:]) == folded(said)
    assert topic.reads == 1
