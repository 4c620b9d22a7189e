"""How fast the pipeline is on a real Kafka: from a line to its incident, and how much it takes; `make bench-pipeline`.

Everything runs on this machine: the broker, the stages, and what writes the lines. The figures are of all of them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from relight.settings import settings
from relight.topics import INCIDENTS, LOGS
from relight.transports.opening import open_log
from relight.transports.port import EventLog, Outgoing, Partition
from relight.transports.reading import records
from schemas.events import decoded
from schemas.history import EvidenceAdded
from schemas.shipped import Shipped
from tests.servers.kafka_server import KafkaServer

MATCHERS: Final = 2
"""Processes of `match` where each record is one line."""

RELIGHT: Final = str(Path(sys.executable).parent / "relight")
STEP: Final = "[{at}] [INFO] step: {step:6d} loss: 2.{step:05d} grad_norm: 0.51 memory: 61.2GiB tps: 9,012 mfu: 41.3%\n"
START: Final = "[{at}] [INFO] Training starts at step 1\n"
TALK: Final = (
    "[{at}] [INFO] rank{step} loader: shard {step:08d} of the corpus is open, 4,096 samples, 2 workers wait for it\n",
    "gpu-03:{step}:4811 [3] NCCL INFO Channel {step}/0 : 3[3] -> 4[4] via P2P/CUMEM/read comm 0x55d0c0ffee\n",
    "[{at}] [INFO] batch {step}: sequence lengths 4096 4096 4096 3911, packed, 7 documents cross a border\n",
    "[{at}] [DEBUG] allocator: reserved 61,203 MiB, active 58,880 MiB, 41 segments, fragmentation 3.8 % at {step}\n",
)
"""What the other four of five lines are like."""

FAULT: Final = "ValueError: fault number {number} of this bench\n"


class Pipeline:
    """A broker and the stages as processes, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = KafkaServer(folder / "kafka")
        self.flags = ("--bootstrap", self.server.address)
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "RELIGHT_SHIP__JOURNAL": "false",
            "RELIGHT_SHIP__KERNEL": "false",
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command of relight."""
        err = (self.folder / "stages.err").open("ab")
        process = subprocess.Popen([RELIGHT, *words, *self.flags], env=self.environment, stdout=err, stderr=err)
        err.close()
        self._running.append(process)
        return process

    def log(self) -> EventLog:
        """Open the log."""
        return open_log(settings({"kafka.bootstrap": self.server.address}, None))

    def close(self) -> None:
        """Stop everything, and print what the stages complained of."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait()
        self.server.stop()
        said = [line for line in (self.folder / "stages.err").read_text().splitlines() if '"level": "info"' not in line]
        print(*said[-20:], sep="\n", end="\n" if said else "", file=sys.stderr)


@contextmanager
def pipeline(parent: Path) -> Iterator[Pipeline]:
    folder = Path(tempfile.mkdtemp(prefix="pipeline-", dir=parent))
    (folder / "kafka").mkdir()
    found = Pipeline(folder)
    found.server.start()
    try:
        subprocess.run([RELIGHT, "setup", *found.flags], env=found.environment, check=True, stdout=subprocess.DEVNULL)
        yield found
    finally:
        found.close()


def latency(parent: Path, rate: int, seconds: int, faults: int) -> list[float]:
    """Return the seconds from writing each fault's line to reading its incident's event, under a load of lines."""
    with pipeline(parent) as own, own.log() as log:
        logs = own.folder / "logs"
        files = [logs / f"load-{n}" / "train.log" for n in range(8)] + [
            logs / f"slurm-{n + 1}.out" for n in range(faults)
        ]
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(START.format(at=_now()) + STEP.format(at=_now(), step=1))
        own.start("ship", str(logs))
        own.start("diagnose", "match")
        own.start("diagnose", "correlate")
        _until(lambda: sum(log.positions("relight.match", LOGS).values()) >= len(files) // 2)
        stop, written = threading.Event(), {}
        seen: dict[int, float] = {}
        threads = [
            threading.Thread(target=_load, args=(files[:8], rate, stop)),
            threading.Thread(target=_watch, args=(own, seen, stop)),
        ]
        for thread in threads:
            thread.start()
        time.sleep(5)
        for number, path in enumerate(files[8:]):
            with path.open("a") as file:
                file.write(FAULT.format(number=number))
            written[number] = time.time()
            time.sleep(seconds / faults)
        _until(lambda: seen.keys() >= written.keys())
        stop.set()
        for thread in threads:
            thread.join()
    return [seen[number] - at for number, at in written.items() if number in seen]


def _load(files: list[Path], rate: int, stop: threading.Event) -> None:
    """Write lines at a rate, 50 times a second, to all files in turn."""
    opened = [path.open("a") for path in files]
    step, begun = 1, time.monotonic()
    each = max(1, rate // 50 // len(files))
    while not stop.is_set():
        for file in opened:
            at = _now()
            file.write("".join(STEP.format(at=at, step=step + n) for n in range(each)))
            file.flush()
        step += each
        time.sleep(max(0.0, begun + step * len(files) / rate - time.monotonic()))
    for file in opened:
        file.close()


def _watch(own: Pipeline, seen: dict[int, float], stop: threading.Event) -> None:
    """Note when the event of each fault's incident can be read."""
    with own.log() as log:
        at = dict.fromkeys(log.spans(INCIDENTS), 0)
        while not stop.is_set():
            for number in at:
                for record in log.read(Partition(INCIDENTS, number), at[number]):
                    at[number] = record.offset + 1
                    data = decoded(record.value).data
                    if isinstance(data, EvidenceAdded) and "fault number" in data.evidence.first.text:
                        fault = int(data.evidence.first.text.split("fault number ")[1].split()[0])
                        seen.setdefault(fault, time.time())
            time.sleep(0.01)


def outage(parent: Path, rate: int, seconds: int) -> tuple[int, int, float]:
    """Kill the broker for some time while lines are written.

    Returns:
        How many lines were written, how many of them are in the log afterwards, each once, and how many seconds it took
        after the broker was back until all were.
    """
    with pipeline(parent) as own:
        path = own.folder / "logs" / "slurm-1.out"
        path.parent.mkdir()
        path.write_text(START.format(at=_now()))
        own.start("ship", str(path))
        stop = threading.Event()
        writer = threading.Thread(target=_load, args=([path], rate, stop))
        writer.start()
        time.sleep(5)
        own.server.kill()
        time.sleep(seconds)
        own.server.start()
        back = time.monotonic()
        stop.set()
        writer.join()
        written = path.read_bytes()
        with own.log() as log:
            _until(lambda: len(_shipped(log)) >= len(written), 120)
            took, arrived = time.monotonic() - back, _shipped(log)
    same = arrived == written
    return written.count(b"\n"), arrived.count(b"\n") if same else 0, took


def _shipped(log: EventLog) -> bytes:
    """Return the bytes of the only source, put together from its chunks; what came twice is dropped."""
    found = bytearray()
    for record in records(log, LOGS):
        header = Shipped.from_headers(record.headers)
        assert header is not None
        found += (record.value or b"")[max(0, len(found) - header.offset_bytes) :]
    return bytes(found)


def throughput(parent: Path, size_bytes: int) -> tuple[float, float, float]:
    """Return MB/s of `ship` alone, of `match` alone on what was shipped, and of both at once."""
    with pipeline(parent) as own, own.log() as log:
        size = _runs(own.folder / "logs", size_bytes)
        begun = time.monotonic()
        own.start("ship", str(own.folder / "logs"), "--once").wait()
        shipping = size / 1e6 / (time.monotonic() - begun)
        own.start("diagnose", "match")
        matching = _steady(log, size)
    with pipeline(parent) as own, own.log() as log:
        size = _runs(own.folder / "logs", size_bytes)
        own.start("diagnose", "match")
        time.sleep(3)
        shipper = own.start("ship", str(own.folder / "logs"), "--once")
        _until(lambda: any(span.end for span in log.spans(LOGS).values()))
        begun = time.monotonic()
        shipper.wait()
        total = sum(span.end for span in log.spans(LOGS).values())
        _until(lambda: sum(log.positions("relight.match", LOGS).values()) >= total)
        both = size / 1e6 / (time.monotonic() - begun)
    return shipping, matching, both


def one_line_a_record(parent: Path, lines: int) -> float:
    """Return lines/s of `match` where each record is one line of a foreign shipper."""
    with pipeline(parent) as own, own.log() as log:
        for begin in range(0, lines, 20_000):
            log.append(
                [
                    Outgoing(
                        LOGS, f"<6>{_now()} gpu-{n % 64:02d} train: {STEP.format(at=_now(), step=n)}".rstrip().encode()
                    )
                    for n in range(begin, min(lines, begin + 20_000))
                ]
            )
        for _ in range(MATCHERS):
            own.start("diagnose", "match")
        return _steady(log, lines) * 1e6


def _steady(log: EventLog, size: float) -> float:
    """Return how much of `size` is matched in a second (millionth parts of it), between a fifth and the end of it."""
    total = 0
    points: list[tuple[float, int]] = []
    while not points or points[-1][1] < total or not total:
        total = sum(span.end for span in log.spans(LOGS).values())
        points.append((time.monotonic(), sum(log.positions("relight.match", LOGS).values())))
        quiet = len(points) > 20 and points[-20][1] == points[-1][1] > 0
        if quiet and points[-1][1] >= total:
            break
        time.sleep(0.1)
    moving = [point for point in points if 0.2 * total <= point[1]]
    first = moving[0]
    last = next(point for point in moving if point[1] >= total)
    share = (last[1] - first[1]) / total
    return share * size / 1e6 / max(1e-9, last[0] - first[0])


def _runs(folder: Path, size_bytes: int) -> int:
    """Write the logs of eight long runs, and return their size."""
    folder.mkdir(parents=True)
    total = 0
    for number in range(8):
        with (folder / f"slurm-{number}.out").open("w") as file:
            file.write(START.format(at=_now()))
            step = 0
            while file.tell() < size_bytes // 8:
                lines = ("".join(line.format(at=_now(), step=step + n) for line in (STEP, *TALK)) for n in range(500))
                file.write("".join(lines))
                step += 500
            total += file.tell()
    return total


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def _until(look: "object", patience_s: float = 60) -> None:
    deadline = time.monotonic() + patience_s
    while not look() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=20_000, help="lines a second while latency is measured")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--faults", type=int, default=120)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--down", type=int, default=120, help="seconds for which the broker is down")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["latency", "throughput", "lines", "outage"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        if given.only in (None, "latency"):
            found = sorted(latency(folder, given.rate, given.seconds, given.faults))
            p99 = found[min(len(found) - 1, int(len(found) * 0.99))]
            print(
                f"latency at {given.rate} lines/s: {len(found)} of {given.faults} faults; "
                f"p50 {statistics.median(found):.3f} s, p99 {p99:.3f} s, most {found[-1]:.3f} s",
                flush=True,
            )
        if given.only in (None, "outage"):
            written, arrived, took_s = outage(folder, 2000, given.down)
            print(
                f"broker down for {given.down} s: {arrived} of {written} lines are there, each once, "
                f"{took_s:.1f} s after it was back",
                flush=True,
            )
        if given.only in (None, "throughput"):
            shipping, matching, both = throughput(folder, given.megabytes * 1_000_000)
            print(f"ship {shipping:.0f} MB/s, match {matching:.0f} MB/s, both at once {both:.0f} MB/s", flush=True)
        if given.only in (None, "lines"):
            print(f"one line a record: match {one_line_a_record(folder, given.lines):.0f} lines/s", flush=True)


if __name__ == "__main__":
    main()
