"""What really happened, as a file: the runs, the incidents with culprits and first lines, and what was survived."""

from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from schemas.faults import FaultName
from schemas.model import Model
from schemas.vocabulary import Culprit

TrueOutcome = Literal["succeeded", "failed", "cancelled", "running"]


class TrueLine(Model):
    """A line that tells of an incident: its file (below the logs), its number from 1, its text, when it was said.

    `said` is the true time. `stamped` is what the host's clock showed.
    """

    file: str
    line: int = Field(ge=1)
    text: str
    said: AwareDatetime
    stamped: AwareDatetime


class TrueRun(Model):
    """A job: where it ran, and how it ended. `ended` is `None` while it is running."""

    job: str
    hosts: tuple[str, ...]
    ranks: int
    framework: str
    launcher: str
    scheduler: str
    started: AwareDatetime
    ended: AwareDatetime | None = None
    outcome: TrueOutcome


class TrueIncident(Model):
    """A fault that hurt a run. All times are true ones.

    `fault` is the class that is right; `also` could be defended. `host`, `gpu`, `rank` and `nic` name the culprit as
    far as one is to blame. `lines` are all that tell the cause, in the order of their true times (at most 64), as far
    as they were not lost; the first is `first_line`, and
    one that is said up to `near_s` later is as good. `silent`: nothing ever says it. `survived` are the lines of
    similar errors before, or of others beside it, that did no harm.
    """

    scenario: str
    run: str
    fault: FaultName
    also: tuple[FaultName, ...] = ()
    culprit: Culprit
    host: str | None = None
    gpu: str | None = None
    rank: int | None = None
    nic: str | None = None
    happened: AwareDatetime
    visible: AwareDatetime | None = None
    first_line: TrueLine | None = None
    lines: tuple[TrueLine, ...] = ()
    survived: tuple[TrueLine, ...] = ()
    near_s: float
    silent: bool = False
    ended_run: bool = True


class Truth(Model):
    """Everything about a simulation. `skew_s` bounds how wrong clocks are; `loss` is the share of lines lost."""

    seed: int
    cluster: str
    layout: str
    hosts: int
    began: AwareDatetime
    ended: AwareDatetime
    node_days: float
    skew_s: float
    loss: float
    lines: int
    bytes: int
    runs: tuple[TrueRun, ...]
    incidents: tuple[TrueIncident, ...]


def read(path: Path) -> Truth:
    """Read a truth from its file.

    Raises:
        pydantic.ValidationError: the file is none.
    """
    return Truth.model_validate_json(path.read_bytes())
