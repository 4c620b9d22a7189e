"""Catalogues of other sizes: relight's own code with fewer signatures, and made-up signatures to add with `--rules`."""

import json
import random
import shutil
import string
from collections.abc import Iterator
from pathlib import Path

from bench.measure import ROOT
from diagnose.matching.dialect import tokens_of
from diagnose.rules import Catalogue
from schemas.signature import Signature
from schemas.vocabulary import Kind

PACKAGES = ("schemas", "ingest", "diagnose", "remediate", "relight")


def thinned(catalogue: Catalogue, size: int, folder: Path, seed: int) -> Path:
    """Copy relight to a folder, leaving at most `size` signatures in its catalogue, and return the folder.

    Signatures of progress stay in all sizes: they match every few lines, and what matches costs more than what might.
    The rest is drawn by seed, and a larger catalogue holds every smaller one.
    """
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    rules = folder / "diagnose/catalogue/signatures"
    for file in rules.glob("*.yaml"):
        file.unlink()
    _write(rules / "thinned.yaml", list(_drawn(catalogue, seed))[:size])
    return folder


def invented(catalogue: Catalogue, number: int, folder: Path, seed: int) -> Path:
    """Write made-up signatures to a folder: shipped patterns of faults with other letters, so that none matches."""
    dice = random.Random(seed)
    models = [s for s in catalogue.signatures if s.kind is Kind.FAULT and s.table is None]
    made = [_disguised(dice.choice(models), at, dice) for at in range(number)]
    folder.mkdir(parents=True)
    return _write(folder / "invented.yaml", made).parent


def _drawn(catalogue: Catalogue, seed: int) -> Iterator[Signature]:
    progress = [s for s in catalogue.signatures if s.kind is Kind.PROGRESS]
    rest = [s for s in catalogue.signatures if s.kind is not Kind.PROGRESS]
    yield from progress
    yield from random.Random(seed).sample(rest, len(rest))


def _disguised(model: Signature, at: int, dice: random.Random) -> Signature:
    letters = dice.sample(string.ascii_lowercase, 26)
    other = str.maketrans(string.ascii_letters, "".join(letters) + "".join(letters).upper())
    patterns = ["".join(t.translate(other) if len(t) == 1 else t for t in tokens_of(p)) for p in model.patterns]
    return model.model_copy(update={"id": f"bench.invented.{at}", "patterns": tuple(patterns), "unless": ()})


def _write(path: Path, signatures: list[Signature]) -> Path:
    document = {"layer": "bench", "signatures": [_plain(s) for s in signatures]}
    path.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML
    return path


def _plain(signature: Signature) -> dict[str, object]:
    return signature.model_dump(mode="json", by_alias=True, exclude_none=True)
