"""The envelope of every message but a log line: CloudEvents 1.0 in JSON, and the table of all types of events.

The bytes of an event follow from what it says: keys are sorted, ids derive from causes. Readers accept the versions
before the present one: `schemas.upcasting` brings them up to date.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from pydantic import BaseModel, ValidationError

from schemas import command, history, remedy, signal, verdict
from schemas.deadletter import RecordRefused, RecordRetried
from schemas.record import LATEST_S
from schemas.shipped import MOST
from schemas.snapshot import SnapshotPart
from schemas.upcasting import upcast

SPEC: Final = "1.0"
SCHEMAS_URI: Final = "urn:relight:schema:"
EARLIEST_S: Final = -62_135_596_800
"""The beginning of the year 1 (Unix, seconds), before which a calendar has no dates."""


class NotAnEvent(ValueError):
    """Bytes that are no event that this relight reads. The message says why."""


@dataclass(frozen=True, slots=True)
class EventType:
    """A row of the table: an event's name, what it carries, where it lies, who writes it, and its present version."""

    name: str
    data: type[BaseModel]
    topic: str
    writer: str
    version: int = 1

    @property
    def schema_uri(self) -> str:
        """Return the name of the JSON Schema of its data."""
        return f"{SCHEMAS_URI}{self.name}:{self.version}"


EVENT_TYPES: Final = (
    EventType("signal.matched", signal.Signal, "relight.signals", "match"),
    EventType("signal.withdrawn", signal.Withdrawn, "relight.signals", "match"),
    EventType("source.read", signal.SourceRead, "relight.signals", "match", version=2),
    EventType("sources.heard", signal.Heard, "relight.signals", "match"),
    EventType("job.placed", signal.Placement, "relight.signals", "hooks of schedulers, other tools"),
    EventType("tick.passed", signal.Tick, "relight.signals", "correlate"),
    EventType("verdict.admitted", verdict.VerdictAdmitted, "relight.signals", "remediate"),
    EventType("incident.opened", history.IncidentOpened, "relight.incidents", "correlate"),
    EventType("evidence.added", history.EvidenceAdded, "relight.incidents", "correlate"),
    EventType("evidence.dropped", history.EvidenceDropped, "relight.incidents", "correlate"),
    EventType("diagnosis.revised", history.DiagnosisRevised, "relight.incidents", "correlate"),
    EventType("diagnosis.settled", history.DiagnosisSettled, "relight.incidents", "correlate"),
    EventType("incident.resolved", history.IncidentResolved, "relight.incidents", "correlate", version=2),
    EventType("incident.reopened", history.IncidentReopened, "relight.incidents", "correlate"),
    EventType("incident.merged", history.IncidentMerged, "relight.incidents", "correlate"),
    EventType("incident.judged", verdict.IncidentJudged, "relight.incidents", "correlate"),
    EventType("command.planned", remedy.CommandPlanned, "relight.incidents", "remediate"),
    EventType("command.blocked", remedy.CommandBlocked, "relight.incidents", "remediate"),
    EventType("command.approved", remedy.CommandApproved, "relight.incidents", "remediate"),
    EventType("command.issued", remedy.CommandIssued, "relight.incidents", "remediate"),
    EventType("command.joined", remedy.CommandJoined, "relight.incidents", "remediate"),
    EventType("command.progressed", remedy.CommandProgressed, "relight.incidents", "remediate"),
    EventType("command.cancelled", remedy.CommandCancelled, "relight.incidents", "remediate"),
    EventType("command.expired", remedy.CommandExpired, "relight.incidents", "remediate"),
    EventType("command.proved", remedy.CommandProved, "relight.incidents", "remediate"),
    EventType("command.failed_to_help", remedy.CommandFailedToHelp, "relight.incidents", "remediate"),
    EventType("outcome.admitted", remedy.OutcomeAdmitted, "relight.incidents", "remediate"),
    EventType("request.admitted", remedy.RequestAdmitted, "relight.incidents", "remediate"),
    EventType("policy.adopted", remedy.PolicyAdopted, "relight.incidents", "remediate"),
    EventType("breaker.opened", remedy.BreakerOpened, "relight.incidents", "remediate"),
    EventType("breaker.closed", remedy.BreakerClosed, "relight.incidents", "remediate"),
    EventType("remediation.ticked", remedy.RemediationTick, "relight.incidents", "remediate"),
    EventType("command.requested", command.RecoveryCommand, "relight.commands", "remediate"),
    EventType("command.withdrawn", command.CommandWithdrawal, "relight.commands", "remediate"),
    EventType("outcome.reported", command.CommandOutcome, "relight.outcomes", "orchestrators"),
    EventType("request.made", command.Request, "relight.control", "the command line, other tools"),
    EventType("verdict.given", verdict.Verdict, "relight.control", "the command line, other tools"),
    EventType("snapshot.taken", SnapshotPart, "relight.snapshots", "match, correlate, remediate"),
    EventType("record.refused", RecordRefused, "relight.deadletters", "every stage"),
    EventType("record.retried", RecordRetried, "relight.deadletters", "relight deadletters retry"),
)

BY_NAME: Final = {event.name: event for event in EVENT_TYPES}
_BY_DATA: Final = {event.data: event for event in EVENT_TYPES}


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `time_s` is Unix time in seconds; `subject` what it is about; `sequence` its place in that history."""

    id: str
    cluster: str
    subject: str
    time_s: float | None
    data: BaseModel
    sequence: int | None = None

    @property
    def type(self) -> EventType:
        """Return its row in the table."""
        return _BY_DATA[type(self.data)]


def encoded(event: Event) -> bytes:
    """Return an event as CloudEvents 1.0 in structured JSON, always the same bytes for the same event."""
    kind = event.type
    envelope: dict[str, object] = {
        "specversion": SPEC,
        "id": event.id,
        "source": f"/relight/{quote(event.cluster)}",
        "type": kind.name,
        "subject": event.subject,
        "datacontenttype": "application/json",
        "dataschema": kind.schema_uri,
        "partitionkey": event.cluster,
        "data": event.data.model_dump(mode="json"),
    }
    if event.time_s is not None:
        envelope["time"] = datetime.fromtimestamp(event.time_s, UTC).isoformat().replace("+00:00", "Z")
    if event.sequence is not None:
        envelope["sequence"] = f"{event.sequence:08d}"
    return orjson.dumps(envelope, option=orjson.OPT_SORT_KEYS)


def decoded(value: bytes | None) -> Event:
    """Return the event that bytes hold.

    Raises:
        NotAnEvent: they hold none, or one of a type or version that this relight does not know.
    """
    fields = _object(value)
    kind = BY_NAME.get(str(fields.get("type")))
    if kind is None:
        raise NotAnEvent(f"events of type {str(fields.get('type'))[:200]!r} are unknown to this relight")
    version = _version(kind, str(fields.get("dataschema", kind.schema_uri)))
    try:
        data = kind.data.model_validate(upcast(kind.name, version, fields.get("data")))
        return Event(
            id=_text(fields, "id"),
            cluster=_text(fields, "partitionkey"),
            subject=_text(fields, "subject"),
            time_s=_time_s(fields.get("time")),
            data=data,
            sequence=_sequence(fields.get("sequence")),
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NotAnEvent(f"the data of {kind.name} is wrong: {where}: {first['msg']}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise NotAnEvent(f"the envelope of {kind.name} is wrong: {error}") from None


def data_of(value: bytes | None) -> dict[str, Any]:
    """Return the data of an event as it came, which is what is signed: defaults that a reader adds are not in it."""
    data = orjson.loads(value or b"{}").get("data")
    return data if isinstance(data, dict) else {}


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        raise NotAnEvent("it is no JSON") from None
    if not isinstance(fields, dict) or fields.get("specversion") != SPEC:
        raise NotAnEvent(f"it is no CloudEvent of specversion {SPEC}")
    return fields


def _version(kind: EventType, schema: str) -> int:
    name, _, version = schema.removeprefix(SCHEMAS_URI).rpartition(":")
    if name != kind.name or not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotAnEvent(f"its dataschema is {schema[:200]!r}, not one of {kind.name}")
    if not 1 <= int(version) <= kind.version:
        raise NotAnEvent(f"{kind.name} of version {version}; this relight reads up to {kind.version}")
    return int(version)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is missing")
    return value


def _time_s(value: object) -> float | None:
    if value is None:
        return None
    time_s = datetime.fromisoformat(str(value)).timestamp()
    if not EARLIEST_S <= time_s < LATEST_S + 1:
        raise ValueError(f"`time` is {str(value)[:40]!r}, which is outside of the years 1 to 9999 in UTC")
    return time_s


def _sequence(value: object) -> int | None:
    if value is None:
        return None
    sequence = int(str(value))
    if not 0 <= sequence < MOST:
        raise ValueError(f"`sequence` is {str(value)[:40]!r}, which counts nothing")
    return sequence
