"""The compiled catalogue: every pattern of every signature in one Hyperscan automaton, as bytes that can be kept.

Where the bytes are kept is the shell's concern; they are never trusted without their key.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import hyperscan

from diagnose.matching.dialect import nominating
from diagnose.rules import Catalogue
from schemas.signature import Signature
from schemas.vocabulary import Kind

MODE: Final = hyperscan.HS_MODE_BLOCK
STORY: Final = frozenset({Kind.START, Kind.PROGRESS, Kind.SUCCESS})
VETOES: Final = frozenset({Kind.NOISE, Kind.TEARDOWN})


@dataclass(frozen=True)
class Plan:
    """Which signature each expression of the automaton belongs to.

    Expressions of story signatures (start, progress, success) come first, then those of faults, then those whose lines
    are no evidence (noise, teardown): a comparison of numbers tells them apart while scanning.
    """

    signatures: tuple[Signature, ...]

    @cached_property
    def expressions(self) -> tuple[tuple[int, str], ...]:
        """Return (index of the signature, pattern) for every expression, in the order of expression ids."""
        return tuple((at, pattern) for at, signature in enumerate(self.signatures) for pattern in signature.patterns)

    @cached_property
    def faults_from(self) -> int:
        """Return the id of the first expression after those of the story."""
        return sum(len(s.patterns) for s in self.signatures if s.kind in STORY)

    @cached_property
    def vetoes_from(self) -> int:
        """Return the id of the first expression after those of faults."""
        return sum(len(s.patterns) for s in self.signatures if s.kind not in VETOES)

    @cached_property
    def key(self) -> str:
        """Return what a compiled automaton depends on: the patterns in order and the library."""
        digest = hashlib.sha256(f"hyperscan {hyperscan.__version__}".encode())
        for at, pattern in self.expressions:
            digest.update(f"{at}\0{pattern}\0{nominating(pattern)}\0".encode())
        return digest.hexdigest()


def plan(catalogue: Catalogue) -> Plan:
    """Return the order in which a catalogue is compiled."""
    return Plan(tuple(sorted(catalogue.signatures, key=lambda s: (s.kind in VETOES, s.kind not in STORY, s.id))))


def compiled(expressions: Sequence[tuple[int, str]]) -> hyperscan.Database:
    """Compile the automaton. A few seconds for a thousand patterns."""
    database = hyperscan.Database(mode=MODE)
    patterns = [nominating(pattern).encode("ascii") for _, pattern in expressions]
    database.compile(expressions=patterns, ids=list(range(len(patterns))), elements=len(patterns), flags=0)
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
