"""Acceptance: whether a signature means a message. google-re2 decides here, after Hyperscan has nominated."""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import re2

from diagnose.matching.database import WHOLE
from diagnose.matching.dialect import ZERO_WIDTH, confirming, latin1, tokens_of
from diagnose.tables import for_code
from schemas.record import Origin
from schemas.signature import Signature
from schemas.vocabulary import Provenance

CAPTURE_CHARACTERS: Final = 200


def accepted_by(signature: Signature, message: bytes, origin: Origin | None = None) -> dict[str, str] | None:
    """Return the captures if a signature accepts a message of this origin, else `None`.

    Where nobody vouches for the writer, signatures of every provenance apply.
    """
    vouched = origin.provenance if origin else Provenance.UNKNOWN
    if vouched is not Provenance.UNKNOWN and vouched not in signature.provenance:
        return None
    for pattern in signature.patterns:
        if match := confirming(pattern).search(message):
            if any(confirming(veto).search(message) for veto in signature.unless):
                return None
            return {k.decode(): v.decode("latin-1")[:CAPTURE_CHARACTERS] for k, v in match.groupdict().items() if v}
    return None


class Veto:
    """Tells which lines are no evidence, whatever else is on them: all such patterns are asked in one pass."""

    def __init__(self, vetoes: Sequence[Signature]) -> None:
        """Take noise and teardown signatures. They are compiled when the first line is asked about."""
        self._asked = [(signature, pattern) for signature in vetoes for pattern in signature.patterns]

    @cached_property
    def _set(self) -> "re2.Set":
        asked = re2.Set.SearchSet(latin1())
        for _, pattern in self._asked:
            asked.Add(pattern)
        asked.Compile()
        return asked

    def applies(self, message: bytes, origin: Origin) -> bool:
        """Tell whether a message of this origin is no evidence."""
        if not self._asked:
            return False
        suspects = {self._asked[index][0].id: self._asked[index][0] for index in self._set.Match(message) or ()}
        return any(accepted_by(signature, message, origin) is not None for signature in suspects.values())


def coded(signature: Signature, captures: dict[str, str]) -> Signature:
    """Return the signature of the captured code where the signature stands for a table of codes."""
    return for_code(signature, captures[signature.table]) if signature.table else signature


def exact(signature: Signature) -> bool:
    """Tell whether a nomination needs no second look: the two engines agree on it by construction."""
    if signature.kind not in WHOLE:
        return False  # scanned for by a piece only
    tokens = {token for pattern in signature.patterns for token in tokens_of(pattern)}
    return not signature.unless and not tokens & ZERO_WIDTH
