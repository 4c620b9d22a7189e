"""Alerts of an Alertmanager as log lines: its webhook's payload (version 4) read, and each alert rendered on one line.

    2025-02-03T04:05:06.123Z alert firing GpuXidError host=node07 gpu=3 xid=79 severity=critical summary="..."

What an alert is about stands in front, in this order, then its other labels, then its annotations, by name. A line's
source follows from the alert (fingerprint, start and status) and its length is always the same, so an alert that is
sent again has no byte that was not there: it changes nothing, whatever its annotations say by now.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Annotated, Final, Literal, NamedTuple

import orjson
import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ingest.foreign import UNKNOWN_HOST
from ingest.redaction import shown
from schemas.faults import fault_classes
from schemas.shipped import Shipped
from schemas.vocabulary import Provenance

VERSION: Final = "4"
STREAM: Final = "alertmanager"
LINE_BYTES: Final = 2048
"""How long a line is, with what fills it up and its end."""
VALUE_CHARACTERS: Final = 300
"""So much of a label or an annotation is kept."""
FIELDS: Final = 64
"""So many labels and annotations are kept of an alert."""

_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_PORT: Final = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^\[\]:]+)):[0-9]{1,5}")
_LOOPBACK: Final = re.compile(r"localhost|127\.[0-9.]+|::1")
_BARE: Final = re.compile(r"[A-Za-z0-9._:/@%+-]{1,300}")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_JOB: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/\[\]-]{0,199}")
_FORMS: Final = {
    "gpu": re.compile(r"[0-9]{1,4}"),
    "gpu_uuid": re.compile(r"(?:GPU|MIG)-[0-9A-Za-z-]{1,80}"),
    "pci": re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f])?"),
    "xid": re.compile(r"[1-9][0-9]{0,4}"),
}
"""What says which part of a host it is about, and how that looks."""


class NoWebhook(ValueError):
    """A body is no webhook of an Alertmanager that can be read. The message says why and what to do."""


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Alert(_Sent):
    """An alert as the webhook tells it."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(None, alias="endsAt")
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """Return its name as one word."""
        return _NO_NAME.sub("_", self.labels.get("alertname", "")[:VALUE_CHARACTERS]) or "unnamed"

    @property
    def stream(self) -> str:
        """Return what it has in common with itself at other times: it is one of its labels."""
        told = self.fingerprint or orjson.dumps(self.labels, option=orjson.OPT_SORT_KEYS).decode()
        return f"{STREAM}/{_digest(told)}"

    @property
    def id(self) -> str:
        """Return what tells it from all others, and is the same whenever it is sent."""
        return _digest(self.stream, self.starts_at.timestamp(), self.status)

    @property
    def of_relight(self) -> bool:
        """Tell whether relight itself has sent it: heard again, an incident would be a reason for itself."""
        return "incident" in self.labels and self.labels.get("alertname") in fault_classes()


class Webhook(_Sent):
    """The payload of a webhook."""

    version: Annotated[str, Field(pattern=f"^{VERSION}$")]
    alerts: tuple[Alert, ...]
    truncated: int = Field(0, ge=0, alias="truncatedAlerts")


class Subject(NamedTuple):
    """What an alert is about, as far as its labels tell."""

    host: str | None
    parts: Mapping[str, str]
    job: str | None


@dataclass(frozen=True, slots=True)
class _Labels:
    """Which labels say what: `alert_labels.yaml`."""

    host: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]
    job: tuple[str, ...]
    pod: tuple[str, ...]
    job_of_pod: re.Pattern[str]
    not_of_instance: frozenset[str]


def webhook(body: bytes) -> Webhook:
    """Read the body of a webhook. Raises: NoWebhook."""
    try:
        return Webhook.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NoWebhook(
            f"this is no webhook of an Alertmanager, version {VERSION}: {f'{where}: ' if where else ''}{first['msg']}."
            " Let a webhook_configs of Alertmanager post here, with the payload as it is"
        ) from None


def shipped(alert: Alert, cluster: str, now_ms: int) -> tuple[Shipped, bytes]:
    """Return an alert as a chunk of one line, with its headers.

    Args:
        alert: What has been sent.
        cluster: The cluster that the Alertmanager watches.
        now_ms: When it was received (Unix, milliseconds).
    """
    subject = subject_of(alert.labels)
    header = Shipped(
        cluster=cluster,
        host=subject.host or UNKNOWN_HOST,
        stream=alert.stream,
        provenance=Provenance.MONITOR,
        attested=True,
        generation=alert.id,
        offset_bytes=0,
        line=1,
        observed_ms=now_ms,
        complete=True,
        job=subject.job,
    )
    return header, filled(rendered(alert, subject))


def rendered(alert: Alert, subject: Subject) -> str:
    """Return an alert as a line, masked, without anything that a terminal obeys."""
    ended = alert.status == "resolved" and alert.ends_at is not None and alert.ends_at >= alert.starts_at
    at = alert.ends_at if ended and alert.ends_at is not None else alert.starts_at
    stamp = min(max(at, _EARLIEST), _LATEST).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return shown(" ".join((stamp, "alert", alert.status, alert.name, *_fields(alert, subject))))


def filled(line: str) -> bytes:
    """Return a line as `LINE_BYTES` bytes: cut, or filled up with carriage returns, which are no part of it."""
    text = line.encode()[: LINE_BYTES - 1].decode("utf-8", "ignore").encode()
    return text.ljust(LINE_BYTES - 1, b"\r") + b"\n"


def subject_of(labels: Mapping[str, str]) -> Subject:
    """Return what an alert with these labels is about."""
    known = _labels()
    parts = {name: _first(labels, of, _FORMS[name]) for name, of in known.parts.items()}
    job = _first(labels, known.job, _JOB)
    if job is None:
        pods = (known.job_of_pod.fullmatch(labels.get(name, "")[:VALUE_CHARACTERS]) for name in known.pod)
        job = next((pod[1] for pod in pods if pod and _JOB.fullmatch(pod[1])), None)
    return Subject(_host(labels), {name: value for name, value in parts.items() if value is not None}, job)


def _host(labels: Mapping[str, str]) -> str | None:
    known = _labels()
    for name in known.host:
        value = labels.get(name, "")[:VALUE_CHARACTERS]
        if name == "instance":
            if labels.get("job") in known.not_of_instance:
                continue
            value = named["six"] or named["name"] if (named := _PORT.fullmatch(value)) else value
        if _HOST.fullmatch(value) and not _LOOPBACK.fullmatch(value):
            return value
    return None


def _first(labels: Mapping[str, str], names: tuple[str, ...], form: re.Pattern[str]) -> str | None:
    return next((value for name in names if (value := labels.get(name)) and form.fullmatch(value)), None)


def _fields(alert: Alert, subject: Subject) -> Iterator[str]:
    """Yield the fields of a line: what it is about, and what else is said."""
    front = {"host": subject.host, **subject.parts, "job": subject.job}
    about = {name: value for name, value in front.items() if value is not None}
    yield from (f"{name}={_value(value)}" for name, value in about.items())
    others = {name: value for name, value in alert.labels.items() if name != "alertname" and about.get(name) != value}
    told = [*sorted(others.items()), *sorted(alert.annotations.items())]
    yield from (f"{_label(name, about)}={_value(value)}" for name, value in told[:FIELDS])


def _label(name: str, taken: Mapping[str, str]) -> str:
    """Return a label's name as one word that does not stand in front already; `job` is Prometheus' own."""
    word = _NO_NAME.sub("_", name[:VALUE_CHARACTERS]) or "_"
    return f"label_{word}" if word in taken or word in _FORMS or word in ("host", "job") else word


def _value(value: str) -> str:
    """Return a value as it is where it is one word, else in quotes as JSON has it."""
    cut = value if len(value) <= VALUE_CHARACTERS else f"{value[: VALUE_CHARACTERS - 1]}…"
    return cut if _BARE.fullmatch(cut) else orjson.dumps(cut.encode("utf-8", "replace").decode()).decode()


def _digest(*told: object) -> str:
    return blake2b(orjson.dumps(told), digest_size=8).hexdigest()


@cache
def _labels() -> _Labels:
    told = yaml.safe_load(files("ingest").joinpath("alert_labels.yaml").read_text(encoding="utf-8"))
    return _Labels(
        host=tuple(told["host"]),
        parts={name: tuple(told[name]) for name in _FORMS},
        job=tuple(told["job"]),
        pod=tuple(told["pod"]),
        job_of_pod=re.compile(told["job_of_pod"]),
        not_of_instance=frozenset(told["not_of_instance"]),
    )
