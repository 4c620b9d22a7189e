"""Figures of signatures and of actions as tables: on a terminal in columns, elsewhere with tabs between them."""

from collections.abc import Sequence

from relight.incidents.cleaning import clean
from relight.incidents.times import length
from relight.learning.figures import ActionFigures, PlaybookFigures, RuleFigures, SignatureFigures

_RULES = ("SIGNATURE", "INCIDENTS", "CORRECT", "WRONG", "PRECISION", "95 % INTERVAL", "TRUST", "LAST SEEN (UTC)")
_ACTIONS = ("PLANNED", "ISSUED", "PROVED", "DID NOT HELP", "SUCCESS", "MEDIAN RECOVERY")


def rules_table(figures: RuleFigures, terminal: bool) -> str:
    """Return the figures of signatures, those most often wrong first."""
    if not figures.signatures:
        return "No incident has been diagnosed or judged.\n"
    return _laid_out(_RULES, [_rule(one) for one in figures.signatures], terminal)


def playbooks_table(figures: PlaybookFigures, terminal: bool) -> str:
    """Return the figures of actions, and below them those of the rungs of playbooks."""
    if not figures.actions:
        return "No command was planned.\n"
    parts = (("ACTION", figures.actions), ("PLAYBOOK, RUNG", figures.rungs))
    tables = (_laid_out((title, *_ACTIONS), [_action(one) for one in rows], terminal) for title, rows in parts)
    return "\n".join(tables)


def _rule(one: SignatureFigures) -> Sequence[str]:
    between = f"{one.low:.0%} to {one.high:.0%}" if one.precision is not None else ""
    seen = (one.last_seen or "")[:16].replace("T", " ")
    counts = (str(one.incidents), str(one.correct), str(one.wrong))
    return (clean(one.signature), *counts, _percent(one.precision), between, f"{one.trust:.2f}", seen)


def _action(one: ActionFigures) -> Sequence[str]:
    counts = (str(one.planned), str(one.issued), str(one.proved), str(one.failed_to_help))
    return (clean(one.name), *counts, _percent(one.success_rate), length(one.recovery_s))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _laid_out(titles: Sequence[str], rows: Sequence[Sequence[str]], terminal: bool) -> str:
    if not terminal:
        return "".join("\t".join(row) + "\n" for row in rows)
    widths = [max(len(row[at]) for row in (titles, *rows)) for at in range(len(titles))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (titles, *rows))
    return "".join(line.rstrip() + "\n" for line in lines)
