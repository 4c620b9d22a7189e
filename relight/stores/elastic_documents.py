"""Incidents, moments and log lines as documents of Elasticsearch: where each value stands, by ECS's names."""

from datetime import UTC, datetime
from typing import Any, Final

from relight.stores.facets import facets
from relight.stores.keeping import at_ms, counted_ms
from relight.stores.words import words
from schemas.document import IncidentDocument
from schemas.record import LogRecord
from schemas.vocabulary import Severity

ECS: Final = "9.0.0"
"""The version of the Elastic Common Schema whose names are used."""

_ECS: Final = {"version": ECS}


def line_source(line: LogRecord) -> dict[str, Any]:
    """Return a log line as a document; what is not known is left out."""
    own = {
        "source": line.source,
        "line": line.line,
        "rank": line.rank,
        "gpu": line.gpu,
        "attempt": line.attempt,
        "provenance": line.provenance.value,
        "kept": line.kept.value,
        "timed": None if line.time_ms is not None else False,
        "words": " ".join(words(line.text)),
    }
    log: dict[str, Any] = {"offset": line.offset_bytes, "file": {"path": line.stream}}
    if line.level is not None:
        log["level"] = line.level
    found: dict[str, Any] = {
        "@timestamp": at_ms(line),
        "message": line.text,
        "ecs": _ECS,
        "event": {"kind": "event", "module": "relight", "dataset": "relight.logs", "created": line.observed_ms},
        "log": log,
        "orchestrator": {"cluster": {"name": line.cluster}},
        "relight": {name: value for name, value in own.items() if value is not None},
    }
    if line.host is not None:
        found["host"] = {"name": line.host}
    if line.job is not None:
        found["orchestrator"]["resource"] = {"name": line.job}
    return found


def line_of(name: str, source: dict[str, Any]) -> LogRecord:
    """Return the log line that a document is of."""
    event, log, own = source["event"], source["log"], source["relight"]
    return LogRecord(
        id=name,
        cluster=source["orchestrator"]["cluster"]["name"],
        source=own["source"],
        stream=log["file"]["path"],
        line=own["line"],
        offset_bytes=log["offset"],
        text=source["message"],
        observed_ms=event["created"],
        time_ms=source["@timestamp"] if own.get("timed", True) else None,
        host=source.get("host", {}).get("name"),
        rank=own.get("rank"),
        gpu=own.get("gpu"),
        job=source["orchestrator"].get("resource", {}).get("name"),
        attempt=own.get("attempt"),
        level=log.get("level"),
        provenance=own["provenance"],
        kept=own["kept"],
    )


def day_of(line: LogRecord, kept_days: int) -> str:
    """Return the day in whose index a line lies: that of its time, as `2026.05.12`.

    A time that cannot be names no day: with it a damaged clock or a hostile line could make an index for every day
    there is. Then it is the day when it was read.
    """
    return datetime.fromtimestamp(counted_ms(line, kept_days) / 1000, UTC).strftime("%Y.%m.%d")


def incident_source(document: IncidentDocument, ingested_ms: int) -> dict[str, Any]:
    """Return an incident as a document."""
    found, history, verdict = facets(document), document.history, document.verdict
    event = {
        "kind": "alert",
        "module": "relight",
        "dataset": "relight.incidents",
        "id": document.id,
        "created": found.opened_ms,
        "ingested": ingested_ms,
        "start": found.began_ms,
        "end": found.ended_ms,
        "severity": found.severity,
        "outcome": "failure" if found.impact == "failed" else "unknown",
    }
    own = {
        "id": document.id,
        "version": document.version,
        "state": found.state,
        "settled": history.settled,
        "updated": found.updated_ms,
        "week": found.week,
        "fault": found.fault,
        "signature": found.signature,
        "severity": list(Severity)[found.severity].value,
        "impact": found.impact,
        "domain": found.domain,
        "confidence": found.confidence / 1000,
        "job": found.job,
        "run": history.opened.run if history.opened else None,
        "attempt": history.opened.attempt if history.opened else None,
        "merged_into": history.merged_into,
        "verdict": verdict.judgement.value if verdict else None,
        "actual_fault": verdict.actual if verdict else None,
        "ranks": found.ranks,
        "detection_ms": found.detection_ms,
        "recovery_ms": found.recovery_ms,
        "lost_gpu_ms": found.lost_gpu_ms,
        "words": found.words,
        "timeline": [moment.model_dump(mode="json") for moment in document.timeline],
        "document": document.model_dump(mode="json"),
        **_diagnosis(document, found.blamed),
    }
    orchestrator: dict[str, Any] = {"cluster": {"name": found.cluster}}
    if found.job is not None:
        orchestrator["resource"] = {"name": found.job}
    return {
        "@timestamp": found.opened_ms,
        "message": own.get("title") or found.signature,
        "ecs": _ECS,
        "event": _known(event),
        "host": {"name": list(found.hosts)},
        "orchestrator": orchestrator,
        "rule": {"name": found.signature, "category": found.fault},
        "relight": _known(own),
    }


def _diagnosis(document: IncidentDocument, blamed: str | None) -> dict[str, Any]:
    if document.history.diagnosed is None:
        return {}
    diagnosed = document.history.diagnosed
    found, first = diagnosed.diagnosis, diagnosed.diagnosis.first_cause
    culprit = {name: getattr(found.culprit, name) for name in ("kind", "name", "gpu")} | {"host": blamed}
    return {
        "title": found.title,
        "meaning": found.meaning,
        "action": found.action,
        "playbook": found.playbook,
        "retry_outlook": found.retry_outlook.value,
        "provenance_verified": diagnosed.provenance_verified,
        "culprit": _known(culprit),
        "first_cause": None if first is None else {"source": first.source, "line": first.line, "text": first.text},
    }


def incident_of(source: dict[str, Any]) -> IncidentDocument:
    """Return the incident that a document is of."""
    return IncidentDocument.model_validate(source["relight"]["document"])


def moment_sources(document: IncidentDocument) -> list[tuple[str, dict[str, Any]]]:
    """Return the moments of an incident as documents with their ids: what Kibana shows as its timeline."""
    return [
        (
            moment.id,
            {
                "@timestamp": round(moment.time.timestamp() * 1000),
                "message": moment.text,
                "ecs": _ECS,
                "event": {
                    "kind": "event",
                    "module": "relight",
                    "dataset": "relight.timeline",
                    "id": moment.id,
                    "action": moment.event,
                    "sequence": moment.sequence,
                },
                "orchestrator": {"cluster": {"name": document.cluster}},
                "relight": {"id": document.id},
            },
        )
        for moment in document.timeline
    ]


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
