"""`make demo-ranks`: stops and slows ranks of running jobs, and prints what relight said of it, and after how long.

Four jobs of `ranks.py` run side by side under one `relight run`. What happens to them is no line of any log: relight
has to see that nothing comes any more, or that one rank is slower than its peers. It ends with status 1 if something
was not seen, not undone, or seen where nothing was.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo.pipeline import CLUSTER, PROMPT, Pipeline
from relight.topics import SIGNALS
from remediate.case import Case
from schemas.history import IncidentResolved, State
from schemas.incident import Blamed
from schemas.signal import Signal
from schemas.vocabulary import Kind

RANKS: Final = 4
BEGIN_S: Final = 60.0
SEEN_S: Final = 100.0
OVER_S: Final = 30.0
STEPS: Final = 40
"""So many steps relight has seen of every rank before something happens to it."""
_STOPPED_S: Final = 0.25
_RUNNING_S: Final = 0.05
_PROGRAM: Final = Path(__file__).parent / "ranks.py"


@dataclass(frozen=True)
class Pids:
    """The processes of a rank."""

    rank: int
    loader: int


def started(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a job with its logs in a folder."""
    return subprocess.Popen([sys.executable, str(_PROGRAM), str(folder), *options], start_new_session=True)


def killed(job: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a job."""
    with suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.wait()


def pids(folder: Path, rank: int) -> Pids:
    """Return the processes of a rank of a job that has begun."""
    return Pids(**json.loads((folder / "pids.json").read_text())[rank])


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still as long as this lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """Let a process run for a sixth of the time only, as long as this lasts: a step takes it three times as long."""
    enough = threading.Event()

    def throttle() -> None:
        while not enough.is_set():
            with stopped(pid):
                time.sleep(_STOPPED_S)
            time.sleep(_RUNNING_S)

    turns = threading.Thread(target=throttle)
    turns.start()
    try:
        yield
    finally:
        enough.set()
        turns.join()


@dataclass(frozen=True)
class Trouble:
    """What happens to a rank of a job, and what relight should say of it; without a fault nothing happens.

    `begin` does it to the processes of the rank, and ends it on leaving.
    """

    job: str
    what: str
    fault: str = ""
    rank: int = 0
    begin: Callable[[Pids], AbstractContextManager[None]] = lambda pids: nullcontext()


TROUBLES: Final = (
    Trouble("1", "rank 2 is stopped (SIGSTOP)", "training.hang", 2, lambda pids: stopped(pids.rank)),
    Trouble("2", "the data loader of rank 3 is stopped", "training.hang", 3, lambda pids: stopped(pids.loader)),
    Trouble("3", "rank 1 is throttled to a third", "training.straggler", 1, lambda pids: throttled(pids.rank)),
    Trouble("4", "nothing"),
)


@dataclass(frozen=True)
class Told:
    """What relight said of a job: the first diagnosis, the culprit, why it was over, and how long each took (seconds).

    `others` is what it said besides.
    """

    trouble: Trouble
    at_s: float
    fault: str = ""
    culprit: Blamed | None = None
    after_s: float | None = None
    resolved: str = ""
    resolved_after_s: float | None = None
    others: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Tell whether it was what had to be said, and nothing else."""
        rank = self.culprit.rank if self.culprit else None
        seen = self.fault == self.trouble.fault and (rank == self.trouble.rank or not self.fault)
        return seen and bool(self.resolved) == bool(self.fault) and not self.others


@dataclass
class Watched(Pipeline):
    """Jobs, each with logs of its own in the folder, and `relight run` over all of them."""

    jobs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self) -> None:
        """Start the jobs, and relight."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "relight.toml").write_text(self._settings(), encoding="utf-8")
        for trouble in TROUBLES:
            self.jobs[trouble.job] = started(self.of(trouble))
        self.call("setup")
        self.start(["run", str(self.folder / "job_*" / "rank_*.log")])

    def of(self, trouble: Trouble) -> Path:
        """Return the folder of a job."""
        return self.folder / f"job_{trouble.job}"

    def pids(self, trouble: Trouble) -> Pids:
        """Return the processes of the rank that something happens to."""
        return pids(self.of(trouble), trouble.rank)

    def under_way(self) -> bool:
        """Tell whether relight has seen the first steps of all ranks of all jobs."""
        told = (event.data for event in self.events(SIGNALS))
        counts = {one.source: one.count for one in told if isinstance(one, Signal) and one.kind is Kind.PROGRESS}
        return len(counts) == RANKS * len(TROUBLES) and min(counts.values()) >= STEPS

    def close(self) -> None:
        """Stop relight, and the jobs."""
        super().close()
        for job in self.jobs.values():
            killed(job)

    def _settings(self) -> str:
        return f"""\
[cluster]
name = "{CLUSTER}"
[embedded]
path = "{self.folder}/relight.db"
[ship]
{PROMPT}"""


def watched(folder: Path, note: Callable[[str], None] = lambda text: None) -> list[Told]:
    """Let all troubles happen at once, end them when they have been seen, and return what was said.

    Raises:
        NotInTime: The jobs do not begin, or relight has ended.
    """
    stand = Watched(folder)
    with closing(stand):
        stand.begin()
        stand.until(stand.under_way, BEGIN_S, "the beginning of the jobs")
        began_s = time.time()
        seen: dict[str, float] = {}
        with ExitStack() as lasting:
            for trouble in TROUBLES:
                lasting.enter_context(trouble.begin(stand.pids(trouble)))
            _noted(stand, seen, State.OPEN, SEEN_S, note)
        ended_s = time.time()
        over: dict[str, float] = {}
        _noted(stand, over, State.RESOLVED, OVER_S, note)
        cases = list(stand.happened().cases.values())
        ends = {e.subject: e.data.reason for e in stand.events() if isinstance(e.data, IncidentResolved)}
    times = {job: (at_s - began_s, over[job] - ended_s if job in over else None) for job, at_s in seen.items()}
    return [_told(trouble, cases, ends, began_s, times.get(trouble.job)) for trouble in TROUBLES]


def _noted(
    stand: Watched, found: dict[str, float], state: State, patience_s: float, note: Callable[[str], None]
) -> None:
    """Note when each job that has a trouble is in a state, until all are or it takes too long."""
    wanted = {trouble.job: trouble for trouble in TROUBLES if trouble.fault}
    deadline = time.monotonic() + patience_s

    def all_found() -> bool:
        for case in stand.happened().cases.values():
            expected = wanted.get(case.job or "")
            if expected and case.fault == expected.fault and case.history.state is state and expected.job not in found:
                found[expected.job] = time.time()
                note(f"job {expected.job}: {case.fault} is {state}")
        return found.keys() == wanted.keys() or time.monotonic() > deadline

    stand.until(all_found, patience_s + BEGIN_S, "what is said")


def _told(
    trouble: Trouble,
    cases: Sequence[Case],
    ends: Mapping[str, str],
    at_s: float,
    took_s: tuple[float, float | None] | None,
) -> Told:
    """Return what was said of a job; `ends` tells why incidents were resolved, `took_s` how long both took."""
    own = sorted((case for case in cases if case.job == trouble.job), key=lambda case: case.history.opened_s or 0.0)
    first = next((case for case in own if case.fault == trouble.fault), None)
    others = tuple(case.fault for case in own if case is not first)
    if first is None or first.history.diagnosed is None or took_s is None:
        return Told(trouble, at_s, others=tuple(case.fault for case in own))
    is_over = first.history.state is State.RESOLVED
    return Told(
        trouble,
        at_s,
        fault=first.fault,
        culprit=first.history.diagnosed.diagnosis.culprit,
        after_s=took_s[0],
        resolved=ends.get(first.history.id, "") if is_over else "",
        resolved_after_s=took_s[1],
        others=others,
    )


def table(found: Sequence[Told]) -> Table:
    """Return what was said, as a table."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("job", "what happened", "at (UTC)", "relight said", "culprit", "after", "when it ended", "after"):
        shown.add_column(title, justify="right" if title == "after" else "left")
    for one in found:
        said = ", ".join((one.fault or "nothing", *one.others))
        at = datetime.fromtimestamp(one.at_s, UTC).strftime("%H:%M:%S") if one.trouble.fault else ""
        culprit = "" if one.culprit is None else f"rank {one.culprit.rank} on {one.culprit.host}"
        times = [_seconds(one.after_s), one.resolved, _seconds(one.resolved_after_s)]
        style = "" if one.right else "red"
        shown.add_row(one.trouble.job, one.trouble.what, at, said, culprit, *times, style=style)
    return shown


def _seconds(span_s: float | None) -> str:
    return "" if span_s is None else f"{span_s:.1f} s"


def main() -> None:
    """Let it happen, and print what was said of it."""
    out = Console(stderr=True)
    out.print("Four jobs of four ranks run; in ten seconds something happens to three. A hang is said after a minute.")
    with tempfile.TemporaryDirectory(prefix="relight-demo-") as folder:
        found = watched(Path(folder), out.print)
    Console(width=max(140, Console().width)).print(table(found))
    sys.exit(0 if all(told.right for told in found) else 1)


if __name__ == "__main__":
    main()
