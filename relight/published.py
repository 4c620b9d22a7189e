"""The JSON Schemas of all that leaves relight or that people write for it, and the AsyncAPI document of its topics."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import yaml
from pydantic import BaseModel

from relight import __version__
from relight.topics import LOGS, TOPICS, Topic
from schemas.command import CommandOutcome, CommandWithdrawal, RecoveryCommand, Request
from schemas.events import EVENT_TYPES, SPEC, EventType
from schemas.incident import Evidence, Incident, Run, ScanReport
from schemas.record import LogRecord
from schemas.shipped import Shipped
from schemas.signal import Signal
from schemas.signature import Signature
from schemas.verdict import Verdict

MODELS: Final[dict[str, type[BaseModel]]] = {
    "log-record": LogRecord,
    "chunk-headers": Shipped,
    "signature": Signature,
    "signal": Signal,
    "evidence": Evidence,
    "incident": Incident,
    "run": Run,
    "scan-report": ScanReport,
    "recovery-command": RecoveryCommand,
    "command-withdrawal": CommandWithdrawal,
    "command-outcome": CommandOutcome,
    "request": Request,
    "verdict": Verdict,
}


def export(directory: Path) -> Iterator[Path]:
    """Write all documents into a directory, which is made if it is not there, and yield the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in documents().items():
        path = directory / name
        path.write_bytes(content)
        yield path


def documents() -> dict[str, bytes]:
    """Return all documents by their file names."""
    found = {f"{name}.schema.json": _json(_schema(model.model_json_schema())) for name, model in MODELS.items()}
    for event in EVENT_TYPES:
        found[f"{event.name}.v{event.version}.schema.json"] = _json(_schema(envelope(event)))
    return found | {
        "asyncapi.yaml": yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120).encode()
    }


def envelope(event: EventType) -> dict[str, Any]:
    """Return the JSON Schema of an event: its CloudEvents envelope with its data."""
    text = {"type": "string", "minLength": 1}
    data = event.data.model_json_schema(mode="serialization")
    definitions = data.pop("$defs", {})
    return {
        "$id": event.schema_uri,
        "title": event.name,
        "description": " ".join((event.data.__doc__ or "").split()),
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "dataschema", "partitionkey", "data"],
        "properties": {
            "specversion": {"const": SPEC},
            "id": text,
            "source": {"type": "string", "format": "uri-reference"},
            "type": {"const": event.name},
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"const": event.schema_uri},
            "partitionkey": text | {"description": "the cluster"},
            "sequence": {"type": "string", "pattern": "^[0-9]{8,}$"},
            "data": data,
        },
        "$defs": definitions,
    }


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document: the topics, what lies in each, and the headers of chunks."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "relight",
            "version": __version__,
            "description": "Log lines in, incidents and recovery commands out. Events are CloudEvents 1.0 in JSON.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            f"{action}-{topic.name}": {"action": action, "channel": {"$ref": f"#/channels/{_pointer(topic.name)}"}}
            for topic in TOPICS
            for action in ("send", "receive")
        },
        "components": {"messages": {event.name: _message(event) for event in EVENT_TYPES} | {"chunk": _chunk()}},
    }


def _channel(topic: Topic) -> dict[str, Any]:
    names = [event.name for event in EVENT_TYPES if event.topic == topic.name]
    names += ["chunk"] if topic.name == LOGS else []
    return {
        "address": topic.name,
        "description": f"{topic.holds}. Key: {topic.key}. Written by: {topic.written_by}.",
        "messages": {name: {"$ref": f"#/components/messages/{_pointer(name)}"} for name in names},
    }


def _message(event: EventType) -> dict[str, Any]:
    return {
        "name": event.name,
        "contentType": "application/cloudevents+json",
        "summary": (event.data.__doc__ or "").partition("\n")[0],
        "payload": {"$ref": f"{event.name}.v{event.version}.schema.json"},
    }


def _chunk() -> dict[str, Any]:
    return {
        "name": "chunk",
        "contentType": "application/octet-stream",
        "summary": "Consecutive whole lines of a source, as they were; without headers, a line of a foreign shipper.",
        "headers": {"$ref": "chunk-headers.schema.json"},
    }


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _json(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
