"""The compiled catalogue: every pattern of every signature in one Hyperscan automaton, as bytes that can be kept.

Where the bytes are kept is the shell's concern; they are never trusted without their key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Final

import hyperscan

from diagnose.matching.dialect import nominating
from diagnose.rules import Catalogue
from schemas.signature import Signature
from schemas.vocabulary import Kind

MODE: Final = hyperscan.HS_MODE_BLOCK
STORY: Final = frozenset({Kind.START, Kind.PROGRESS, Kind.SUCCESS})
VETOES: Final = frozenset({Kind.NOISE, Kind.TEARDOWN})


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression of the automaton: the index of its signature, the author's pattern, what Hyperscan scans for."""

    owner: int
    pattern: str
    nominator: str


@dataclass(frozen=True)
class Plan:
    """Which signature each expression of the automaton belongs to.

    Expressions of story signatures (start, progress, success) come first: a comparison of numbers tells them apart
    while scanning. They are scanned for as a whole, the patterns of faults by their most telling piece. Signatures
    whose lines are no evidence (noise, teardown) are not scanned for: they are asked about lines with a fault.
    """

    signatures: tuple[Signature, ...]
    vetoes: tuple[Signature, ...]

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        """Return all expressions; their places are their ids in the automaton."""
        return tuple(
            Expression(owner, pattern, nominator)
            for owner, signature in enumerate(self.signatures)
            for pattern in signature.patterns
            for nominator in nominating(pattern, whole=signature.kind in STORY)
        )

    @cached_property
    def faults_from(self) -> int:
        """Return the id of the first expression after those of the story."""
        return sum(self.signatures[e.owner].kind in STORY for e in self.expressions)

    @cached_property
    def key(self) -> str:
        """Return what a compiled automaton depends on: the expressions in order and the library."""
        digest = hashlib.sha256(f"hyperscan {version('hyperscan')}".encode())
        for expression in self.expressions:
            digest.update(f"{expression.owner}\0{expression.nominator}\0".encode())
        return digest.hexdigest()


def plan(catalogue: Catalogue) -> Plan:
    """Return the order in which a catalogue is compiled."""
    known = sorted(catalogue.signatures, key=lambda s: (s.kind not in STORY, s.id))
    return Plan(
        signatures=tuple(s for s in known if s.kind not in VETOES),
        vetoes=tuple(s for s in known if s.kind in VETOES),
    )


def compiled(expressions: Sequence[Expression]) -> hyperscan.Database:
    """Compile the automaton. A few seconds for a thousand patterns."""
    database = hyperscan.Database(mode=MODE)
    nominators = [expression.nominator.encode("ascii") for expression in expressions]
    database.compile(expressions=nominators, ids=list(range(len(nominators))), elements=len(nominators), flags=0)
    return database


def dumped(database: hyperscan.Database) -> bytes:
    """Return the automaton as bytes."""
    return bytes(hyperscan.dumpb(database))


def loaded(data: bytes) -> hyperscan.Database:
    """Return the automaton of `dumped` bytes.

    Raises:
        hyperscan.error: the bytes belong to another version or CPU, or are damaged.
    """
    database = hyperscan.loadb(data, MODE)
    database.scratch = hyperscan.Scratch(database)
    return database
