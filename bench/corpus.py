"""What is scanned: real healthy logs where they are, synthetic ones where not, and worst cases."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from diagnose.rules import Catalogue
from schemas.vocabulary import Kind

_BLOCK_BYTES: Final = 8 * 1024
_STORM_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Text:
    """A file or a directory of files, with its size."""

    path: Path
    size_bytes: int
    lines: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class Corpus:
    """The same lines as one file and as many, and samples of them, the larger of ten times the size.

    `origin` says where the lines come from.
    """

    whole: Text
    many: Text
    sample: Text
    larger: Text
    origin: str
    synthetic: bool


def corpus_of(cases: Path, folder: Path, size_bytes: int, sample_bytes: int, seed: int) -> Corpus:
    """Make the corpus: files in shuffled order, over and over, up to a size; the last one is cut at a line end."""
    dice = random.Random(seed)
    logs = _logs(cases)
    found = [path.read_bytes() for path in logs] or [_synthetic_log(dice) for _ in range(40)]
    origin = f"{len(logs)} real healthy logs, repeated in shuffled order" if logs else "SYNTHETIC"
    pieces = list(_up_to(size_bytes, _shuffled(found, dice)))
    many = folder / "many"
    for at, piece in enumerate(pieces):
        path = many / f"run-{at // 100:03}" / f"log-{at:05}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(piece)
    whole = _written(folder / "whole.log", pieces)
    total = Text(many, whole.size_bytes, whole.lines, len(pieces))
    sample = _sample(whole, folder / "sample.log", sample_bytes, dice)
    larger = _sample(whole, folder / "larger.log", 10 * sample_bytes, dice)
    return Corpus(whole, total, sample, larger, origin, not logs)


def beginning(text: Text, path: Path, size_bytes: int) -> Text:
    """Write the first lines of a file to another, up to a size."""
    with text.path.open("rb") as file:
        return _written(path, [_cut(file.read(size_bytes))])


def storm(catalogue: Catalogue, path: Path, size_bytes: int, seed: int) -> Text:
    """Write a file in which every line is an error: the catalogue's own examples, said by 512 ranks at random."""
    dice = random.Random(seed)
    faults = [line for s in catalogue.signatures if s.kind is Kind.FAULT for line in s.match if "\n" not in line]
    block = bytearray()
    while len(block) < min(_STORM_BYTES, size_bytes):
        block += f"{dice.randrange(512)}: {dice.choice(faults)}\n".encode()
    return _written(path, _up_to(size_bytes, (bytes(block) for _ in count())))


def one_line(path: Path, size_bytes: int) -> Text:
    """Write a file that is one line of words without an end."""
    words = b"epoch 3 loss 1.25 shard 0017 "
    return _written(path, [words * (size_bytes // len(words))])


def _logs(cases: Path) -> list[Path]:
    return sorted(p for p in cases.iterdir() if p.is_file()) if cases.is_dir() else []


def _shuffled(found: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    while True:
        yield from dice.sample(found, len(found))


def _up_to(size_bytes: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    left = size_bytes
    for piece in pieces:
        ended = piece if piece.endswith(b"\n") else piece + b"\n"
        yield ended if len(ended) <= left else _cut(ended[:left])
        left -= len(ended)
        if left <= 0:
            return


def _cut(data: bytes) -> bytes:
    """Return whole lines only, unless there is none."""
    return data[: data.rfind(b"\n") + 1] or data


def _written(path: Path, pieces: Iterable[bytes]) -> Text:
    size = lines = 0
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            size, lines = size + len(piece), lines + piece.count(b"\n")
    return Text(path, size, lines)


def _sample(text: Text, path: Path, size_bytes: int, dice: random.Random) -> Text:
    """Write blocks of whole lines from places all over a file: a file's beginning is not like the rest."""
    blocks = max(1, min(size_bytes, text.size_bytes) // _BLOCK_BYTES)
    places = sorted(dice.randrange(max(1, text.size_bytes - _BLOCK_BYTES)) for _ in range(blocks))
    with text.path.open("rb") as file:
        return _written(path, [_lines_at(file.fileno(), place) for place in places])


def _lines_at(descriptor: int, place: int) -> bytes:
    block = os.pread(descriptor, _BLOCK_BYTES, place)
    return _cut(block[block.find(b"\n") + 1 :])


def _synthetic_log(dice: random.Random) -> bytes:
    """Return about half a megabyte of invented training output: mostly steps, some set-up and warnings."""
    host, loss = f"node{dice.randrange(100):02}", 9.0
    said: list[str] = []
    for step in range(4000):
        loss *= 0.9995 + dice.random() * 0.0004
        line = dice.choices(_LINES, _WEIGHTS)[0]
        said.append(line(dice, host, step, loss))
    return ("\n".join(said) + "\n").encode()


_Line = Callable[[random.Random, str, int, float], str]
_SPOKEN: Final[tuple[tuple[int, _Line], ...]] = (
    (50, lambda d, h, s, x: f"{d.randrange(8)}: step {s}/40000 | loss {x:.5f} | lr 1.0e-04 | {d.random():.3f} s/it"),
    (15, lambda d, h, s, x: f'{h}: :::MLLOG {{"key": "tracked_stats", "value": {x:.4f}, "metadata": {{"step": {s}}}}}'),
    (15, lambda d, h, s, x: f"{h}:{d.randrange(9999)}:77 [{d.randrange(8)}] NCCL INFO Channel {s % 32:02}/32 : 0 1 2"),
    (10, lambda d, h, s, x: f"INFO loader: shard {d.randrange(4096):05} opened, {d.randrange(9000)} samples"),
    (5, lambda d, h, s, x: f"/opt/train/data.py:{s}: UserWarning: the number of workers is larger than that of cores"),
    (5, lambda d, h, s, x: "+ export OMP_NUM_THREADS=8 CUDA_DEVICE_MAX_CONNECTIONS=1"),
)
_LINES: Final = tuple(line for _, line in _SPOKEN)
_WEIGHTS: Final = tuple(weight for weight, _ in _SPOKEN)
