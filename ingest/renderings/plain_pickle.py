"""Reads pickles of plain data (dicts, lists, texts, numbers) and refuses all others; nothing is imported or called.

A pickle is a program. Of its instructions only those are known here that build plain data, so there is nothing that
could run code. Input and instructions are bounded, and an instruction makes one object at most: so is memory.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

MOST_INSTRUCTIONS: Final = 4_000_000
"""A dump of 2,000 collectives takes 130,000."""

_WHAT_RUNS: Final = frozenset(b"cioRbQP\x81\x82\x83\x84\x92\x93")
"""GLOBAL, INST, OBJ, REDUCE, BUILD, persistent ids, NEWOBJ, extensions, NEWOBJ_EX and STACK_GLOBAL."""


class NotPlain(ValueError):
    """Bytes are no pickle of plain data; the message says why, in a few words."""


def loads(data: bytes) -> Any:
    """Return what a pickle of protocol 2 to 5 holds. Lists and dicts in it may be shared, or hold themselves.

    Raises:
        NotPlain: It holds something else than plain data, is damaged, or is too large.
    """
    machine = _Machine(data)
    try:
        return machine.run()
    except (IndexError, KeyError, struct.error, TypeError) as error:
        raise NotPlain(f"its instructions make no sense before byte {machine.at}") from error
    except UnicodeDecodeError as error:
        raise NotPlain("it holds a text that is not UTF-8") from error


class _Machine:
    """The state of reading: the place in the bytes, the stack, the stacks below marks, and what has a number."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        data, steps = self.data, _STEPS
        for _ in range(MOST_INSTRUCTIONS):
            if self.at >= len(data):
                raise NotPlain("it ends in the middle")
            code = data[self.at]
            self.at += 1
            if code == _STOP:
                return self.stack.pop()
            step = steps.get(code)
            if step is None:
                raise NotPlain(_refusal(code, self.at - 1))
            step(self)
        raise NotPlain(f"it has more than {MOST_INSTRUCTIONS:,} instructions")

    def number(self, size: int) -> int:
        """Take an unsigned number of `size` bytes."""
        return int.from_bytes(self.taken(size), "little")

    def taken(self, size: int) -> bytes:
        begin, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise NotPlain("it ends in the middle")
        return self.data[begin : self.at]

    def skip(self, size: int) -> None:
        """Pass over a protocol's number or a frame's size: they say nothing that is needed."""
        self.taken(size)

    def marked(self) -> list[Any]:
        """Take what lies above the last mark."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def tuple_of(self, size: int) -> None:
        items = tuple(self.stack[-size:])
        if len(items) != size:
            raise NotPlain(f"its instructions make no sense before byte {self.at}")
        self.stack[-size:] = [items]

    def tuple_marked(self) -> None:
        items = tuple(self.marked())
        self.stack.append(items)

    def set_items(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if not isinstance(into, dict):
            raise NotPlain("it puts a key into something that is no dict")
        if len(items) % 2:
            raise NotPlain(f"its instructions make no sense before byte {self.at}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise NotPlain("it has keys that are neither texts nor numbers")
            into[key] = value

    def append(self, items: list[Any]) -> None:
        into = self.stack[-1]
        if not isinstance(into, list):
            raise NotPlain("it appends to something that is no list")
        into.extend(items)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])


def _refusal(code: int, at: int) -> str:
    import pickletools  # only to name what is refused

    known = {op.code: op for op in pickletools.opcodes}.get(chr(code))
    if known is None:
        return f"byte {at} is no instruction"
    if code in _WHAT_RUNS:
        return f"it would run code ({known.name} at byte {at}), and only plain data is read"
    return f"byte {at} is {known.name}, which plain data does not need"


def _pushes(value: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda m: m.stack.append(value(m))


_STOP: Final = ord(".")
_STEPS: Final[dict[int, Callable[[_Machine], None]]] = {
    ord(code): step
    for code, step in {
        "h": _pushes(lambda m: m.memo[m.number(1)]),
        "j": _pushes(lambda m: m.memo[m.number(4)]),
        "(": _Machine.mark,
        "N": _pushes(lambda m: None),
        "\x88": _pushes(lambda m: True),
        "\x89": _pushes(lambda m: False),
        "K": _pushes(lambda m: m.number(1)),
        "M": _pushes(lambda m: m.number(2)),
        "J": _pushes(lambda m: struct.unpack("<i", m.taken(4))[0]),
        "\x8a": _pushes(lambda m: int.from_bytes(m.taken(m.number(1)), "little", signed=True)),
        "G": _pushes(lambda m: struct.unpack(">d", m.taken(8))[0]),
        "X": _pushes(lambda m: m.taken(m.number(4)).decode("utf-8", "surrogatepass")),
        "\x8c": _pushes(lambda m: m.taken(m.number(1)).decode("utf-8", "surrogatepass")),
        "\x8d": _pushes(lambda m: m.taken(m.number(8)).decode("utf-8", "surrogatepass")),
        "B": _pushes(lambda m: m.taken(m.number(4))),
        "C": _pushes(lambda m: m.taken(m.number(1))),
        "}": _pushes(lambda m: {}),
        "]": _pushes(lambda m: []),
        ")": _pushes(lambda m: ()),
        "\x85": lambda m: m.tuple_of(1),
        "\x86": lambda m: m.tuple_of(2),
        "\x87": lambda m: m.tuple_of(3),
        "t": lambda m: m.tuple_marked(),
        "u": lambda m: m.set_items(m.marked()),
        "s": _Machine.set_item,
        "e": lambda m: m.append(m.marked()),
        "a": lambda m: m.append([m.stack.pop()]),
        "q": lambda m: m.memo.__setitem__(m.number(1), m.stack[-1]),
        "r": lambda m: m.memo.__setitem__(m.number(4), m.stack[-1]),
        "\x94": lambda m: m.memo.__setitem__(len(m.memo), m.stack[-1]),
        "\x80": lambda m: m.skip(1),
        "\x95": lambda m: m.skip(8),
    }.items()
}
