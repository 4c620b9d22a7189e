"""One incident as JSON: the document in full, what is computed of it, and the log lines around it if asked for."""

from collections.abc import Mapping, Sequence

import orjson

from relight.incidents.cleaning import plain
from relight.incidents.formats import told
from schemas.document import IncidentDocument


def as_json(document: IncidentDocument, lines: Sequence[str] | None, more: Mapping[str, object]) -> str:
    """Return an incident as one indented JSON document, with what `more` tells. `lines` are there if asked for."""
    around = {} if lines is None else {"lines": lines}
    return orjson.dumps(
        told(document) | plain(more) | around, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    ).decode()
