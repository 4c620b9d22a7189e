"""The report for programs: the model as JSON, keys in the order in which they are declared."""

import orjson

from schemas.incident import ScanReport


def as_json(report: ScanReport) -> str:
    """Return the report as one indented JSON document; the same report gives the same bytes."""
    return orjson.dumps(report.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_jsonl(report: ScanReport) -> str:
    """Return a line of JSON for every run and every incident, each with its `type` first."""
    rows = [{"type": "run", **run.model_dump(mode="json")} for run in report.runs]
    rows += [{"type": "incident", **incident.model_dump(mode="json")} for incident in report.incidents]
    return "".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE).decode() for row in rows)
