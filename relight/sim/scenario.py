"""What a scenario is: a failure as data, with the lines that tell of it, how it spreads, and its sources."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError

from relight.sim.tape import Kind
from schemas.faults import FaultName
from schemas.model import Model
from schemas.vocabulary import Culprit


def _span(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


Span = Annotated[tuple[float, float], BeforeValidator(_span)]
"""A range that a number is drawn from; a bare number is that number."""


class Repeat(Model):
    """How often a line is said again, and after how many seconds each time."""

    times: Span
    every_s: Span


class Said(Model):
    """A line (or several that are written at once), `at_s` seconds from the moment at which it happens.

    `who` chooses whose stream it stands in: `culprit` (the rank, its host), `host` (all ranks of that host),
    `neighbours` (those without the culprit), `others` (all ranks elsewhere), `all`, `master` (rank 0), `speaker` (who
    reports progress), `one` (one rank of another host). `says` marks the lines that tell the cause; `line` is which of
    """

    by: Kind
    text: str
    at_s: Span = (0.0, 0.0)
    who: Literal["culprit", "host", "neighbours", "others", "all", "master", "speaker", "one"] = "culprit"
    says: bool = False
    line: int | None = None
    repeat: Repeat | None = None
    tag: str = "systemd"
    level: int = 4
    event: tuple[str, str] | None = None
    about: Literal["Pod", "Node", "PyTorchJob"] = "Pod"
    plain: bool = False


class Spread(Model):
    """How a failure reaches the rest of the job; the module `spreads` says what each kind does.

    `exit` is the exit status of those who die first, negative for a signal; `after_s` when they die. `network`: NCCL
    says why; `agentless`: their launcher dies with them; `odd`: the culprit waits in another collective than the rest.
    """

    kind: Literal["crash", "hang", "host_lost", "ended", "evicted", "none"]
    ranks: Literal["culprit", "host", "all", "peer", "speaker", "master"] = "culprit"
    exit: int = 1
    after_s: Span = (1.0, 4.0)
    reboots_after_s: Span | None = None
    why: str = ""
    slower: Span = (1.0, 1.0)
    curve: Literal["steady", "nan", "spike", "diverge"] = "steady"
    network: bool = False
    agentless: bool = False
    odd: bool = False


class Needs(Model):
    """What a site or a job must have for a scenario to happen there; empty: anything."""

    scheduler: Literal["slurm", "kubernetes"] | None = None
    fabric: Literal["infiniband", "roce"] | None = None
    filesystem: Literal["lustre", "nfs"] | None = None
    frameworks: tuple[str, ...] = ()
    hosts: int = 1


class Scenario(Model):
    """A failure. `fault` is the class that is right, `also` those that can be defended as well.

    `when` it strikes: `running`, `start` (before the first step), `load` (as a checkpoint is loaded), `save` (as one
    is written). `strikes` tells whom: the host with rank 0, or another. `names_host`: a host is to blame. `cancels`:
    the run was ended by somebody's will. `near_s` is how much later than the first another telling line may be said and
    still be as good an answer.
    """

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    fault: FaultName
    also: tuple[FaultName, ...] = ()
    culprit: Culprit
    names_host: bool = True
    special: str
    sources: tuple[str, ...] = Field(min_length=1)
    when: Literal["running", "start", "load", "save"] = "running"
    strikes: Literal["any", "master", "worker"] = "any"
    needs: Needs = Needs()
    values: Mapping[str, Any] = {}
    lines: tuple[Said, ...] = ()
    spread: Spread
    precursor: tuple[Said, ...] = ()
    cancels: bool = False
    near_s: float = 5.0

    @property
    def silent(self) -> bool:
        """Tell whether no line says the cause. The spread says it of a lost host, of rank 0's store, and of a curve."""
        told = self.spread
        tells = told.kind == "host_lost" or told.curve != "steady" or (told.kind == "hang" and self.when == "start")
        return not tells and not any(said.says for said in self.lines)

    @property
    def ends_run(self) -> bool:
        """Tell whether the job does not survive it."""
        return self.spread.kind != "none"


class UnknownScenario(Exception):
    """No scenario has that name; the message lists those that are like it."""


class BadScenarios(Exception):
    """A folder holds no scenarios, or one that cannot be read; the message says which and why."""


@cache
def scenarios(folder: Path | None = None) -> Mapping[str, Scenario]:
    """Return all scenarios by their names, in the order of their files: of a folder, else those of relight.

    Raises:
        BadScenarios: the folder holds none, or one that cannot be read.
    """
    there = folder or resources.files("relight.sim").joinpath("data/scenarios")
    found: dict[str, Scenario] = {}
    files = [file for file in there.iterdir() if file.name.endswith(".yaml")] if there.is_dir() else []
    for file in sorted(files, key=lambda file: file.name):
        try:
            entries = yaml.safe_load(file.read_text("utf-8"))
            read = [Scenario.model_validate(entry) for entry in entries if "name" in entry]
        except (yaml.YAMLError, ValidationError, TypeError, UnicodeDecodeError) as error:
            raise BadScenarios(f"{file} holds no scenarios: {' '.join(str(error).split())[:300]}") from error
        found |= {scenario.name: scenario for scenario in read}
    if not found:
        raise BadScenarios(f"{there} holds no scenarios: they are lists in files named *.yaml.")
    return found


def scenario(name: str, folder: Path | None = None) -> Scenario:
    """Return the scenario of a name, of a folder or of relight's own.

    Raises:
        UnknownScenario: there is none.
        BadScenarios: the folder holds none, or one that cannot be read.
    """
    from difflib import get_close_matches

    known = scenarios(folder)
    if name not in known:
        near = get_close_matches(name, known, 3, 0.5)
        advice = f" Did you mean {', '.join(near)}?" if near else " `relight sim list` shows all."
        raise UnknownScenario(f"{name!r} is no scenario.{advice}")
    return known[name]
