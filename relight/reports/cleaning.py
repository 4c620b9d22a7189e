"""The one gate through which a report passes before any format sees it: every string in it goes through `shown`."""

from functools import lru_cache
from typing import Any, Final

from ingest.redaction import shown
from schemas.incident import ScanReport

_SHORT: Final = 200


def cleaned(report: ScanReport) -> ScanReport:
    """Return an equal report whose strings hold no secret, no terminal escape and no control character.

    Reports are cleaned where they are made; doing it again here costs little and changes nothing that is clean.
    """
    return ScanReport.model_validate(_cleaned(report.model_dump(mode="python")))


@lru_cache(maxsize=65_536)
def _again(text: str) -> str:
    """Return `shown(text)` for the names of hosts and sources, which a report of many ranks repeats."""
    return shown(text)


def _cleaned(value: Any) -> Any:
    if type(value) is str:
        return _again(value) if len(value) < _SHORT else shown(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_cleaned(item) for item in value)
    return value
