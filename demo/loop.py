"""`make demo-loop`: injects each fault into a running job, lets relight mend it, and prints what came of it.

    python -m demo.loop [--fault kill]... [--json] [--keep] [--kafka HOST:PORT]

It ends with status 1 if a fault was taken for another, was not mended by the right commands, or if the job has not come
to the same weights as a run that nothing interrupts.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo.faults import FAULTS, Fault, NotHere, disk
from demo.pipeline import NotInTime
from demo.stand import ALL_IN_ONE, STAGE_BY_STAGE, STEPS, Stand
from demo.train import State, reference
from remediate.case import Case
from remediate.cases import Cases
from schemas import history
from schemas.remedy import CommandHistory

PATIENCE_S: Final = 120.0
_OVER_S: Final = 20.0
_BESIDES: Final = ("notify",)
"""People may be told while relight goes on: when a restart has failed, and before it is known why."""

_CAPTION: Final = """\
detected, recovered: from the first line that tells of the failure until there is an incident, and until the job makes \
steps again. A diagnosis settles after 1 s here (30 s by default); free_disk is given 30 s to help by itself.
The program's own watchdog ends a hang after 3 s, in the words of NCCL's; `make demo-ranks` shows one that none ends."""


@dataclass(frozen=True)
class Told:
    """What became of a fault. `mended`: it was all as it should be; `why`, if not.

    `detected_s` is from the first line that tells of the failure until an incident with a diagnosis is on the topic,
    `recovered_s` from that line until the job makes the first step of its last attempt, both as this process sees it.
    `lost_steps` is what relight says.
    """

    fault: str
    what: str
    diagnosed: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    detected_s: float | None = None
    recovered_s: float | None = None
    lost_steps: int | None = None
    attempts: int = 0
    result: str = ""
    mended: bool = False
    skipped: bool = False
    why: str = ""


def tried(fault: Fault, folder: Path, kafka: str | None = None) -> Told:
    """Inject a fault into a job of its own, wait until the job has ended, and tell what became of it."""
    stand = Stand(folder / fault.name, kafka, STAGE_BY_STAGE if kafka else ALL_IN_ONE)
    try:
        with disk(stand.checkpoints) if fault.own_disk else nullcontext(), closing(stand):
            stand.begin()
            fault.inject(stand)
            return _followed(fault, stand)
    except NotHere as error:
        return Told(fault.name, fault.what, skipped=True, why=str(error))
    except NotInTime as error:
        return Told(fault.name, fault.what, result="not reached", why=str(error))


def _followed(fault: Fault, stand: Stand) -> Told:
    """Wait for the end of the job, and return what was said meanwhile."""
    seen_s: list[float] = []
    deadline = time.monotonic() + PATIENCE_S
    result = stand.folder / "result.json"

    def over() -> bool:
        cases = stand.happened()
        if not seen_s and any(case.history.diagnosed for case in cases.cases.values()):
            seen_s.append(time.time())
        open_ones = [case for case in cases.cases.values() if case.history.state is history.State.OPEN]
        late = time.monotonic() > deadline
        return (result.exists() and not open_ones and bool(seen_s) and not _unproved(cases)) or late

    stand.until(over, PATIENCE_S + _OVER_S, "the end of the job")
    return _told(fault, stand, stand.happened(), seen_s[0] if seen_s else None)


def _unproved(cases: Cases) -> list[CommandHistory]:
    return [one for one in cases.commands.values() if one.state.in_flight or one.state.pending]


def _told(fault: Fault, stand: Stand, cases: Cases, seen_s: float | None) -> Told:
    incidents = sorted(cases.cases.values(), key=lambda case: (case.history.opened_s or 0.0, case.attempt))
    failed = [case for case in incidents if case.history.diagnosed]
    commands = sorted(cases.commands.values(), key=lambda one: (one.planned_s or 0.0, one.sequence))
    lost = [case.history.lost_steps for case in failed if case.history.lost_steps is not None]
    began_s, steps = _began_s(failed), stand.steps(stand.attempts)
    done = Told(
        fault.name,
        fault.what,
        diagnosed=tuple(case.fault for case in failed),
        commands=tuple(one.plan.action.kind for one in commands if one.plan),
        detected_s=None if began_s is None or seen_s is None else round(seen_s - began_s, 1),
        recovered_s=round(steps[0].at_s - began_s, 1) if began_s is not None and steps else None,
        lost_steps=sum(lost) if lost else None,
        attempts=stand.attempts,
        result=_result(fault, stand),
    )
    return _judged(fault, done)


def _began_s(failed: Sequence[Case]) -> float | None:
    """Return when the first line that tells of the failure was written."""
    if not failed or failed[0].history.diagnosed is None:
        return None
    first = failed[0].history.diagnosed.diagnosis.first_cause
    return first.time.timestamp() if first and first.time else None


def _result(fault: Fault, stand: Stand) -> str:
    """Return in words how the job has ended, against a run that nothing interrupts."""
    path = stand.folder / "result.json"
    if not path.exists():
        return "not reached"
    if State(**json.loads(path.read_text())) != reference(stand.data, STEPS, fault.without):
        return "DIFFERS"
    return "same weights" + " as without the batches" * bool(fault.without)


def _judged(fault: Fault, told: Told) -> Told:
    wrong = []
    if told.diagnosed != fault.diagnosed:
        wrong.append(f"it should have been diagnosed as {', '.join(fault.diagnosed)}")
    if tuple(kind for kind in told.commands if kind not in _BESIDES) != fault.commands:
        wrong.append(f"it should have been mended by {', '.join(fault.commands)}")
    if not told.result.startswith("same"):
        wrong.append("the job did not come to its result")
    return Told(**asdict(told) | {"mended": not wrong, "why": "; ".join(wrong)})


def table(found: Sequence[Told]) -> Table:
    """Return what became of the faults, as a table."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=_CAPTION, caption_justify="left")
    shown.add_column("fault", overflow="fold")
    for title in ("diagnosed as", "commands"):
        shown.add_column(title, no_wrap=True)
    for title in ("detected", "recovered", "lost steps"):
        shown.add_column(title, justify="right")
    shown.add_column("result", overflow="fold")
    for one in found:
        result = f"SKIPPED: {one.why}" if one.skipped else one.result if one.mended else f"{one.result}: {one.why}"
        lost = "" if one.lost_steps is None else f"{one.lost_steps} of {STEPS}"
        style = "yellow" if one.skipped else "" if one.mended else "red"
        lines = ["\n".join(one.diagnosed), "\n".join(one.commands)]
        shown.add_row(one.what, *lines, _seconds(one.detected_s), _seconds(one.recovered_s), lost, result, style=style)
    return shown


def _seconds(span_s: float | None) -> str:
    return "" if span_s is None else f"{span_s:.1f} s"


def _all(faults: Sequence[Fault], folder: Path, kafka: str | None, out: Console) -> Iterator[Told]:
    for fault in faults:
        with out.status(f"{fault.what}: waiting for the job to go on"):
            told = tried(fault, folder, kafka)
        out.print(f"{fault.what}: {'skipped' if told.skipped else 'mended' if told.mended else 'NOT MENDED'}")
        yield told


def main() -> None:
    """Try the faults that are asked for, and print what became of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS], help="only this one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="use this Kafka, with nothing in it; one fault only")
    parser.add_argument("--keep", action="store_true", help="keep all files, and say where they are")
    asked = parser.parse_args()
    faults = [fault for fault in FAULTS if not asked.fault or fault.name in asked.fault]
    if asked.kafka and len(faults) > 1:
        parser.error("with --kafka name one --fault: its topics hold one run")
    folder, begun = Path(tempfile.mkdtemp(prefix="relight-demo-")), time.monotonic()
    out = Console(stderr=True)
    found = list(_all(faults, folder, asked.kafka, out))
    if asked.json:
        print(json.dumps([asdict(told) for told in found], indent=2))
    else:
        Console(width=max(120, Console().width)).print(table(found))
    out.print(f"{time.monotonic() - begun:.0f} s" + f", files in {folder}" * asked.keep)
    if not asked.keep:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if all(told.mended or told.skipped for told in found) else 1)


if __name__ == "__main__":
    main()
