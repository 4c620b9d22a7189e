"""Telling an Alertmanager, by its API v2: an alert for each incident, which it groups, silences and routes itself.

The labels are the same for the same incident, so telling twice is telling once. That an incident is resolved is not
told: an alert ends by itself after `FIRING_S`, for without an end Alertmanager would call it resolved after minutes.
"""

from datetime import UTC, datetime
from typing import Final

import orjson

from relight.notify.cleaning import line
from relight.notify.message import DEFAULT, Message
from relight.notify.posting import JSON, Poster
from relight.notify.ways import posted
from schemas.action import ResourceKind
from schemas.command import RecoveryCommand

PATH: Final = "/api/v2/alerts"
FIRING_S: Final = 4 * 3600
_LABEL: Final = 200
_DESCRIPTION: Final = 1000
_LATEST_S: Final = 253_402_300_799


class Alertmanager:
    """An Alertmanager."""

    repeatable = True

    def __init__(self, poster: Poster) -> None:
        """Take what posts to `PATH` of it."""
        self._poster = poster
        self.name = f"Alertmanager at {poster.place}"

    def tell(self, message: Message) -> str:
        """Post its alerts. Raises: NotTold."""
        posted(self._poster, orjson.dumps(alerts(message)), JSON, repeatable=True)
        return ""


def alerts(message: Message) -> list[dict[str, object]]:
    """Return the alerts of a message, one for each incident."""
    by_incident: dict[str, RecoveryCommand] = {}
    for command in message.commands:
        by_incident.setdefault(command.incident, command)
    return [_alert(message, command) for command in by_incident.values()]


def _alert(message: Message, command: RecoveryCommand) -> dict[str, object]:
    labels = {
        "alertname": message.fault,
        "cluster": message.cluster,
        "incident": line(command.incident, _LABEL),
        "host": _only(command, ResourceKind.HOST),
        "job": _only(command, ResourceKind.JOB),
        "severity": str(command.severity),
        "channel": message.channel if message.channel != DEFAULT else "",
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": message.title, "description": line(command.reason, _DESCRIPTION)},
        "startsAt": _moment(command.issued_s),
        "endsAt": _moment(command.issued_s + FIRING_S),
    }


def _only(command: RecoveryCommand, kind: ResourceKind) -> str:
    """Return the one host or job that an incident is about; nothing where there is none."""
    names = [each.name for each in command.about if each.kind is kind]
    return line(names[0], _LABEL) if len(names) == 1 else ""


def _moment(time_s: float) -> str:
    return datetime.fromtimestamp(time_s if 0 <= time_s <= _LATEST_S else 0, UTC).isoformat()
