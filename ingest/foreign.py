"""Reads records of shippers that are not relight's: a log line a record, raw or JSON. Chunks: `schemas.shipped`.

Fluent Bit, Vector, Filebeat and rsyslog are read as they send by default and as their documentation shows. What a
record says of itself is text that someone sent: nothing here vouches for it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from ingest.formats import records, syslog
from ingest.formats.recogniser import Hints, host_stem, text_of
from ingest.formats.records import Record, nested_text
from ingest.spool import Blocks, binary
from schemas.record import Origin

MAX_BYTES: Final = 1024 * 1024
"""The largest record that is read as a line."""

UNKNOWN_HOST: Final = "unknown"

_CONTROLS: Final = bytes(set(range(32)) - set(b"\a\b\t\n\v\f\r\x1b"))
_HEADERS: Final = {byte: [row.recognise for row in syslog.FORMATS if byte in row.first] for byte in b"JFMASOND12<"}
_HOST: Final = re.compile(rb"(?=[^.]*[a-zA-Z.])(?=.*[0-9.])[a-zA-Z0-9][a-zA-Z0-9.-]{0,251}[a-zA-Z0-9]")
"""A host's name or address. It has a digit or a dot: a word is more likely to be the same key for all."""
_SPREADING: Final = re.compile(rb"[0-9a-fA-F-]{16,}")
"""A key that spreads records, such as a UUID."""
_SLASHES: Final = re.compile(rb"(\\\\)|\\(/)")
_HOUR_MS: Final = 3_600_000

_FILES: Final = ("file", "log.file.path", "path", "filename", "file_path", "filepath", "source")
_SYSLOG: Final = ("syslogtag", "appname", "ident", "programname")
_LABELS: Final = (
    "training.kubeflow.org/job-name",
    "jobset.sigs.k8s.io/jobset-name",
    "volcano.sh/job-name",
    "ray.io/originated-from-cr-name",
    "ray.io/cluster",
    "batch.kubernetes.io/job-name",
    "job-name",
)
"""The labels that name a run, the outermost first: JobSet and Ray make jobs of their own for the pods of one."""
_JOBS: Final = tuple(spelling for label in _LABELS for spelling in (label, label.replace(".", "_")))
"""The labels, also as Filebeat writes them."""
_ATTEMPTS: Final = ("jobset.sigs.k8s.io/restart-attempt", "jobset_sigs_k8s_io/restart-attempt")
_SLURM_JOBS: Final = ("slurm_job_id", "SLURM_JOB_ID", "slurm_jobid", "SLURM_JOBID")
_RESTARTS: Final = ("slurm_restart_count", "SLURM_RESTART_COUNT")


@dataclass(frozen=True, slots=True)
class ForeignLine:
    r"""A line and where it came from, as its record tells.

    `stream` is a file's path, `namespace/pod/container`, `journal`, `syslog`, or `lines` where none of them is told.
    `segment` is the line without its end: as it was, or a JSON object on one line. A raw record may hold several
    segments, with `\n` between them. `time_s` is Unix time in seconds. `None`: not told.
    """

    host: str
    stream: str
    segment: bytes
    job: str | None = None
    attempt: str | None = None
    rank: int | None = None
    time_s: float | None = None


def foreign_line(value: bytes | None, key: bytes | None, time_ms: int) -> ForeignLine:
    """Read a record that holds one log line.

    Args:
        value: The record's value.
        key: The record's key: the host of a line that names none, if it looks like a host's name.
        time_ms: When the record was appended (Unix, milliseconds). It lends a year to stamps that have none.

    Raises:
        ValueError: the record is no log line; the message says why, and what to change.
    """
    if value is None:
        raise ValueError("the record has no value")
    if len(value) > MAX_BYTES:
        raise ValueError(f"{len(value):,} bytes: more than the {MAX_BYTES:,} that a log line may have")
    segment = value.rstrip(b"\r\n")
    if not segment:
        raise ValueError("the record is empty")
    if (start := segment.lstrip()[:1]) in (b"{", b"["):
        fields = _object(segment, start)
        if fields is not None:
            return _record(segment, fields, key, time_ms)
    return _raw(segment, key, time_ms)


def _object(segment: bytes, start: bytes) -> Record | None:
    """Return the JSON object that a segment is, `None` for text. An array of objects is many lines."""
    if start == b"{":
        return records.parsed(segment)
    if segment.lstrip()[1:].lstrip()[:1] == b"{" and segment.rstrip()[-1:] == b"]":
        raise ValueError("a JSON array: let the shipper send one record a line, not a batch as one record")
    return None


def _raw(segment: bytes, key: bytes | None, time_ms: int) -> ForeignLine:
    if len(segment.translate(None, _CONTROLS)) != len(segment) and (kind := binary(Blocks("", iter((segment,))))):
        raise ValueError(f"no text: {kind}")
    if segment[0] >= 0x80 and b"@timestamp" in segment[:16]:
        raise ValueError("MessagePack: set `format json` in Fluent Bit's output")
    header = _header(segment, time_ms)
    if header is None:
        return ForeignLine(_host_in(key) or UNKNOWN_HOST, "lines", segment)
    return ForeignLine(header.host or _host_in(key) or UNKNOWN_HOST, "syslog", segment, time_s=header.time_s)


def _header(line: bytes, time_ms: int) -> Origin | None:
    """Return what the syslog header of a line tells, `None` if it has none."""
    found = _HEADERS.get(line[0]) if line else None
    if found is None:
        return None
    hints = _hints(time_ms // _HOUR_MS)
    for recognise in found:
        if peeled := recognise(line, hints):
            _, origin, label = peeled
            return origin if recognise is not syslog.iso or _likely(origin.host or "", label) else None
    return None


@lru_cache(maxsize=64)
def _hints(hour: int) -> Hints:
    """Return the hints for a syslog of an hour since 1970."""
    return Hints(syslog=True, modified_s=hour * _HOUR_MS / 1000)


def _likely(host: str, label: str) -> bool:
    """Tell whether `<ISO stamp> word word:` is a syslog's: any program may begin its lines so."""
    numbered = host.rpartition("-")[2].isdigit()
    return numbered or label.endswith(("]", "kernel")) or host_stem(host.encode()) is not None


@lru_cache(maxsize=4096)
def _host_in(key: bytes | None) -> str | None:
    """Return the host that a record's key names, `None` if it does not look like one."""
    if key is None or not _HOST.fullmatch(key) or _SPREADING.fullmatch(key):
        return None
    return text_of(key)


def _record(segment: bytes, fields: Record, key: bytes | None, time_ms: int) -> ForeignLine:
    host, stream = records.host_of(fields), _stream(fields)
    header = None
    if host is None or stream is None:
        header = _header(records.message_of(fields) or b"", time_ms)
    time_s = records.journal_time_of(fields) if stream == "journal" else records.time_of(fields)
    if time_s is None and header is not None:
        time_s = header.time_s
    job, attempt = _run(fields)
    return ForeignLine(
        host=host or (header and header.host) or _host_in(key) or UNKNOWN_HOST,
        stream=stream or ("syslog" if header else "lines"),
        segment=_one_line(segment),
        job=job,
        attempt=attempt,
        rank=records.rank_of(fields),
        time_s=time_s,
    )


def _one_line(segment: bytes) -> bytes:
    """Return a JSON object on one line, slashes unescaped: rsyslog escapes them, and patterns look for paths."""
    line = segment.strip().replace(b"\r", b" ").replace(b"\n", b" ")
    return _SLASHES.sub(rb"\1\2", line) if b"\\/" in line else line


def _stream(fields: Record) -> str | None:
    """Return the stream that a record tells, the one that people know best first."""
    pod = fields.get("kubernetes")
    if isinstance(pod, dict) and (name := _pod(pod)):
        return name
    if file := nested_text(fields, "log", "file", "path"):
        return file
    for key in _FILES:
        if key in fields and isinstance(path := fields[key], str) and path[:1] == "/":
            return path
    if file := nested_text(fields, "$!", "metadata", "filename"):
        return file
    if container := nested_text(fields, "container_name"):
        return container.lstrip("/")
    if records.is_journal(fields) or "journald" in (fields.get("source_type"), nested_text(fields, "input", "type")):
        return "journal"
    return "syslog" if any(key in fields for key in _SYSLOG) else None


def _pod(pod: Record) -> str:
    """Return `namespace/pod/container` as far as it is known, empty if the pod is not."""
    name = pod.get("pod_name") or nested_text(pod, "pod", "name")
    if not isinstance(name, str):
        return ""
    namespace = pod.get("namespace_name") or pod.get("pod_namespace") or pod.get("namespace")
    container = pod.get("container_name") or nested_text(pod, "container", "name")
    return "/".join(part for part in (namespace, name, container) if isinstance(part, str))


def _run(fields: Record) -> tuple[str | None, str | None]:
    """Return job and attempt, from the labels of a pod or from what an operator lets the shipper add."""
    pod = fields.get("kubernetes")
    if isinstance(pod, dict):
        labels = pod.get("labels") or pod.get("pod_labels")
        if isinstance(labels, dict) and (job := _first(labels, _JOBS)):
            return job, _first(labels, _ATTEMPTS)
    for scope in _scopes(fields):
        if job := _first(scope, _SLURM_JOBS):
            return job, _first(scope, _RESTARTS)
    return None, None


def _scopes(fields: Record) -> Iterator[Record]:
    """Yield where added fields stand: beside the others, or as Filebeat has them."""
    yield fields
    for name in ("fields", "labels"):
        if isinstance(scope := fields.get(name), dict):
            yield scope


def _first(scope: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first of some values that is a text or a number."""
    for name in names:
        value = scope.get(name)
        if isinstance(value, str) and value:
            return value
        if type(value) is int:
            return str(value)
    return None
