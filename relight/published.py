"""The JSON Schemas of everything that leaves relight or that people write for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel

from schemas.incident import Evidence, Incident, Run, ScanReport
from schemas.record import LogRecord
from schemas.signal import Signal
from schemas.signature import Signature

MODELS: Final[dict[str, type[BaseModel]]] = {
    "log-record": LogRecord,
    "signature": Signature,
    "signal": Signal,
    "evidence": Evidence,
    "incident": Incident,
    "run": Run,
    "scan-report": ScanReport,
}


def export(directory: Path) -> Iterator[Path]:
    """Write one schema a model into a directory, which is made if it is not there, and yield the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, model in MODELS.items():
        path = directory / f"{name}.schema.json"
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
        path.write_bytes(orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
        yield path
