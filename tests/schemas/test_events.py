"""Events: the same bytes for the same event, readers that accept older versions, and refusals that say why."""

import json
from pathlib import Path

import jsonschema
import orjson
import pytest

from relight.manual import DOCS, pages
from relight.published import documents
from schemas.events import EVENT_TYPES, Event, EventType, NotAnEvent, decoded, encoded
from schemas.signal import Tick
from schemas.upcasting import upcast

RECORDED = Path(__file__).parent / "recorded"
EACH = [(event, version) for event in EVENT_TYPES for version in range(1, event.version + 1)]
each_version = pytest.mark.parametrize(("event", "version"), EACH, ids=[f"{e.name}.v{v}" for e, v in EACH])


def recorded(event: EventType, version: int) -> bytes:
    return (RECORDED / f"{event.name}.v{version}.json").read_bytes().rstrip(b"\n")


@each_version
def test_every_version_that_was_ever_written_is_read(event: EventType, version: int) -> None:
    assert isinstance(decoded(recorded(event, version)).data, event.data)


@pytest.mark.parametrize("event", EVENT_TYPES, ids=lambda event: event.name)
def test_an_event_that_is_read_and_written_again_has_the_same_bytes(event: EventType) -> None:
    value = recorded(event, event.version)
    assert encoded(decoded(value)) == value


@pytest.mark.parametrize("event", EVENT_TYPES, ids=lambda event: event.name)
def test_an_event_holds_to_its_published_schema(event: EventType) -> None:
    schema = json.loads(documents()[f"{event.name}.v{event.version}.schema.json"])
    jsonschema.validate(json.loads(recorded(event, event.version)), schema)
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_that_is_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_bytes() == pages()[name], "run `python -m relight.manual`"


def test_no_document_is_left_of_what_is_published_no_more() -> None:
    assert {path.name for path in (DOCS / "schemas").iterdir()} == set(documents())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": "0.3"}, "no CloudEvent of specversion 1.0"),
        ({"type": "tick.tocked"}, "'tick.tocked' are unknown"),
        ({"dataschema": "urn:relight:schema:tick.passed:99"}, "version 99; this relight reads up to 1"),
        ({"dataschema": "urn:other:1"}, "its dataschema is 'urn:other:1'"),
        ({"id": ""}, "`id` is missing"),
        ({"partitionkey": None}, "`partitionkey` is missing"),
        ({"time": "yesterday"}, "the envelope of tick.passed is wrong"),
        ({"time": "0000-01-01T00:00:00Z"}, "the envelope of tick.passed is wrong"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "outside of the years 1 to 9999"),
        ({"time": "9999-12-31T23:59:59-14:00"}, "outside of the years 1 to 9999"),
        ({"time": "0001-01-01T00:00:00"}, "the envelope of tick.passed is wrong|outside of the years"),
        ({"data": {"number": 0, "time_s": 1}}, "the data of tick.passed is wrong: number"),
        ({"data": {"number": 1, "time_s": 1, "more": 1}}, "the data of tick.passed is wrong: more"),
        ({"data": None}, "the data of tick.passed is wrong"),
        ({"sequence": "first"}, "the envelope of tick.passed is wrong"),
        ({"sequence": "-1"}, "which counts nothing"),
        ({"sequence": "1" + "0" * 30}, "which counts nothing"),
        ({"sequence": 1.5}, "the envelope of tick.passed is wrong"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(change: dict[str, object], reason: str) -> None:
    fields = json.loads(encoded(Event("1", "c", "c", 1.0, Tick(number=1, time_s=1.0))))
    with pytest.raises(NotAnEvent, match=reason):
        decoded(orjson.dumps(fields | change))


@pytest.mark.parametrize("value", [None, b"", b"{", b"[]", b"\xff", b"NVRM: Xid 79", b"null"])
def test_what_is_no_event_is_refused(value: bytes | None) -> None:
    with pytest.raises(NotAnEvent):
        decoded(value)


def test_older_data_is_brought_up_to_date_step_by_step() -> None:
    steps = {("tick.passed", 1): lambda data: data | {"b": 2}, ("tick.passed", 2): lambda data: data | {"c": 3}}
    assert upcast("tick.passed", 1, {"a": 1}, steps) == {"a": 1, "b": 2, "c": 3}
    assert upcast("tick.passed", 2, {"a": 1}, steps) == {"a": 1, "c": 3}
    assert upcast("tick.passed", 3, {"a": 1}, steps) == {"a": 1}


def test_the_first_and_the_last_time_of_a_calendar_can_be_written_again() -> None:
    for time in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999000Z"):
        fields = json.loads(encoded(Event("1", "c", "c", 1.0, Tick(number=1, time_s=1.0)))) | {"time": time}
        assert json.loads(encoded(decoded(orjson.dumps(fields))))["time"][:19] == time[:19]


def test_times_survive_the_envelope_to_the_millisecond() -> None:
    for time_s in (0.0, 0.001, 1764000000.123, 1764000000.999):
        assert decoded(encoded(Event("1", "c", "c", time_s, Tick(number=1, time_s=time_s)))).time_s == time_s
