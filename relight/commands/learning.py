"""Commands for who teaches relight: judge diagnoses, look at what nothing explains, and make a rule of it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from relight.commands.completion import fault_names
from relight.commands.errors import OneLine, mistakes
from relight.commands.incident_options import filtered, how_many
from relight.commands.options import with_settings
from relight.commands.stored import stored

if TYPE_CHECKING:
    from pydantic import BaseModel

    from diagnose.learning.kinds import Kind
    from relight.incidents.filters import Filters
    from relight.learning.unknowns import Unknown, Unknowns
    from relight.settings import Resolved
    from relight.stores.port import IncidentStore

_NEWEST: Final = 50
_limit = click.option(
    "--limit", metavar="N|all", default=str(_NEWEST), show_default=True, callback=how_many,
    help="Look at so many unexplained incidents, the newest ones.",
)  # fmt: skip


@click.command()
@click.argument("beginning", metavar="ID")
@click.option("--correct", "judgement", flag_value="correct", help="The diagnosis is right.")
@click.option("--wrong", "judgement", flag_value="wrong", help="It is not.")
@click.option(
    "--fault", "actual", metavar="FAULT", shell_complete=fault_names, help="It is not: it really was this fault class."
)
@click.option("--note", default="", metavar="TEXT", help="Why; it is recorded, and shown.")
@click.option("--by", metavar="NAME", help="Who says so; without it, who is logged in.")
@with_settings
def verdict(
    resolved: "Resolved", beginning: str, judgement: str | None, actual: str | None, note: str, by: str | None
) -> None:
    """Say whether the diagnosis of an incident is right.

    The beginning of its ID will do. What is judged is the diagnosis as the store has it now; of several verdicts on an
    incident the latest one holds. Verdicts give each signature its measured precision (`relight rules stats`), and one
    that is often wrong loses confidence. They are signed like other requests, and admitted by `relight remediate`.
    """
    from relight.incidents.reading import named
    from relight.keys import NoKeys, Role, key_file
    from relight.recovery import NoRequest
    from relight.transports.opening import open_log
    from relight.verdicts import given, sent
    from schemas.verdict import Judgement

    with mistakes(NoKeys, NoRequest):
        with stored(resolved) as (store, _):
            document = named(store, beginning)
        said = given(document, Judgement(judgement) if judgement else None, actual, by=by, note=note)
        keys = key_file(resolved.settings, Role.REQUESTS).keys
        with open_log(resolved.settings) as log:
            sent(log, said, keys)
    was = f", it was {said.actual}" if said.actual else ""
    click.echo(f"{said.judgement}: {said.about.fault} ({said.about.signature}){was}; incident {document.id[:8]}")


@click.command()
@click.argument("kind", required=False)
@filtered
@_limit
@click.option("--format", "-f", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@with_settings
def unknown(resolved: "Resolved", kind: str | None, filters: "Filters", limit: int | None, form: str) -> None:
    """List kinds of failures that nothing in the catalogue explains.

    Incidents are of one kind if the lines that stand out in them say the same, whatever numbers and hosts are in them.
    For each kind: how often, when and where it happened, as what it was seen, what people said that it was, and its
    most surprising lines with why they are. With KIND (a beginning will do) all lines and incidents of one. Only lines
    that the store keeps can stand out.
    """
    from relight.incidents.filters import query_of
    from relight.learning.listing import as_json, as_text
    from relight.learning.unknowns import unknowns

    with stored(resolved) as (store, _):
        found = unknowns(store, query_of(filters, int(time.time() * 1000)), limit)
    kinds = found.kinds if kind is None else [_kind(found, kind)]
    click.echo((as_json if form == "json" else as_text)(found, kinds), nl=False)


@click.command("stats")
@filtered
@click.option("--format", "-f", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@with_settings
def rule_stats(resolved: "Resolved", filters: "Filters", form: str) -> None:
    """Tell for each signature how often it was the cause, and how often people found that right or wrong.

    The precision is that of the verdicts, with the interval in which the true one lies in 95 of 100 cases. Trust is
    what the confidence of new diagnoses is multiplied by in a cluster where all of these verdicts were given. The file
    that --format json writes is what `relight scan --verdicts` reads.
    """
    from relight.incidents.filters import query_of
    from relight.learning.figures import rule_figures
    from relight.learning.tables import rules_table

    with stored(resolved) as (store, _):
        figures = rule_figures(store, query_of(filters, int(time.time() * 1000)))
    _print(figures, rules_table(figures, sys.stdout.isatty()), form)


@click.command("stats")
@filtered
@click.option("--format", "-f", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@with_settings
def playbook_stats(resolved: "Resolved", filters: "Filters", form: str) -> None:
    """Tell for each action, and each rung of a playbook, how often it was issued and how often it has helped.

    Success is the share of those that proved themselves of all of which it is known whether they have helped; recovery
    the median time from the first line of the cause until the job went on, or the machine was well.
    """
    from relight.incidents.filters import query_of
    from relight.learning.figures import playbook_figures
    from relight.learning.tables import playbooks_table

    with stored(resolved) as (store, _):
        figures = playbook_figures(store, query_of(filters, int(time.time() * 1000)))
    _print(figures, playbooks_table(figures, sys.stdout.isatty()), form)


def _print(figures: "BaseModel", table: str, form: str) -> None:
    click.echo(figures.model_dump_json(indent=2) + "\n" if form == "json" else table, nl=False)


@click.command()
@click.argument("name")
@click.option("--from", "source", required=True, metavar="KIND|INCIDENT", help="A kind of unknown failures, or one.")
@click.option("--fault", metavar="FAULT", shell_complete=fault_names, help="Its fault class.")
@click.option("--line", type=click.IntRange(min=1), default=1, show_default=True, help="Which of its lines to take.")
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write the draft to a file.")
@_limit
@with_settings
def learn(
    resolved: "Resolved", name: str, source: str, fault: str | None, line: int, output: Path | None, limit: int | None
) -> None:
    """Draft a signature called NAME from failures that nothing explains.

    The draft is a rule file for a person to review: the pattern is made of what the lines of the kind have in common,
    `match` lines are theirs, `not_match` lines the nearest ones of healthy parts. It passes `relight rules check` and
    `relight rules test`, and matches no line that is known to be harmless. It is never put into force by itself.
    """
    from diagnose.learning.drafting import NoDraft
    from relight.learning.drafts import drafted
    from relight.scanning import known
    from schemas.faults import fault_classes

    if fault is not None and fault not in fault_classes():
        raise OneLine(f"there is no fault class {fault!r}: `relight rules faults` lists them")
    with stored(resolved) as (store, _):
        chosen = _members(store, source, limit)
    with mistakes(NoDraft):
        draft = drafted(name, chosen, known(tuple(resolved.settings.match.rules)), fault=fault, line=line)
        if output is None:
            click.echo(draft, nl=False)
            return
        output.write_text(draft, encoding="utf-8")
    click.echo(
        f"{output}: a draft of {name} from {len(chosen)} {'incident' if len(chosen) == 1 else 'incidents'}", err=True
    )


def _kind(found: "Unknowns", beginning: str) -> "Kind":
    """Return the kind whose name begins like this."""
    named = [kind for kind in found.kinds if kind.id.startswith(beginning)] if beginning else []
    if len(named) != 1:
        raise OneLine(
            f"there are {len(named) or 'no'} kinds whose names begin with {beginning!r}: `relight incidents unknown`"
        )
    return named[0]


def _members(store: "IncidentStore", source: str, limit: int | None) -> "list[Unknown]":
    """Return the incidents of a kind, the newest first; or one incident first, and then those of its kind."""
    from diagnose.learning.kinds import kind_of
    from relight.incidents.reading import named
    from relight.learning.unknowns import unknown_of, unknowns
    from relight.stores.port import Query

    found = unknowns(store, Query(), limit)
    if len([kind for kind in found.kinds if kind.id.startswith(source)]) == 1:
        return found.of(_kind(found, source))[::-1]
    first = unknown_of(store, named(store, source))
    kind = kind_of(first.member.shapes, found.kinds)
    others = found.of(kind)[::-1] if kind else []
    return [first, *(one for one in others if one.document.id != first.document.id)]
