"""What a way to tell people is, and telling a message by all of them.

A way that fails keeps no other from being used.

NotTold
└── MaybeTold     it may have arrived; it is not repeated
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from relight.notify.cleaning import line
from relight.notify.message import Message
from relight.notify.posting import Answer, MaybePosted, NotPosted, Poster

PAUSES_S: Final = (1.0, 3.0)
"""How long is waited before what was surely not told is tried again."""
_BUSY: Final = 429


class NotTold(Exception):
    """Nobody was told by this way. `again`: another try may help."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        """Take the reason and whether another try may help."""
        super().__init__(reason)
        self.again = again


class MaybeTold(NotTold):
    """It may have arrived."""


class Way(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> str:
        """Return what it is and where it leads, without what lets one in."""
        ...

    @property
    def repeatable(self) -> bool:
        """Tell whether telling twice is the same as telling once."""
        ...

    def tell(self, message: Message) -> str:
        """Tell a message, and return what is to be noted about that, mostly nothing.

        Raises:
            NotTold: it was not told, or that is not sure.
        """
        ...


@dataclass(frozen=True, slots=True)
class Telling:
    """How a message was told: by which ways it was, by which maybe, and by which not; each with the reason."""

    told: tuple[str, ...]
    maybe: tuple[str, ...]
    failed: tuple[str, ...]

    def __str__(self) -> str:
        """Return it in words, a line for each way."""
        parts = (("told by", self.told), ("maybe told by", self.maybe), ("not told by", self.failed))
        return "\n".join(f"{how} {way}" for how, ways in parts for way in ways)


def tell(ways: Sequence[Way], message: Message, waited: Callable[[float], bool]) -> Telling:
    """Tell a message by all ways. `waited(seconds)` waits, and tells whether to give up trying again."""
    told: list[str] = []
    maybe: list[str] = []
    open_ways, failed = list(ways), dict[Way, str]()
    for pause_s in (*PAUSES_S, None):
        again: list[Way] = []
        for way in open_ways:
            failed.pop(way, None)
            try:
                note = way.tell(message)
            except MaybeTold as error:
                maybe.append(f"{way.name}: {error}")
            except NotTold as error:
                failed[way] = f"{way.name}: {error}"
                again += [way] if error.again else []
            else:
                told.append(f"{way.name}: {note}" if note else way.name)
        open_ways = again
        if not open_ways or pause_s is None or waited(pause_s):
            break
    return Telling(tuple(told), tuple(maybe), tuple(failed.values()))


def posted(
    poster: Poster, body: bytes, kind: str, headers: Mapping[str, str] = {}, *, repeatable: bool = False
) -> None:
    """Post a message. Only an answer of 200 to 299 is a success.

    Raises:
        NotTold: it was refused, or not sent, or that is not sure.
    """
    try:
        answer = poster.post(body, kind, headers)
    except NotPosted as error:
        raise NotTold(str(error), again=error.again) from error
    except MaybePosted as error:
        if repeatable:
            raise NotTold(str(error), again=True) from error
        raise MaybeTold(str(error)) from error
    if not 200 <= answer.status < 300:
        raise _refusal(answer, repeatable=repeatable)


def _refusal(answer: Answer, *, repeatable: bool) -> NotTold:
    why = f"answered {answer.status} {line(answer.text, 200)}".rstrip()
    if answer.status >= 500:
        return NotTold(why, again=True) if repeatable else MaybeTold(why)
    return NotTold(why, again=answer.status == _BUSY)
