"""The gate through which everything from a store passes before it is shown: a store is input like any other."""

from functools import lru_cache
from typing import Any, Final

from ingest.redaction import shown
from schemas.document import IncidentDocument

_SHORT: Final = 200


def cleaned(document: IncidentDocument) -> IncidentDocument:
    """Return an equal incident whose strings hold no secret, no terminal escape and no control character."""
    return IncidentDocument.model_validate(plain(document.model_dump(mode="python")))


def plain(value: Any) -> Any:
    """Return a value of dicts, lists and strings with every string in it cleaned, keys as well."""
    if type(value) is str:
        return clean(value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(plain(item) for item in value)
    return value


def clean(text: str) -> str:
    """Return a text as it may be put in front of a person."""
    return _remembered(text) if len(text) < _SHORT else shown(text)


@lru_cache(maxsize=16_384)
def _remembered(text: str) -> str:
    return shown(text)
