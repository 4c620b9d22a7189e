"""The command line. It reads arguments and prints; what is done is done elsewhere."""

import gc
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from diagnose.correlation.grouping import Grouping
from diagnose.rules import RuleError
from relight import __version__
from relight.commands import (
    completion,
    deadletters,
    incidents,
    keys,
    learning,
    metrics,
    operate,
    pipeline,
    playbooks,
    recovery,
    sim,
)
from relight.commands.errors import MISUSE, OneLine, mistakes
from schemas.vocabulary import Impact, Severity

FORMATS: Final = ("text", "markdown", "html", "json", "jsonl")


class _OneLineGroup(click.Group):
    """A group whose mistakes in usage are one line too: what is wrong, and which help to read."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; exit with status 2 on misuse."""
        gc.disable()  # what is imported stays: looking for garbage in it costs a tenth of the start
        try:
            sys.exit(super().main(*args, **extra | {"standalone_mode": False}) or 0)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(MISUSE)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "relight"
            click.echo(f"relight: {error.format_message()} See `{path} --help`.", err=True)
            sys.exit(MISUSE)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            click.echo("relight: interrupted", err=True)
            sys.exit(130)


@click.group(cls=_OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="relight")
def main() -> None:
    """Name the line that broke a training run, and say what to do about it."""


_rules_option = click.option(
    "--rules",
    "own_rules",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A directory or file with rules of your own; they add to the shipped ones or override them by id.",
)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="LOGDIR|FILE|GLOB|-...")
@click.option("--format", "-f", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to a file.")
@click.option(
    "--group",
    type=click.Choice([g.value for g in Grouping]),
    default=Grouping.AUTO.value,
    show_default=True,
    help="What is one run: found by looking, each file, each directory, or everything.",
)
@click.option("--jobs", "-j", type=click.IntRange(min=0), default=0, help="Processes to use; 0: as many as pay off.")
@click.option(
    "--fail-on",
    type=click.Choice([s.value for s in Severity]),
    help="Exit with status 1 if a run failed, or suffered an incident of at least this severity.",
)
@click.option(
    "--verdicts",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What people found right and wrong before: a file of `relight rules stats --format json`.",
)
@_rules_option
def scan(
    paths: tuple[str, ...],
    form: str,
    output: Path | None,
    group: str,
    jobs: int,
    fail_on: str | None,
    verdicts: Path | None,
    own_rules: tuple[Path, ...],
) -> None:
    """Find out why a run failed, from its logs alone.

    Reads files, directories, archives (.tar, .gz, .zst, .xz, .bz2), globs and standard input (-).
    """
    from relight.progress import progress
    from relight.scan import NothingToScan, found
    from relight.scan import scan as scan_inputs

    gc.enable()
    gc.freeze()
    with mistakes():
        record = _record(verdicts)
        try:
            discovery = found(paths)
            size = sum(i.source.size_bytes or 0 for i in discovery.inputs)
            with progress(size) as advance:
                report = scan_inputs(discovery, own_rules, Grouping(group), _workers(jobs, size), advance, record)
        except NothingToScan as error:
            raise OneLine("\n".join(f"{p.path}: {p.reason}" for p in error.problems)) from None
    for problem in report.scanned.problems:
        click.echo(f"relight: {problem.path}: {problem.reason}", err=True)
    _deliver(report, form, output)
    if report.scanned.damaged == report.scanned.sources:
        sys.exit(MISUSE)  # nothing could be read to its end: what there is has been shown
    if fail_on and any(_counts(i, Severity(fail_on)) for i in report.incidents):
        sys.exit(1)


def _counts(incident: Any, at_least: Severity) -> bool:
    hurt = incident.impact is not Impact.NONE
    return hurt and incident.severity.rank >= at_least.rank


def _record(verdicts: Path | None) -> Any:
    """Return what people found right and wrong before, as a file has it."""
    from diagnose.correlation.conclusion import NOBODY

    if verdicts is None:
        return NOBODY
    from relight.learning.figures import NoRecord, read_record

    with mistakes(NoRecord):
        return read_record(verdicts)


def _workers(jobs: int, size_bytes: int) -> int:
    """Return how many processes to use: starting one costs more than it saves on less than some hundred megabytes."""
    import os

    cores = len(os.sched_getaffinity(0))
    return jobs or (cores if size_bytes >= 256 * 1024 * 1024 else 1)


def _deliver(report: Any, form: str, output: Path | None) -> None:
    import shutil

    from relight.reports import render

    terminal = output is None and sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns if terminal else 100
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    text = render(report, form, width=width, colour=terminal and _colour(), unicode=bool(output) or encoding == "utf8")
    if output is not None:
        with mistakes():
            output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=not text.endswith("\n"), color=terminal and _colour())


def _colour() -> bool:
    import os

    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


@main.group()
def rules() -> None:
    """List, show, check and test what relight knows about failures."""


@rules.command("list")
@click.option("--fault", default="*", help="Only signatures of fault classes that match, such as 'gpu.*'.")
@_rules_option
def rules_list(fault: str, own_rules: tuple[Path, ...]) -> None:
    """List the signatures in force."""
    from fnmatch import fnmatchcase

    from relight.rulebook import listed

    with mistakes():
        click.echo(listed(own_rules, lambda name: fnmatchcase(name, fault)))


@rules.command("faults")
def rules_faults() -> None:
    """List the fault classes."""
    from relight.rulebook import faults

    click.echo(faults())


@rules.command("show")
@click.argument("rule")
@_rules_option
def rules_show(rule: str, own_rules: tuple[Path, ...]) -> None:
    """Show everything about one signature, such as nvrm.xid or nvrm.xid.79."""
    from relight.rulebook import shown_rule

    with mistakes():
        try:
            click.echo(shown_rule(own_rules, rule))
        except KeyError as error:
            raise OneLine(str(error.args[0])) from None


@rules.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_rules_option
def rules_check(files: tuple[Path, ...], own_rules: tuple[Path, ...]) -> None:
    """Check that rules are well formed and get on with each other: those in FILES, or those shipped."""
    from relight.rulebook import checked

    _complain("check", lambda: checked((*own_rules, *files)))


@rules.command("test")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@_rules_option
def rules_test(files: tuple[Path, ...], own_rules: tuple[Path, ...]) -> None:
    """Run the lines that rules bring with them: all of `match` must match, none of `not_match`."""
    from relight.rulebook import tested

    _complain("test", lambda: tested((*own_rules, *files)))


def _complain(what: str, found: Callable[[], tuple[int, Sequence[RuleError]]]) -> None:
    with mistakes():
        count, complaints = found()
    if complaints:
        raise OneLine("\n".join(map(str, complaints)))
    click.echo(f"{count} rules pass the {what}.")


@main.group()
def schemas() -> None:
    """The published form of what relight reads and writes."""


@schemas.command("export")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def schemas_export(directory: Path) -> None:
    """Write JSON Schemas of records, signatures, signals, incidents, runs and reports to DIRECTORY."""
    from relight.published import export

    with mistakes():
        for path in export(directory):
            click.echo(path)


for command in (
    operate.config,
    operate.setup,
    operate.doctor,
    deadletters.deadletters,
    incidents.incidents,
    metrics.metrics,
    learning.learn,
    playbooks.playbooks,
    recovery.commands,
    keys.keys,
    completion.completion,
    pipeline.ship,
    pipeline.receive,
    pipeline.diagnose,
    pipeline.index,
    pipeline.remediate,
    pipeline.agent,
    pipeline.run,
    pipeline.replay,
    sim.sim,
):
    main.add_command(command)
for command in (learning.verdict, learning.unknown):
    incidents.incidents.add_command(command)
rules.add_command(learning.rule_stats)
playbooks.playbooks.add_command(learning.playbook_stats)
