"""A small training program of two ranks: fits a line to noisy points, with checkpoints and a watchdog, in plain Python.

It knows nothing of the demo, and brings about no fault. Each step reads one batch of `data.bin`: both ranks compute the
gradient of their half, and rank 0 adds them up, as an all-reduce does. The order of batches and all arithmetic are
fixed, so a run that was interrupted has to end with exactly the weights of one that was not.

    train.py FOLDER [--steps 60] [--every 5] [--pace 0.1] [--timeout 3]
"""

import argparse
import hashlib
import json
import math
import os
import random
import resource
import socket
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

FEATURES: Final = 8
ROWS: Final = 32
BATCHES: Final = 200
BATCH_BYTES: Final = 8 * ROWS * (FEATURES + 1)
KEPT: Final = 4
"""So many checkpoints are kept."""
PADDING: Final = 40_000
"""What the optimizer's state would weigh: a checkpoint is this much larger than its weights (bytes)."""
_RATE: Final = 0.05

Row = list[float]
Gradient = list[float]


@dataclass(frozen=True)
class State:
    """What a checkpoint holds. `cursor` is the next batch: data that were skipped let it run ahead of `step`."""

    step: int
    cursor: int
    weights: list[float]
    loss: float = 0.0


BEGIN: Final = State(0, 0, [0.0] * FEATURES)


def make_data(path: Path) -> None:
    """Write the batches: points of a line in eight dimensions, with noise, always the same."""
    dice = random.Random(7)
    truth = [dice.uniform(-1, 1) for _ in range(FEATURES)]
    values = array("d")
    for _ in range(BATCHES * ROWS):
        point = [dice.gauss(0, 1) for _ in range(FEATURES)]
        values.extend([*point, sum(w * x for w, x in zip(truth, point, strict=True)) + dice.gauss(0, 0.1)])
    path.write_bytes(values.tobytes())


def batch(path: Path, number: int) -> list[Row]:
    """Return the rows of a batch."""
    values = array("d")
    with path.open("rb") as file:
        file.seek(number * BATCH_BYTES)
        values.frombytes(file.read(BATCH_BYTES))
    return [values[at : at + FEATURES + 1].tolist() for at in range(0, len(values), FEATURES + 1)]


def gradient(weights: list[float], rows: list[Row]) -> Gradient:
    """Return the gradient of the squared error over rows, and last the error itself."""
    total = [0.0] * (FEATURES + 1)
    for row in rows:
        error = sum(w * x for w, x in zip(weights, row, strict=False)) - row[FEATURES]
        for at in range(FEATURES):
            total[at] += error * row[at]
        total[FEATURES] += error * error
    return total


def stepped(state: State, halves: tuple[Gradient, Gradient]) -> State:
    """Return the state after a step, given what the two ranks have computed."""
    summed = [one + other for one, other in zip(*halves, strict=True)]
    weights = [w - _RATE * g / ROWS for w, g in zip(state.weights, summed, strict=False)]
    return State(state.step + 1, state.cursor + 1, weights, summed[FEATURES] / ROWS)


def reference(data: Path, steps: int, without: range = range(0)) -> State:
    """Return how a run ends that nothing interrupts, which leaves out some batches."""
    state = BEGIN
    while state.step < steps:
        if state.cursor in without:
            state = State(state.step, without.stop, state.weights, state.loss)
        rows = batch(data, state.cursor)
        halves = gradient(state.weights, rows[: ROWS // 2]), gradient(state.weights, rows[ROWS // 2 :])
        state = stepped(state, halves)
    return state


class Checkpoints:
    """The checkpoints in a folder: a line with the checksum, and a line with the state; the last few are kept."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is made, and remove what an interrupted write has left."""
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.part"):
            path.unlink()

    def paths(self) -> list[Path]:
        """Return the checkpoints, the oldest first."""
        return sorted(self._folder.glob("step_????????.json"))

    def newest(self) -> State:
        """Return the newest state, the first one where there is none.

        Raises:
            RuntimeError: The newest checkpoint is not what was written.
        """
        if not (paths := self.paths()):
            return BEGIN
        written, _, text = paths[-1].read_bytes().partition(b"\n")
        found = hashlib.sha256(text).hexdigest().encode()
        if found != written:
            told = f"{written[:12].decode(errors='replace')} is written in it and {found[:12].decode()} is found"
            raise RuntimeError(f"checkpoint {paths[-1]} is corrupt: sha256 checksum mismatch, {told}")
        fields = json.loads(text)
        del fields["optimizer"]
        return State(**fields)

    def save(self, state: State) -> Path:
        """Write a state, whole or not at all."""
        path = self._folder / f"step_{state.step:08d}.json"
        part = path.with_suffix(".part")
        text = json.dumps(asdict(state) | {"optimizer": "0" * PADDING}).encode()
        with part.open("wb") as file:
            file.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        for old in self.paths()[:-KEPT]:
            old.unlink()
        return path


class Watchdog(threading.Thread):
    """Ends the process when a collective takes too long, in the words and in the way of NCCL's watchdog."""

    def __init__(self, timeout_s: float) -> None:
        """Take how long a collective may take."""
        super().__init__(daemon=True)
        self._timeout_s = timeout_s
        self._since: float | None = None
        self._number = 0

    def begun(self, number: int) -> None:
        """Take note that a collective has begun."""
        self._number, self._since = number, time.monotonic()

    def done(self) -> None:
        """Take note that it is done."""
        self._since = None

    def run(self) -> None:
        """Look, until it is too late."""
        while True:
            time.sleep(self._timeout_s / 20)
            since = self._since
            if since is not None and (waited_s := time.monotonic() - since) > self._timeout_s:
                self._end(waited_s)

    def _end(self, waited_s: float) -> None:
        work = (
            f"WorkNCCL(SeqNum={self._number}, OpType=ALLREDUCE, NumelIn={FEATURES + 1}, NumelOut={FEATURES + 1}, "
            f"Timeout(ms)={self._timeout_s * 1000:.0f})"
        )
        place = f"[rank0]:[E{datetime.now():%m%d %H:%M:%S.%f}000 ProcessGroupNCCL.cpp"
        took = f"ran for {waited_s * 1000:.0f} milliseconds before timing out."
        print(f"{place}:607] [Rank 0] Watchdog caught collective operation timeout: {work} {took}")
        print(f"{place}:583] [Rank 0] To avoid data inconsistency, we are taking the entire process down.")
        sys.stdout.flush()
        os.abort()


def say(text: str) -> None:
    """Log a line."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    print(f"{stamp} INFO {text}", flush=True)


def second_rank(data: Path, lines: IO[str]) -> None:
    """Answer each line, weights and the number of a batch, with the gradient of the second half of the batch."""
    for line in lines:
        asked = json.loads(line)
        rows = batch(data, asked["batch"])[ROWS // 2 :]
        lines.write(json.dumps(gradient(asked["weights"], rows)) + "\n")
        lines.flush()


def train(state: State, data: Path, other: IO[str], told: argparse.Namespace) -> Iterator[State]:
    """Yield the state after each step from a state on; `other` leads to the second rank.

    Raises:
        FloatingPointError: The loss is no number.
        ConnectionResetError: The second rank has gone.
    """
    if skipped := int(os.environ.get("RELIGHT_SKIP_BATCHES", "0")):
        say(f"skipping {skipped} batches from batch {state.cursor}")
        state = State(state.step, state.cursor + skipped, state.weights, state.loss)
    say(f"Training starts at step {state.step + 1}, batch {state.cursor}")
    watchdog = Watchdog(told.timeout)
    watchdog.start()
    while state.step < told.steps:
        rows = batch(data, state.cursor)[: ROWS // 2]
        other.write(json.dumps({"weights": state.weights, "batch": state.cursor}) + "\n")
        own = gradient(state.weights, rows)
        watchdog.begun(state.step + 1)
        other.flush()
        if not (answer := other.readline()):
            raise ConnectionResetError("rank 1 has gone")
        watchdog.done()
        state = stepped(state, (own, json.loads(answer)))
        if not math.isfinite(state.loss):
            raise FloatingPointError(f"loss is {state.loss} at step {state.step}, stopping training")
        yield state


def main() -> None:
    """Train to the last step, and leave how it ended in `result.json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--pace", type=float, default=0.1)
    parser.add_argument("--timeout", type=float, default=3.0)
    told = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    data, checkpoints = told.folder / "data.bin", Checkpoints(told.folder / "checkpoints")
    here, there = socket.socketpair()
    if not (rank1 := os.fork()):
        here.close()
        second_rank(data, there.makefile("rw"))
        os._exit(0)
    there.close()
    (told.folder / "rank1.pid").write_text(str(rank1))
    state = began = checkpoints.newest()
    for state in train(began, data, here.makefile("rw"), told):
        say(f"step {state.step}/{told.steps} | loss {state.loss:.6f} | batch {state.cursor - 1}")
        if state.step % told.every == 0:
            say(f"saved {checkpoints.save(state).name}")
        time.sleep(told.pace)
    here.close()
    (told.folder / "result.json").write_text(json.dumps(asdict(state)))
    say("Training finished")


if __name__ == "__main__":
    main()
