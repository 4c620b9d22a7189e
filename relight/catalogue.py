"""The catalogue in force and its automaton, from the cache where it holds them."""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import hyperscan
import orjson
from pydantic import TypeAdapter, ValidationError

from diagnose.matching import database
from diagnose.matching.database import Plan
from diagnose.rulecheck import check, refused
from diagnose.rules import Catalogue, Rule, catalogue_of, files_under, read_rules, shipped_files
from diagnose.tables import for_code
from relight import __version__, cache
from schemas.signature import Signature

_SIGNATURES: Final = TypeAdapter(tuple[Signature, ...])


def rule_files(own: Sequence[Path]) -> list[Traversable | Path]:
    """Return the shipped rule files and then a user's own.

    Raises:
        FileNotFoundError: a path of the user's holds no rule files.
    """
    return [*shipped_files(), *(file for folder in own for file in files_under(folder))]


def rules(own: Sequence[Path] = ()) -> list[Rule]:
    """Return all rules with their places, read afresh.

    Raises:
        RuleError: a rule file has a mistake.
        FileNotFoundError: a path of the user's holds no rule files.
    """
    return [rule for file in rule_files(own) for rule in read_rules(file)]


def own_of(every: Sequence[Rule], own: Sequence[Path]) -> list[Rule]:
    """Return those of the rules that stand in a user's own files.

    Raises:
        FileNotFoundError: a path of the user's holds no rule files.
    """
    files = {str(file) for folder in own for file in files_under(folder)}
    return [rule for rule in every if rule.file in files]


def catalogue(own: Sequence[Path] = ()) -> Catalogue:
    """Return the catalogue in force: the shipped rules, overridden by a user's own.

    Raises:
        RuleError: a rule file has a mistake.
        FileNotFoundError: a path of the user's holds no rule files.
    """
    key = _key(rule_files(own))
    if (kept := cache.read("catalogue", key)) is not None:
        with suppress(ValidationError):  # of another version of the model: read afresh below
            return Catalogue(_SIGNATURES.validate_json(kept))
    made = catalogue_of(_sound(rules(own), own))
    cache.write("catalogue", key, orjson.dumps([s.model_dump(mode="json", by_alias=True) for s in made.signatures]))
    return made


def _sound(every: list[Rule], own: Sequence[Path]) -> list[Rule]:
    """Return the rules if the user's own are sound; those shipped are checked before they are shipped."""
    mine = own_of(every, own)
    if complaints := check(mine, {rule.signature.id: rule for rule in every}) or refused(mine):
        raise complaints[0]
    return every


def automaton(known: Catalogue) -> tuple[Plan, hyperscan.Database]:
    """Return how a catalogue is compiled, and the compiled automaton."""
    key = database.key(known)
    if (kept := cache.read("automaton", key)) is not None:
        with suppress(hyperscan.error, ValueError, TypeError):  # of another CPU or version: compiled anew below
            return database.loaded(known, kept)
    order = database.plan(known)
    made = database.compiled(order.expressions)
    cache.write("automaton", key, database.dumped(order, made))
    return order, made


def resolver(known: Catalogue) -> Callable[[str], Signature]:
    """Return a function from ids to signatures; `nvrm.xid.79` is made of `nvrm.xid` and its table."""

    def resolve(name: str) -> Signature:
        if name in known.by_id:
            return known.by_id[name]
        parent, _, code = name.rpartition(".")
        return for_code(known.by_id[parent], code)

    return resolve


def _key(files: Sequence[Traversable | Path]) -> str:
    digest = hashlib.sha256(__version__.encode())
    for file in files:
        digest.update(str(file).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
