"""The compiled catalogue: every pattern of every signature in one Hyperscan automaton, as bytes that can be kept.

Where the bytes are kept is the shell's concern; they are never trusted without their key.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import hyperscan
import orjson

from diagnose.matching import dialect, pieces
from diagnose.matching.dialect import confirming, nominating, piece
from diagnose.rules import Catalogue
from schemas.signature import Signature
from schemas.vocabulary import Kind

MODE: Final = hyperscan.HS_MODE_BLOCK
COUNTED: Final = frozenset({Kind.START, Kind.PROGRESS, Kind.SUCCESS, Kind.READING})
"""Kinds whose lines may be every second line: the story of a run, and readings. They are looked at in stretches."""

WHOLE: Final = frozenset({Kind.PROGRESS, Kind.READING})
"""Kinds that are scanned for as a whole, not by a piece: their lines are counted without a second look."""

VETOES: Final = frozenset({Kind.NOISE, Kind.TEARDOWN})


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of the automaton: the index of its signature, and what Hyperscan scans for."""

    owner: int
    nominator: str


@dataclass(frozen=True)
class Plan:
    """Which signature each expression of the automaton belongs to.

    Expressions of signatures that are counted (start, progress, success, reading) come first: a comparison of numbers
    tells them apart while scanning. Progress and readings are scanned for as a whole, all else by its patterns' most
    telling pieces, unless lines of progress hold such a piece: each step would be nominated.
    Signatures whose lines are no evidence (noise, teardown) are not scanned for: they are asked about lines with a
    fault.
    The places of `expressions` are their ids in the automaton. `detectors` are those that look at each metric, by id.
    """

    signatures: tuple[Signature, ...]
    vetoes: tuple[Signature, ...]
    expressions: tuple[Expression, ...]
    detectors: Mapping[str, Mapping[str, Signature]]

    @cached_property
    def faults_from(self) -> int:
        """Return the id of the first expression after those that are counted."""
        return sum(self.signatures[e.owner].kind in COUNTED for e in self.expressions)


def plan(catalogue: Catalogue) -> Plan:
    """Return how a catalogue is compiled."""
    scanned, vetoes = _divided(catalogue)
    frequent = "\n".join(_frequent(catalogue)).encode()
    expressions = (
        Expression(owner, nominator)
        for owner, signature in enumerate(scanned)
        for pattern in signature.patterns
        for nominator in nominating(
            pattern, whole=signature.kind in WHOLE or confirming(piece(pattern)).search(frequent) is not None
        )
    )
    return Plan(scanned, vetoes, tuple(expressions), catalogue.detectors)


def key(catalogue: Catalogue) -> str:
    """Return what a compiled automaton depends on: the patterns, how they are rewritten and kept, and the library."""
    digest = hashlib.sha256(f"hyperscan {getattr(hyperscan, '__version__', '')}\0".encode())
    for source in (dialect.__file__, pieces.__file__, __file__):
        digest.update(Path(str(source)).read_bytes())
    for signature in (s for s in catalogue.signatures if s.patterns):
        digest.update("\0".join((signature.id, signature.kind, *signature.patterns)).encode())
    digest.update("\0".join(_frequent(catalogue)).encode())
    return digest.hexdigest()


def dumped(order: Plan, automaton: hyperscan.Database) -> bytes:
    """Return a plan's expressions and its automaton as bytes."""
    expressions = orjson.dumps([(e.owner, e.nominator) for e in order.expressions])
    return len(expressions).to_bytes(8) + expressions + bytes(hyperscan.dumpb(automaton))


def loaded(catalogue: Catalogue, data: bytes) -> tuple[Plan, hyperscan.Database]:
    """Return the plan and the automaton of `dumped` bytes.

    Raises:
        hyperscan.error: the bytes belong to another version or CPU, or are damaged.
    """
    end = 8 + int.from_bytes(data[:8])
    expressions = tuple(Expression(*parts) for parts in orjson.loads(data[8:end]))
    automaton = hyperscan.loadb(data[end:], MODE)
    automaton.scratch = hyperscan.Scratch(automaton)
    return Plan(*_divided(catalogue), expressions, catalogue.detectors), automaton


def compiled(expressions: Sequence[Expression]) -> hyperscan.Database:
    """Compile the automaton. A few seconds for a thousand patterns."""
    database = hyperscan.Database(mode=MODE)
    nominators = [expression.nominator.encode("ascii") for expression in expressions]
    database.compile(expressions=nominators, ids=list(range(len(nominators))), elements=len(nominators), flags=0)
    return database


def _frequent(catalogue: Catalogue) -> Iterator[str]:
    """Yield lines of the kinds that may be every second line, as their signatures show them."""
    return (line for signature in catalogue.signatures if signature.kind in WHOLE for line in signature.match)


def _divided(catalogue: Catalogue) -> tuple[tuple[Signature, ...], tuple[Signature, ...]]:
    """Return the signatures that are scanned for, and those that are only asked."""
    known = sorted((s for s in catalogue.signatures if s.patterns), key=lambda s: (s.kind not in COUNTED, s.id))
    return tuple(s for s in known if s.kind not in VETOES), tuple(s for s in known if s.kind in VETOES)
