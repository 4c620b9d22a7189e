"""Words of a text and of a search for it, taken apart here and not by the stores, so that all of them find the same."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

LONGEST: Final = 100
"""A word is known by so many of its first characters."""
MOST: Final = 64
"""A search is for so many words at most, its first ones: stores do not take expressions without end."""

_WORD: Final = re.compile(r"[^\W_]+")
_ITEM: Final = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


def words(text: str) -> list[str]:
    """Return the words of a text: letters and digits, in lower case. What is between them only separates."""
    return [word[:LONGEST] for word in _WORD.findall(text.lower())]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Words that must stand together in this order, or one beginning of a word; or must not, where it is `without`."""

    words: tuple[str, ...]
    beginning: bool = False
    without: bool = False


def wanted(search: str) -> list[Wanted]:
    """Return what a search asks for; it never fails: what makes no sense as a search is words as well.

    `node03/kern.log` asks for three words that stand together, `nccl*` for a word's beginning. What is beyond the first
    `MOST` words is left out.
    """
    found: list[Wanted] = []
    left = MOST
    for one in (one for match in _ITEM.finditer(search) for one in _meant(*match.groups())):
        found.append(replace(one, words=one.words[:left]))
        left -= len(one.words)
        if left <= 0:
            break
    return found


def _meant(minus: str, quoted: str | None, bare: str | None) -> Iterator[Wanted]:
    found = tuple(words(bare or quoted or ""))
    without = bool(minus)
    if not found:
        return
    if bare is not None and bare.endswith("*"):
        if found[:-1]:
            yield Wanted(found[:-1], without=without)
        if not (found[:-1] and without):
            yield Wanted(found[-1:], beginning=True, without=without)
        return
    yield Wanted(found, without=without)
