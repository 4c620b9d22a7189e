"""Telling by a POST of a CloudEvent that holds the message and all commands of it. Tools read it, and people may."""

from typing import Final

import orjson

from relight.notify.message import Message
from relight.notify.posting import CLOUD_EVENT, Poster
from relight.notify.ways import posted
from schemas.events import SPEC

TYPE: Final = "notification.sent"
"""The type of the event."""


class Webhook:
    """A URL that takes CloudEvents 1.0 in structured JSON."""

    repeatable = False

    def __init__(self, poster: Poster) -> None:
        """Take what posts."""
        self._poster = poster
        self.name = f"webhook at {poster.place}"

    def tell(self, message: Message) -> str:
        """Post it. The id is the same for the same message, and the key `Idempotency-Key` too. Raises: NotTold."""
        posted(self._poster, event(message), CLOUD_EVENT, {"Idempotency-Key": message.id})
        return ""


def event(message: Message) -> bytes:
    """Return a message as an event. The commands in it are as they came, reasons too: show them as text only."""
    envelope = {
        "specversion": SPEC,
        "id": message.id,
        "source": "/relight/agent",
        "type": TYPE,
        "subject": f"channel/{message.channel}",
        "datacontenttype": "application/json",
        "data": {
            "cluster": message.cluster,
            "fault": message.fault,
            "channel": message.channel,
            "title": message.title,
            "text": message.text,
            "incidents": message.count,
            "told_before": message.before,
            "commands": [command.model_dump(mode="json") for command in message.commands],
        },
    }
    return orjson.dumps(envelope, option=orjson.OPT_SORT_KEYS)
