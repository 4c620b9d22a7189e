"""Paths as people read them: the directory that all sources share is said once and left out everywhere else."""

import posixpath
import re
from typing import Any, Final

from schemas.incident import ScanReport

_NAMING: Final = frozenset({"source", "run", "id", "name", "path", "reason", "reasons", "summary", "why", "why_not"})
"""The fields that can name a source. What a log line says is not among them."""


def shared_directory(report: ScanReport) -> str:
    """Return the absolute directory that all sources lie in, with its last slash; empty where they share none."""
    places = [lane.source for run in report.runs for lane in run.lanes]
    places += [incident.first_cause.source for incident in report.incidents if incident.first_cause]
    if not places or not all(place.startswith("/") for place in places):
        return ""
    directory = posixpath.dirname(posixpath.commonpath(places)) if len(set(places)) == 1 else _common(places)
    return "" if directory in {"", "/"} else f"{directory}/"


def relative(report: ScanReport, directory: str) -> ScanReport:
    """Return a report in which sources and runs are named from a directory on."""
    if not directory:
        return report
    beginning = re.compile(rf"(?<![^\s'\"(=,]){re.escape(directory)}(?=.)")
    return ScanReport.model_validate(_relative(report.model_dump(), beginning, ""))


def _common(places: list[str]) -> str:
    return posixpath.commonpath([posixpath.dirname(place) for place in places])


def _relative(value: Any, beginning: re.Pattern[str], key: str) -> Any:
    if type(value) is str:
        return beginning.sub("", value) if key in _NAMING else value
    if isinstance(value, dict):
        return {name: _relative(item, beginning, name) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_relative(item, beginning, key) for item in value)
    return value
