r"""The most telling piece of a pattern: what an engine can look for as a mere literal, while RE2 checks the rest.

`mount\.nfs: .*access denied` is found by its longest fixed part. Every line that the pattern accepts holds the piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ENOUGH: Final = 12
"""A piece must hold so many fixed characters in a row, or the pattern is left whole."""

_QUANTIFIERS: Final = ("*", "+", "?", "{")
_CLASSES: Final = frozenset({".", r"\d", r"\w", r"\s", r"\S", r"\D", r"\W", r"\b"})


@dataclass(frozen=True, slots=True)
class _Node:
    """An atom with its tokens: a fixed character, a group of branches, or something that varies."""

    tokens: tuple[str, ...]
    branches: tuple[tuple["_Node", ...], ...] = ()
    fixed: bool = False

    @property
    def worth(self) -> int:
        """Return the length of the longest literal that a match of this atom is sure to hold."""
        if self.branches:
            return min(_worth(branch) for branch in self.branches)
        return int(self.fixed)


_NO_BRANCHES: Final[tuple[tuple[_Node, ...], ...]] = ()


def telling(tokens: Sequence[str]) -> list[str]:
    """Return the tokens of the most telling piece: of each branch, if the pattern is made of alternatives."""
    branches, _ = _branches(tokens, 0)
    return _alternatives(branches) or list(tokens)


def fixed_characters(tokens: Sequence[str]) -> int:
    """Return how many fixed characters in a row every match of a pattern is sure to hold."""
    branches, _ = _branches(tokens, 0)
    return min(_worth(branch) for branch in branches)


def _alternatives(branches: Sequence[Sequence[_Node]]) -> list[str] | None:
    """Return the best pieces of all branches as alternatives, or `None` where one of them has none."""
    joined: list[str] = []
    for branch in branches:
        piece = _best(branch)
        if piece is None:
            return None
        joined += ["|", *piece] if joined else piece
    return joined


def _best(nodes: Sequence[_Node]) -> list[str] | None:
    """Return the longest run of fixed characters, or the best pieces of a group if they are longer."""
    runs: list[list[_Node]] = [[]]
    for node in nodes:
        if node.fixed:
            runs[-1].append(node)
        else:
            runs.append([])
    run = max(runs, key=len)
    group = max(nodes, key=lambda node: node.worth, default=None)
    if group is not None and group.branches and group.worth > len(run):
        inner = _alternatives(group.branches)
        return ["(", *inner, ")"] if inner else None
    return [token for node in run for token in node.tokens] if len(run) >= ENOUGH else None


def _worth(nodes: Sequence[_Node]) -> int:
    best = run = 0
    for node in nodes:
        run = run + 1 if node.fixed else 0
        best = max(best, run, node.worth)
    return best


def _branches(tokens: Sequence[str], at: int) -> tuple[tuple[tuple[_Node, ...], ...], int]:
    """Read alternatives up to the end or a closing bracket; return them and the place after."""
    branches: list[tuple[_Node, ...]] = []
    nodes: list[_Node] = []
    while at < len(tokens) and tokens[at] != ")":
        if tokens[at] == "|":
            branches.append(tuple(nodes))
            nodes, at = [], at + 1
            continue
        node, at = _node(tokens, at)
        nodes.append(node)
    return (*branches, tuple(nodes)), at


def _node(tokens: Sequence[str], at: int) -> tuple[_Node, int]:
    begin, branches = at, _NO_BRANCHES
    if tokens[at].startswith("("):
        branches, at = _branches(tokens, at + 1)
    at += 1
    if at < len(tokens) and tokens[at].startswith(_QUANTIFIERS) and len(tokens[at]) <= 12:
        own = tuple(tokens[begin : at + 1])
        return (_Node(own, branches) if tokens[at][0] == "+" and branches else _Node(own)), at + 1
    own = tuple(tokens[begin:at])
    varies = bool(branches) or own[0].startswith("[") or own[0] in _CLASSES
    return _Node(own, branches, fixed=not varies), at
