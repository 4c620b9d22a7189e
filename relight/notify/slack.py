"""Telling by an incoming webhook as Slack has them, and Mattermost, Rocket.Chat and others too.

The limits of blocks are those of Slack's reference of Block Kit: 150 characters in a header, 3,000 in a section.
Escaping makes a character five at most, so 500 characters of words fit. Blocks are `verbatim`, so that Slack makes no
links and no mentions of what logs hold; the text beside them, which others show, is kept from that here.
"""

import re
from typing import Final

import orjson

from relight.notify.message import Message, Told
from relight.notify.posting import JSON, Poster
from relight.notify.ways import posted

HEADER_CHARACTERS: Final = 150
_MENTION: Final = re.compile(r"(?<!\w)@(?=\w)")


class Slack:
    """An incoming webhook."""

    repeatable = False

    def __init__(self, poster: Poster) -> None:
        """Take what posts."""
        self._poster = poster
        self.name = f"Slack at {poster.place}"

    def tell(self, message: Message) -> str:
        """Post it. Raises: NotTold."""
        posted(self._poster, orjson.dumps(payload(message)), JSON)
        return ""


def payload(message: Message) -> dict[str, object]:
    """Return what is posted for a message."""
    rest = f"\nand {message.more:,} more" if message.more else ""
    before = f", {message.before:,} of the same outage were told of before" if message.before else ""
    channel = f", channel {escaped(message.channel)}" if message.channel != "default" else ""
    return {
        "text": _unlinked(escaped(message.text)),
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": message.title[:HEADER_CHARACTERS]}},
            _section(f"Decided since {escaped(message.since)}{before}{channel}"),
            *(_section(_line(told)) for told in message.told),
            *([_section(rest.strip())] if rest else []),
        ],
    }


def escaped(text: str) -> str:
    """Return a text with the three characters escaped that control Slack's own markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(told: Told) -> str:
    return f"*{escaped(told.incident)}*: {escaped(told.what)}\n_Told by {escaped(told.step)}_"


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "verbatim": True, "text": text}}


def _unlinked(text: str) -> str:
    """Return a text in which `@all` calls nobody and `![](...)` loads nothing: a space of no width is put between."""
    return _MENTION.sub("@\u200b", text).replace("](", "]\u200b(")
