"""The failure of a job of 10,000 GPUs: `python -m bench.ten_thousand` writes its logs and measures `relight scan`.

The simulator makes the logs of 1,250 hosts on which one GPU's firmware stops answering: one line of one kernel says so,
and ten minutes later all ranks but one time out. Then every rank screams: the store of the rendezvous is gone, and each
says so again and again, with a stack, until all files hold what was asked for.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import click
import orjson

from bench.measure import Bench, Cost, relight
from relight.sim.jobs import Rank
from relight.sim.layouts import LAYOUTS
from relight.sim.telling import told
from relight.sim.truth import Truth
from relight.sim.words import Moment
from relight.sim.world import Options, World, simulated
from relight.sim.writing import Found, Text, texts, written

HOSTS: Final = 1_250
GOAL_S: Final = 60.0
GOAL_BYTES: Final = 1_000_000_000
SEED: Final = 1
SCENARIO: Final = "gsp-timeout"
_FRAMES: Final = (
    "c10::Error::Error(c10::SourceLocation, std::string) + 0x80 (0x7f{a:07x}5a1b in libc10.so)",
    "<unknown function> + 0x5ba8afe (0x7f{a:07x}8afe in libtorch_cpu.so)",
    "<unknown function> + 0x5baae40 (0x7f{a:07x}ae40 in libtorch_cpu.so)",
    "c10d::TCPStore::check(std::vector<std::string> const&) + 0x2a9 (0x7f{a:07x}42a9 in libtorch_cpu.so)",
    "c10d::ProcessGroupNCCL::heartbeatMonitor() + 0x379 (0x7f{a:07x}3379 in libtorch_cuda.so)",
    "<unknown function> + 0xdc253 (0x7f{a:07x}c253 in libstdc++.so.6)",
    "clone + 0x43 (0x7f{a:07x}6a43 in libc.so.6)",
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--gigabytes", type=click.FloatRange(0.1, 50), default=5.0, show_default=True)
@click.option("--hosts", type=click.IntRange(2, 4096), default=HOSTS, show_default=True)
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Write here, or use what is there.")
def main(gigabytes: float, hosts: int, keep: Path | None) -> None:
    """Write the logs, scan them on two cores, and print a section of RESULTS.md."""
    with tempfile.TemporaryDirectory(prefix="relight-bench-") as scratch:
        folder = keep or Path(scratch) / "made"
        truth = made(folder, hosts, gigabytes)
        bench = Bench(Path(scratch), 1, 1800, lambda text: click.echo(text, err=True))
        bench.run(relight("scan", "--format", "json", folder / "truth.json"), all_cores=True, fine=(0, 1))  # the cache
        logs = folder / "logs"
        cost = bench.run(relight("scan", "--jobs", 2, "--format", "json", logs), all_cores=True, fine=(0, 1))
        click.echo("\n".join(section(truth, cost, _size(logs))))


def made(folder: Path, hosts: int, gigabytes: float) -> Truth:
    """Return the truth about logs that lie in a folder, or are written there first."""
    known = folder / "truth.json"
    if not known.exists():
        folder.mkdir(parents=True, exist_ok=True)
        world = simulated(Options(seed=SEED, hosts=hosts, days=0.1, scenario=SCENARIO))
        found, lines, size = list[Found](), 0, 0
        for text in _texts(world, int(gigabytes * 1e9 / (8 * hosts))):
            size, lines, found = size + written(text, folder / "logs"), lines + len(text.lines), found + text.found
        known.write_text(told(world, found, lines, size).model_dump_json(), encoding="utf-8")
    return Truth.model_validate_json(known.read_bytes())


def _texts(world: World, each: int) -> Iterator[Text]:
    """Yield all files, those of ranks with their screams of so many bytes."""
    job = world.jobs[0]
    silent = {f"job-{job.id}/rank_{rank.number}.log": rank for rank in job.ranks}
    for text in texts(world.tape, LAYOUTS["by-rank"], SEED, 0.0):
        if rank := silent.pop(text.path, None):
            text.lines += _scream(world, rank, each)
        yield text
    for path, rank in silent.items():
        yield Text(path, rank.host.name, [*_scream(world, rank, each)])


def section(truth: Truth, cost: Cost, size: int) -> Iterator[str]:
    """Yield what was measured as a section of RESULTS.md."""
    report, true = orjson.loads(cost.output.read_bytes()), truth.incidents[0]
    first = next((one for one in report["incidents"] if one["impact"] == "failed"), None)
    named = "nothing" if first is None else f"{first['fault']} on {first['culprit'].get('host')}"
    yield f"# The failure of {8 * truth.hosts:,} GPUs"
    yield ""
    yield f"{truth.hosts:,} hosts, {truth.lines:,} lines, {size / 1e9:.1f} GB; `relight scan --jobs 2`."
    yield f"True: {true.fault} on {true.host}; named first: {named}."
    yield ""
    yield "| goal | measured | met |"
    yield "| --- | ---: | ---: |"
    took_s, peak = cost.wall_s, cost.peak_bytes
    speed = f"{took_s:.1f} s ({size / 1e6 / took_s:.0f} MB/s; {cost.cpu_s:.0f} s of CPU time in all processes)"
    yield f"| under {GOAL_S:.0f} s on two cores | {speed} | {_met(took_s < GOAL_S)} |"
    yield f"| under 1 GB, the largest process | {peak / 1e6:.0f} MB | {_met(peak < GOAL_BYTES)} |"


def _scream(world: World, rank: Rank, size: int) -> Iterator[tuple[float, str]]:
    """Yield what a rank says when the store is gone, until so many bytes are said."""
    rng, master, done = Random(f"scream/{rank.number}"), world.jobs[0].hosts[0].name, 0
    time_s = world.end_s + rng.uniform(0, 5)
    while done < size:
        head = f"[rank{rank.number}]:[W{Moment(time_s + rank.host.skew_s):c10d} "
        where = f"addr=[{rank.host.name}]:{40_000 + rank.local}, remote=[{master}]:29500"
        group = f"[PG ID 0 PG GUID 0(default_pg) Rank {rank.number}]"
        lines = [
            f"{head}TCPStore.cpp:125] [c10d] recvValue failed on SocketImpl(fd=68, {where}): "
            "failed to recv, got 0 bytes",
            *(f"frame #{n}: {frame.format(a=rng.getrandbits(28))}" for n, frame in enumerate(_FRAMES)),
            "",
            f'{head}ProcessGroupNCCL.cpp:1662] {group} Failed to check the "should dump" flag on TCPStore, '
            "(maybe TCPStore server has shut down too early), with error: failed to recv, got 0 bytes",
        ]
        yield from ((time_s, line) for line in lines)
        done += sum(map(len, lines)) + len(lines)
        time_s += 1.0


def _size(logs: Path) -> int:
    return sum(path.stat().st_size for path in logs.rglob("*") if path.is_file())


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


if __name__ == "__main__":
    main()
