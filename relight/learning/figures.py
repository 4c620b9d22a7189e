"""What verdicts and outcomes come to: how often each signature was right, and how often each action has helped.

Both are projections: figures of what a store has, the same from every store.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from diagnose.learning.record import Record, Tally, record_of
from relight.incidents.reading import found
from relight.incidents.times import iso
from relight.stores.port import IncidentStore, Query
from schemas.document import IncidentDocument
from schemas.model import Model
from schemas.remedy import CommandHistory, CommandState
from schemas.verdict import IncidentJudged


class NoRecord(Exception):
    """A file does not hold the record of signatures. The message says why."""


class SignatureFigures(Model):
    """A signature: how often it was the cause, and what people say of its diagnoses.

    `low` and `high` bound the true precision in 95 of 100 cases; `trust` is what confidence is multiplied by. What is
    not known is `None`. `last_seen` is when the last incident opened (ISO 8601, UTC).
    """

    signature: str
    incidents: int
    correct: int
    wrong: int
    precision: float | None
    low: float
    high: float
    trust: float
    last_seen: str | None


class RuleFigures(Model):
    """The figures of all signatures that were the cause of something or were judged."""

    signatures: tuple[SignatureFigures, ...]

    @property
    def record(self) -> Record:
        """Return what verdicts say, as diagnosis takes it."""
        return {one.signature: Tally(one.correct, one.wrong) for one in self.signatures if one.correct or one.wrong}


class ActionFigures(Model):
    """An action, or a rung of a playbook: how often it was planned and issued, and how often it has helped.

    `success_rate` is the share of those that proved themselves of all of which it is known; `recovery_s` the median
    time from the cause to recovery (seconds).
    """

    name: str
    planned: int
    issued: int
    proved: int
    failed_to_help: int
    success_rate: float | None
    recovery_s: float | None


class PlaybookFigures(Model):
    """The figures of all actions, and of all rungs of playbooks; rung 0 is a step before a rung."""

    actions: tuple[ActionFigures, ...]
    rungs: tuple[ActionFigures, ...]


def rule_figures(store: IncidentStore, query: Query) -> RuleFigures:
    """Return the figures of signatures over the incidents that a query finds. Raises: StoreError."""
    seen = {bucket.key: bucket for bucket in store.aggregate(query, "signature")}
    record = record_of(_verdicts(_with_word(store, query, "judged")))
    told = []
    for name in seen.keys() | record.keys():
        tally, bucket = record.get(name, Tally()), seen.get(name)
        low, high = tally.interval
        told.append(
            SignatureFigures(
                signature=name,
                incidents=bucket.count if bucket else 0,
                correct=tally.correct,
                wrong=tally.wrong,
                precision=_share(tally.correct, tally.wrong),
                low=round(low, 4),
                high=round(high, 4),
                trust=round(tally.trust, 4),
                last_seen=iso(bucket.last_ms / 1000) if bucket else None,
            )
        )
    return RuleFigures(signatures=tuple(sorted(told, key=lambda one: (-one.wrong, -one.incidents, one.signature))))


def playbook_figures(store: IncidentStore, query: Query) -> PlaybookFigures:
    """Return the figures of what was done about the incidents that a query finds. Raises: StoreError."""
    actions: dict[str, list[CommandHistory]] = defaultdict(list)
    rungs: dict[str, list[CommandHistory]] = defaultdict(list)
    for document in _with_word(store, query, "command"):
        for command in document.commands.values():
            if (plan := command.plan) is not None:
                actions[plan.action.kind].append(command)
                rungs[f"{plan.playbook} {plan.rung} {plan.action.kind}"].append(command)
    return PlaybookFigures(actions=_ordered(actions), rungs=_ordered(rungs))


def read_record(path: Path) -> Record:
    """Return the record in a file that `relight rules stats --format json` has written. Raises: NoRecord, OSError."""
    try:
        return RuleFigures.model_validate_json(path.read_bytes()).record
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise NoRecord(f"{path}: {reason}; `relight rules stats --format json` writes such a file") from None


def _ordered(commands: dict[str, list[CommandHistory]]) -> tuple[ActionFigures, ...]:
    return tuple(_figures(name, commands[name]) for name in sorted(commands))


def _figures(name: str, commands: Iterable[CommandHistory]) -> ActionFigures:
    own = list(commands)
    proved = [one for one in own if one.state is CommandState.EFFECTIVE]
    failed = sum(one.state is CommandState.INEFFECTIVE for one in own)
    times = [one.recovery_s for one in proved if one.recovery_s is not None]
    return ActionFigures(
        name=name,
        planned=len(own),
        issued=sum(one.issued_s is not None for one in own),
        proved=len(proved),
        failed_to_help=failed,
        success_rate=_share(len(proved), failed),
        recovery_s=round(median(times), 3) if times else None,
    )


def _share(good: int, bad: int) -> float | None:
    return round(good / (good + bad), 4) if good + bad else None


def _with_word(store: IncidentStore, query: Query, word: str) -> Iterator[IncidentDocument]:
    """Yield the incidents that are found by a word; lines of logs may have it as well."""
    return found(store, replace(query, text=f"{query.text} {word}"), "opened", ascending=True, limit=None).documents


def _verdicts(documents: Iterable[IncidentDocument]) -> Iterator[tuple[str, IncidentJudged]]:
    for document in documents:
        yield from document.verdicts.items()
