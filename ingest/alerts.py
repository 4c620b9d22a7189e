"""Alerts of an Alertmanager as log lines: its webhook's payload (version 4) read, and each alert rendered on one line.

    2025-02-03T04:05:06.123Z alert firing GpuXidError host=node07 gpu=3 xid=79 severity=critical summary="..."

What an alert is about stands in front, in this order, then its other labels, then its annotations, by name. A line's
source follows from the alert (fingerprint, start and status) and its length is always the same, so an alert that is
sent again has no byte that was not there: it changes nothing, whatever its annotations say by now.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Final, Literal

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ingest.foreign import UNKNOWN_HOST
from ingest.redaction import shown
from ingest.subjects import NAMES, Subject, subject_of
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
_BARE: Final = re.compile(r"[A-Za-z0-9._:/@%+-]{1,300}")
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_.:-]")


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


def _fields(alert: Alert, subject: Subject) -> Iterator[str]:
    """Yield the fields of a line: what it is about, and what else is said."""
    about = subject.told
    yield from (f"{name}={_value(value)}" for name, value in about.items())
    others = {name: value for name, value in alert.labels.items() if name != "alertname" and about.get(name) != value}
    told = [*sorted(others.items()), *sorted(alert.annotations.items())]
    yield from (f"{_label(name, about)}={_value(value)}" for name, value in told[:FIELDS])


def _label(name: str, taken: Mapping[str, str]) -> str:
    """Return a label's name as one word that does not stand in front already; `job` is Prometheus' own."""
    word = _NO_NAME.sub("_", name[:VALUE_CHARACTERS]) or "_"
    return f"label_{word}" if word in taken or word in NAMES else word


def _value(value: str) -> str:
    """Return a value as it is where it is one word, else in quotes as JSON has it."""
    cut = value if len(value) <= VALUE_CHARACTERS else f"{value[: VALUE_CHARACTERS - 1]}…"
    return cut if _BARE.fullmatch(cut) else orjson.dumps(cut.encode("utf-8", "replace").decode()).decode()


def _digest(*told: object) -> str:
    return blake2b(orjson.dumps(told), digest_size=8).hexdigest()
