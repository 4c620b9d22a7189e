"""Where what is in Elasticsearch differs from what is wanted: bodies compared as paths and values. Asks nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_CHANGEABLE: Final = ("dynamic", "ignore_above")
"""What can be changed of a mapping that is there, besides that fields can be added."""
_EMPTY: Final = "{}"


def flat(body: Any, path: str = "") -> dict[str, str]:
    """Return a body as paths and values: Elasticsearch gives back settings as strings, and not always nested."""
    if isinstance(body, Mapping) and body:
        found: dict[str, str] = {}
        for key, value in body.items():
            found |= flat(value, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(body, list):
        return {path: ", ".join(map(str, body))}
    return {path: str(body).lower() if isinstance(body, bool) else str(body)}


def differences(there: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[str]:
    """Yield where what is there is not as wanted. What is there besides is nobody's concern."""
    for path, value in wanted.items():
        if value == _EMPTY and any(found == path or found.startswith(f"{path}.") for found in there):
            continue
        if there.get(path) != value:
            yield f"{path} is {there.get(path, 'not set')}, wanted is {value}"


def fits(there: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Tell whether a mapping can grow to what is wanted: no field would have to become another."""
    return all(
        there[path] == value or path.rpartition(".")[2] in _CHANGEABLE
        for path, value in wanted.items()
        if path in there
    )
