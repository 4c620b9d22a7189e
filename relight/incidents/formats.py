"""A list of incidents for other programs and documents: JSON, JSON lines, CSV, Markdown and HTML, piece by piece."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from relight.incidents.cells import harmless
from relight.incidents.cleaning import plain
from relight.incidents.pages import page
from relight.incidents.rows import Row, computed, row_of
from relight.incidents.times import iso, stamp
from relight.reports.markdown import code, prose
from schemas.document import IncidentDocument

COLUMNS: Final = (
    "id", "cluster", "state", "opened_utc", "updated_utc", "ended_utc", "severity", "impact", "fault", "domain",
    "confidence", "culprit", "job", "hosts", "ranks", "title", "detection_s", "recovery_s", "lost_gpu_h_at_least",
)  # fmt: skip
"""The header of CSV. Hosts are separated by spaces."""


def as_json(documents: Iterable[IncidentDocument]) -> Iterator[str]:
    """Yield a JSON array of the documents in full, one a line, each with what is computed of it."""
    yield "["
    for number, document in enumerate(documents):
        yield ("," if number else "") + "\n" + _object(document)
    yield "\n]\n"


def as_jsonl(documents: Iterable[IncidentDocument]) -> Iterator[str]:
    """Yield the documents in full, one a line, each with what is computed of it."""
    for document in documents:
        yield _object(document) + "\n"


def as_csv(documents: Iterable[IncidentDocument]) -> Iterator[str]:
    """Yield rows under a header. A text that a spreadsheet would take for a formula has an apostrophe before it."""
    yield _csv(COLUMNS)
    for document in documents:
        yield _csv(_cells(row_of(document)))


def as_markdown(documents: Iterable[IncidentDocument]) -> Iterator[str]:
    """Yield a table in the dialect of GitHub."""
    yield "| id | opened (UTC) | state | severity | fault | culprit | job | what |\n|---|---|---|---|---|---|---|---|\n"
    for row in map(row_of, documents):
        told = (row.fault, row.culprit, row.job or "", row.title)
        cells = (code(row.id[:8], cell=True), stamp(row.opened_s), row.state, row.severity, *map(prose, told))
        yield f"| {' | '.join(cells)} |\n"


def as_html(documents: Iterable[IncidentDocument], place: str, total: int) -> Iterator[str]:
    """Yield a page with a table."""
    yield page("list.html.j2", rows=[row_of(document) for document in documents], place=place, total=total)


def told(document: IncidentDocument) -> dict[str, object]:
    """Return an incident as JSON has it: the document, and what is computed of it."""
    own = plain(document.model_dump(mode="json"))
    row = row_of(document)
    return {"id": row.id, "version": row.version, **own, "computed": computed(row)}


def _object(document: IncidentDocument) -> str:
    return orjson.dumps(told(document)).decode()


def _cells(row: Row) -> tuple[object, ...]:
    return (
        row.id, row.cluster, row.state, iso(row.opened_s), iso(row.updated_s), iso(row.ended_s), row.severity.value,
        row.impact, row.fault, row.domain, row.confidence, row.culprit, row.job, " ".join(row.hosts), row.ranks,
        row.title, row.detection_s, row.recovery_s, row.lost_gpu_h,
    )  # fmt: skip


def _csv(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(harmless, cells))
    return line.getvalue()
