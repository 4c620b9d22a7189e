"""Playbooks as YAML: a file's text becomes models, and an error names file, line, playbook and field.

Reading stops at the first thing wrong; `remediate/playbook_lint.py` looks for more. Files are read in the shell.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from pydantic import ValidationError

from schemas.authored import AuthoringError
from schemas.playbook import Playbook


class PlaybookError(AuthoringError):
    """A playbook cannot be used. The message names file, line, playbook, field and what is wrong."""

    noun = "playbook"


@dataclass(frozen=True, slots=True)
class Written:
    """A playbook and the place that it was written at; `rung_lines` are those of its rungs."""

    playbook: Playbook
    file: str
    line: int
    rung_lines: tuple[int, ...]

    def error(self, what: str, rung: int | None = None) -> PlaybookError:
        """Return an error that names this playbook, and the rung (counted from 0) that is meant."""
        line = self.line if rung is None else self.rung_lines[rung]
        return PlaybookError(self.file, line, what, self.playbook.id)


def in_force(written: Iterable[Written]) -> dict[str, Written]:
    """Return the playbooks in force by id; a later one replaces an earlier one of the same id."""
    last = {one.playbook.id: one for one in written}
    return {name: last[name] for name in sorted(last)}


def read_playbooks(file: str, text: str) -> list[Written]:
    """Return the playbooks of a file's text.

    Raises:
        PlaybookError: the text is not YAML, or a playbook in it is none.
    """
    root, document = _parsed(file, text)
    nodes = _listed(file, root)
    found: dict[str, Written] = {}
    for fields, node in zip(document["playbooks"], nodes, strict=True):
        one = _playbook(file, fields, node)
        if one.playbook.id in found:
            raise one.error(f"the id is taken already by the playbook at line {found[one.playbook.id].line}")
        found[one.playbook.id] = one
    return list(found.values())


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A loader to which `on` and `no` are words, as they are in YAML 1.2, and dates are too."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def _parsed(file: str, text: str) -> tuple[yaml.Node, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        twice = _said_twice(node, set()) if node is not None else None
        document = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = f"not YAML: {getattr(error, 'problem', None) or getattr(error, 'reason', error)}"
        raise PlaybookError(file, mark.line + 1 if mark else 1, what) from None
    except (ValueError, RecursionError) as error:  # a number without end, or nested without end
        raise PlaybookError(file, 1, f"not YAML that can be used: {error}") from None
    if twice is not None:
        raise PlaybookError(file, int(twice.start_mark.line) + 1, f"`{twice.value}` stands there twice")
    return node, document


def _said_twice(node: yaml.Node, visited: set[int]) -> yaml.ScalarNode | None:
    """Return a key that its mapping has already: YAML would let the last one win without a word."""
    if id(node) in visited:  # an alias
        return None
    visited.add(id(node))
    seen: set[str] = set()
    for key, value in _children(node):
        if key is not None and key.value in seen:
            return key
        seen.add(key.value if key is not None else "")
        if (twice := _said_twice(value, visited)) is not None:
            return twice
    return None


def _children(node: yaml.Node) -> Iterator[tuple[yaml.ScalarNode | None, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key if isinstance(key, yaml.ScalarNode) else None, value
    elif isinstance(node, yaml.SequenceNode):
        yield from ((None, value) for value in node.value)


def _listed(file: str, root: yaml.Node) -> Sequence[yaml.Node]:
    """Return the nodes of a file's playbooks."""
    top = {key.value: value for key, value in _children(root) if key is not None} if root is not None else {}
    if not isinstance(top.get("playbooks"), yaml.SequenceNode):
        raise PlaybookError(file, 1, "a playbook file is a mapping with a list `playbooks:`; see docs/playbooks.md")
    if unknown := sorted(set(top) - {"playbooks"}):
        raise PlaybookError(file, 1, f"unknown key `{unknown[0]}`; a playbook file has only `playbooks`")
    listed: Sequence[yaml.Node] = top["playbooks"].value
    return listed


def _playbook(file: str, fields: object, node: yaml.Node) -> Written:
    line = int(node.start_mark.line) + 1
    if not isinstance(fields, Mapping):
        raise PlaybookError(file, line, "a playbook is a mapping with `id`, `title`, `faults` and `ladder`")
    try:
        playbook = Playbook.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(fields.get("id", "without id"))
        raise PlaybookError(file, _line_of(node, first["loc"]), _told(first["loc"], first["msg"]), name) from None
    ladder = next(value for key, value in _children(node) if key is not None and key.value == "ladder")
    return Written(playbook, file, line, tuple(int(rung.start_mark.line) + 1 for _, rung in _children(ladder)))


def _told(place: Sequence[int | str], what: str) -> str:
    field = ".".join(str(part + 1) if isinstance(part, int) else part for part in place)
    what = _PHRASES.get(what, what.removeprefix("Value error, "))
    return (f"field `{field}`: " if field else "") + what


_PHRASES: Final = {
    "Extra inputs are not permitted": "there is no such field; docs/playbooks.md has all of them",
    "Field required": "it is missing",
}


def _line_of(node: yaml.Node, place: Sequence[int | str]) -> int:
    """Return the line of the field at a place, or of the nearest thing around it that is written."""
    line = int(node.start_mark.line) + 1
    for part in place:
        children = list(_children(node))
        if isinstance(part, int):
            inner = children[part] if part < len(children) and isinstance(node, yaml.SequenceNode) else None
        else:
            inner = next((child for child in children if child[0] is not None and child[0].value == part), None)
        if inner is None:
            break
        key, node = inner
        line = int((key or node).start_mark.line) + 1
    return line
