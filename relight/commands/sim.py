"""Commands of the simulator: write the logs of a cluster to files, stream them, and score relight against the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from relight.commands.errors import OneLine, mistakes
from relight.commands.options import with_settings

if TYPE_CHECKING:
    from relight.settings import Resolved
    from relight.sim.world import World

_seed = click.option("--seed", type=click.IntRange(min=0), required=True, help="The same seed makes the same bytes.")
_loss = click.option(
    "--loss", type=click.FloatRange(0, 0.95), default=0.0, show_default=True, help="Share of lines lost."
)
_skew = click.option(
    "--skew",
    type=click.FloatRange(0, 300),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How wrong hosts' clocks are at most.",
)
_scenarios = click.option(
    "--scenarios",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Scenarios of this folder instead of relight's own.",
)
_WORLD = (
    _seed,
    click.option("--hosts", type=click.IntRange(1, 4096), default=8, show_default=True, help="Hosts with 8 GPUs each."),
    click.option(
        "--days", type=click.FloatRange(0.02, 60), default=0.25, show_default=True, help="How long it goes on."
    ),
    click.option("--scenario", metavar="NAME", help="What goes wrong first; `relight sim list` shows all."),
    _scenarios,
    click.option(
        "--incidents", type=click.IntRange(0), default=1, show_default=True, help="How many jobs something happens to."
    ),
    click.option("--healthy", is_flag=True, help="Nothing goes wrong: the same as --incidents 0."),
    click.option(
        "--variant",
        type=click.Choice(["alone", "precursor", "distraction"]),
        default="alone",
        show_default=True,
        help="Also a similar error that the run survived, or another fault's lines that did no harm.",
    ),
    _loss,
    _skew,
    click.option(
        "--noise",
        type=click.FloatRange(0, 100),
        default=1.0,
        show_default=True,
        help="How much is said on a good day: 1 is about 6,000 lines a host and day.",
    ),
)


def _world_options(command: Any) -> Any:
    for option in reversed(_WORLD):
        command = option(command)
    return command


@click.group()
def sim() -> None:
    """Simulate a training cluster, whose failures are known: for tests of relight, and to try it out."""


@sim.command("list")
@click.option("--format", "-f", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_scenarios(form: str) -> None:
    """List the scenarios: what goes wrong, which fault class is right, and what is special."""
    from relight.sim.scenario import scenarios

    if form == "json":
        import orjson

        listed = [scenario.model_dump(mode="json", exclude={"lines", "precursor"}) for scenario in scenarios().values()]
        click.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2).decode())
        return
    width = max(map(len, scenarios()))
    faults = max(len(scenario.fault) for scenario in scenarios().values())
    for scenario in scenarios().values():
        click.echo(f"{scenario.name:<{width}}  {scenario.fault:<{faults}}  {scenario.special}")


@sim.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@_world_options
def write(out: Path, **given: Any) -> None:
    """Write the logs of a simulated cluster to OUT/logs, and what really happened to OUT/truth.json."""
    from relight.sim.telling import write as written

    if (out / "logs").exists() and any((out / "logs").iterdir()):
        raise OneLine(f"{out / 'logs'} is not empty: name another directory, or empty it.")
    world = _simulated(given)
    with mistakes(NotADirectoryError):
        out.mkdir(parents=True, exist_ok=True)
        truth = written(world, out)
    for incident in truth.incidents:
        where = f" on {incident.host}" if incident.host else ""
        happened = f"{incident.happened:%Y-%m-%d %H:%M:%S} UTC"
        click.echo(f"{incident.run}: {incident.scenario}{where} ({incident.fault}) at {happened}")
    click.echo(
        f"{out / 'logs'}: {truth.lines} lines, {truth.bytes / 1e6:.1f} MB of {truth.hosts} hosts; {out / 'truth.json'}"
    )


@sim.command()
@_world_options
@click.option("--rate", type=click.FloatRange(1), default=5000.0, show_default=True, help="Lines a second.")
@click.option("--recent", is_flag=True, help="Date the lines so that they end about now, not as the seed says.")
@with_settings
def stream(resolved: "Resolved", rate: float, recent: bool, **given: Any) -> None:
    """Send the lines of a simulated cluster to relight.logs, as shippers of its hosts would."""
    import time
    from dataclasses import replace

    from relight.progress import progress
    from relight.sim.streaming import Sending, send
    from relight.sim.world import simulated
    from relight.sim.writing import texts
    from relight.transports.opening import open_log, place

    settings = resolved.settings
    world = _simulated(given)
    if recent:
        world = simulated(replace(world.options, start_s=time.time() - (world.end_s - world.start_s)))
    lines = texts(world.tape, world.layout, world.options.seed, world.options.loss)
    sending = Sending(lines, settings.cluster.name, f"sim-{world.options.seed}")
    with open_log(settings) as log, progress(sending.total, "streaming", "lines", 20_000) as advance:
        sent = send(sending, log, rate, lambda: int(time.time() * 1000), time.sleep, advance)
    click.echo(
        f"{place(settings)}: {sent} lines of {world.options.hosts} hosts for the cluster {settings.cluster.name}"
    )


def _simulated(given: dict[str, Any]) -> "World":
    from relight.sim.scenario import BadScenarios, UnknownScenario
    from relight.sim.world import Impossible, Options, simulated

    incidents = 0 if given.pop("healthy") else given.pop("incidents")
    given.pop("incidents", None)
    if incidents == 0 and given["scenario"]:
        raise click.UsageError("--scenario and a healthy run exclude each other.")
    with mistakes(Impossible, UnknownScenario, BadScenarios):
        return simulated(Options(incidents=incidents, skew_s=given.pop("skew"), **given))


class _Sizes(click.ParamType[tuple[int, int]]):
    """A number of hosts, or a range of it such as `8-64`."""

    name = "hosts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the least and the most."""
        if isinstance(value, tuple):
            return value
        low, dash, high = str(value).partition("-")
        high = high if dash else low
        if not (low.isdigit() and high.isdigit() and 1 <= int(low) <= int(high) <= 4096):
            self.fail(f"{value!r} is no number of hosts: write 16 or 8-64, up to 4096.", param, ctx)
        return int(low), int(high)


@sim.command()
@_seed
@click.option("--incidents", type=click.IntRange(0), default=50, show_default=True, help="How many to judge by.")
@click.option("--hosts", type=_Sizes(), default="4-32", show_default=True, metavar="N|MIN-MAX", help="Sizes of sites.")
@click.option("--days", type=click.FloatRange(0.02, 60), default=0.1, show_default=True, help="How long each goes on.")
@click.option("--scenario", metavar="NAME", help="Only this one.")
@_scenarios
@click.option("--healthy-node-days", type=click.FloatRange(0), default=0.0, help="Also so much where nothing happens.")
@_loss
@_skew
@click.option("--live", is_flag=True, help="Also live through each, tick by tick: how soon is what told?")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Processes to use.")
@click.option("--format", "-f", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def score(
    seed: int,
    incidents: int,
    hosts: tuple[int, int],
    days: float,
    scenario: str | None,
    scenarios: Path | None,
    healthy_node_days: float,
    loss: float,
    skew: float,
    live: bool,
    jobs: int,
    form: str,
) -> None:
    """Simulate incidents, scan each one's logs, and compare what is reported with what really happened.

    All scenarios come in turn: alone, after a similar error that was survived, beside one, or two at a site.
    """
    from relight.progress import progress
    from relight.sim.scenario import BadScenarios, UnknownScenario
    from relight.sim.scenario import scenario as named
    from relight.sim.summary import shown, summed
    from relight.sim.trials import healthy, planned, tried

    with mistakes(UnknownScenario, BadScenarios):
        only = named(scenario, scenarios).name if scenario else None
        trials = planned(seed, incidents, hosts, loss, skew, days, only, scenarios)
    trials += healthy(seed, healthy_node_days, hosts, loss, skew, days)
    with progress(len(trials), "scoring", "sites", 4) as advance:
        summary = summed(tried(trials, jobs, advance, live=live), live=live)
    click.echo(summary.model_dump_json(indent=2) if form == "json" else "\n".join(shown(summary)))
