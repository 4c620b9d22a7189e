"""A small data-parallel training program: processes that fit a line together, each with a log of its own.

It is plain Python, knows nothing of the demo, and brings about no fault. Each rank is a process, and its data loader
another one. In a step every rank computes the gradient of its own batch, sends it to all others and waits for theirs,
as an all-reduce does: a rank that stops stops all. A rank logs a step when it has sent its own part and before it waits
for the others, with the time that this took and the time that it waited for its batch: so the logs tell who is behind.

    ranks.py FOLDER [--ranks 4] [--steps 100000] [--pace 0.1]

It leaves `rank_N.log` and `pids.json` in the folder.
"""

import argparse
import json
import os
import random
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, TextIO

FEATURES: Final = 8
ROWS: Final = 32
PREFETCH: Final = 2
"""So many batches are loaded ahead."""
_RATE: Final = 0.05
_READ: Final = 0.1
"""Reading a batch takes this part of the time that computing on it takes."""
_FORM: Final = struct.Struct(f"{FEATURES + 1}d")
_FORKED: Final = get_context("fork")
"""Children that inherit the sockets."""

Row = list[float]
Gradient = list[float]


def load(rank: int, pace_s: float, batches: Connection) -> None:
    """Send batches: points of a line in eight dimensions, with noise. The other end asks for each with a byte."""
    dice = random.Random(rank)
    truth = [0.1 * at for at in range(FEATURES)]
    while True:
        batches.recv_bytes()
        time.sleep(_READ * pace_s)
        rows = []
        for _ in range(ROWS):
            point = [dice.gauss(0, 1) for _ in range(FEATURES)]
            rows.append([*point, sum(w * x for w, x in zip(truth, point, strict=True)) + dice.gauss(0, 0.1)])
        batches.send(rows)


def gradient(weights: Sequence[float], rows: Sequence[Row]) -> Gradient:
    """Return the gradient of the mean squared error over rows, and last the error itself."""
    total = [0.0] * (FEATURES + 1)
    for row in rows:
        error = sum(w * x for w, x in zip(weights, row, strict=False)) - row[FEATURES]
        for at in range(FEATURES):
            total[at] += error * row[at] / len(rows)
        total[FEATURES] += error * error / len(rows)
    return total


def send(own: Gradient, others: Mapping[int, socket.socket]) -> None:
    """Send what is one's own to all others: the first half of an all-reduce."""
    for peer in others.values():
        peer.sendall(_FORM.pack(*own))


def reduced(own: Gradient, others: Mapping[int, socket.socket]) -> Gradient:
    """Return the mean over all ranks, when all have sent theirs: the second half.

    Raises:
        ConnectionResetError: Another rank has gone.
    """
    total = own
    for rank, peer in others.items():
        received = peer.recv(_FORM.size, socket.MSG_WAITALL)
        if len(received) < _FORM.size:
            raise ConnectionResetError(f"rank {rank} has gone")
        total = [one + other for one, other in zip(total, _FORM.unpack(received), strict=True)]
    return [value / (len(others) + 1) for value in total]


def batches_of(loader: Connection) -> Iterator[list[Row]]:
    """Yield the batches of a loader, which is kept a few batches ahead."""
    for _ in range(PREFETCH):
        loader.send_bytes(b"+")
    while True:
        batch: list[Row] = loader.recv()
        loader.send_bytes(b"+")
        yield batch


def take_part(
    rank: int, loader: Connection, ends: Sequence[Mapping[int, socket.socket]], told: argparse.Namespace
) -> None:
    """Be one of the ranks; what belongs to others is closed, so that one that ends is missed."""
    for other, theirs in enumerate(ends):
        for end in theirs.values() if other != rank else ():
            end.close()
    with (told.folder / f"rank_{rank}.log").open("a", encoding="utf-8") as log:
        train(loader, ends[rank], told, log)


def train(loader: Connection, others: Mapping[int, socket.socket], told: argparse.Namespace, log: TextIO) -> None:
    """Train to the last step; beside the gradient a step sleeps, as a host does while a device computes."""
    weights, batches = [0.0] * FEATURES, batches_of(loader)
    say(log, f"Training starts with {len(others) + 1} ranks")
    for step in range(1, told.steps + 1):
        asked_s = time.monotonic()
        rows = next(batches)
        began_s = time.monotonic()
        own = gradient(weights, rows)
        time.sleep(told.pace)
        took = f"step_time {time.monotonic() - began_s:.4f} s | data_time {began_s - asked_s:.4f} s"
        send(own, others)
        say(log, f"step {step}/{told.steps} | loss {own[FEATURES]:.6f} | {took}")
        mean = reduced(own, others)
        weights = [w - _RATE * g for w, g in zip(weights, mean, strict=False)]
    say(log, "Training finished")


def say(log: TextIO, text: str) -> None:
    """Log a line."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    log.write(f"{stamp} INFO {text}\n")
    log.flush()


def mesh(ranks: int) -> list[dict[int, socket.socket]]:
    """Return for each rank its sockets to all others."""
    ends: list[dict[int, socket.socket]] = [{} for _ in range(ranks)]
    for one in range(ranks):
        for other in range(one + 1, ranks):
            ends[one][other], ends[other][one] = socket.socketpair()
    return ends


def main() -> None:
    """Start loaders and ranks, and wait for their end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--pace", type=float, default=0.1)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    ends, pids, running = mesh(told.ranks), [], []
    for rank in range(told.ranks):
        here, there = _FORKED.Pipe()
        loader = _FORKED.Process(target=load, args=(rank, told.pace, there), daemon=True)
        member = _FORKED.Process(target=take_part, args=(rank, here, ends, told), daemon=True)
        for process in (loader, member):
            process.start()
        running.append(member)
        pids.append({"rank": member.pid, "loader": loader.pid})
    for end in (end for theirs in ends for end in theirs.values()):
        end.close()
    part = told.folder / "pids.part"
    part.write_text(json.dumps(pids))
    os.replace(part, told.folder / "pids.json")
    for member in running:
        member.join()


if __name__ == "__main__":
    main()
