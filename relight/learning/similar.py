"""Past incidents that are like one: the same diagnosis, better on the same part, and what has helped then."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from diagnose.learning.kinds import ALIKE, similarity
from relight.incidents.cleaning import clean
from relight.incidents.reading import SHORT
from relight.incidents.times import iso, length, stamp
from relight.learning.unknowns import is_unexplained, unknown_of
from relight.stores.port import IncidentStore, Query
from remediate.ladders import part_of
from schemas.document import IncidentDocument
from schemas.history import State
from schemas.remedy import CommandHistory, CommandState

MOST: Final = 5
LOOKED_AT: Final = 200
"""So many earlier incidents of the same fault are looked at, the newest ones."""
COMPARED: Final = 20
"""Of so many unexplained ones the lines are compared."""

Shapes = Mapping[str, frozenset[str]]
"""The shapes of the lines that stand out, by incident."""


@dataclass(frozen=True, slots=True)
class Similar:
    """A past incident that is like another. `part` is the same part that is blamed; `alike` compares lines, 0 to 1.

    `before_s` is how long before the other one it opened (seconds); `helped` are the commands that proved themselves.
    """

    document: IncidentDocument
    part: str | None
    alike: float
    before_s: float
    helped: tuple[CommandHistory, ...]

    def __str__(self) -> str:
        """Return it in a line, for people."""
        history, verdict = self.document.history, self.document.verdict
        told = [f"{stamp(history.opened_s)} UTC, {length(self.before_s)} before, {self._how()}: {history.state}"]
        told += [_words(command) for command in self.helped]
        told += (
            [f"judged {verdict.judgement}{f', it was {verdict.actual}' if verdict.actual else ''}"] if verdict else []
        )
        return clean(f"{self.document.id[:SHORT]}  {'; '.join(told)}")

    def plain(self) -> dict[str, object]:
        """Return it as JSON has it."""
        verdict = self.document.verdict
        return {
            "id": self.document.id,
            "opened": iso(self.document.history.opened_s),
            "state": self.document.history.state.value,
            "same_part": self.part,
            "lines_alike": round(self.alike, 2),
            "helped": [
                {"action": one.plan.action.kind, "target": one.plan.target, "recovery_s": one.recovery_s}
                for one in self.helped
                if one.plan
            ],
            "verdict": verdict.judgement.value if verdict else None,
        }

    def _how(self) -> str:
        if self.part is not None:
            return f"on the same part ({self.part})"
        return "with the same lines" if self.alike >= ALIKE else "on another part"


def similar(document: IncidentDocument, others: Iterable[IncidentDocument], lines: Shapes) -> list[Similar]:
    """Return the incidents before one that are most like it, at most `MOST`, the newest first.

    They have its fault and signature. Those on the same part, or with the same lines, go before others; where nothing
    explains the incident and lines are known, those whose lines are others are not like it at all.
    """
    found = [one for other in others if (one := _compared(document, other, lines)) is not None]
    found.sort(key=lambda one: (one.part is None and one.alike < ALIKE, one.before_s, one.document.id))
    return sorted(found[:MOST], key=lambda one: (one.before_s, one.document.id))


def similar_in(store: IncidentStore, document: IncidentDocument) -> list[Similar]:
    """Return the incidents of a store that are most like one and came before it. Raises: StoreError."""
    diagnosed, opened_s = document.history.diagnosed, document.history.opened_s
    if diagnosed is None or opened_s is None:
        return []
    query = Query(until_ms=round(opened_s * 1000), clusters=(document.cluster,), faults=(diagnosed.diagnosis.fault,))
    states = (State.OPEN, State.RESOLVED)
    others = store.search(replace(query, states=states), "opened", limit=LOOKED_AT).documents
    return similar(document, others, _lines(store, document, others) if is_unexplained(document) else {})


def _compared(document: IncidentDocument, other: IncidentDocument, lines: Shapes) -> Similar | None:
    own, its = document.history.diagnosed, other.history.diagnosed
    before_s = (document.history.opened_s or 0.0) - (other.history.opened_s or 0.0)
    if own is None or its is None or other.id == document.id or before_s < 0:
        return None
    if (own.diagnosis.fault, own.diagnosis.signature) != (its.diagnosis.fault, its.diagnosis.signature):
        return None
    alike = similarity(lines.get(document.id, frozenset()), lines.get(other.id, frozenset()))
    if lines.get(document.id) and alike < ALIKE:
        return None
    part = part_of(own.diagnosis.culprit)
    same = part if part is not None and part == part_of(its.diagnosis.culprit) else None
    helped = (one for one in other.commands.values() if one.state is CommandState.EFFECTIVE)
    return Similar(other, same, alike, before_s, tuple(sorted(helped, key=lambda one: (one.ended_s or 0.0, one.id))))


def _lines(store: IncidentStore, document: IncidentDocument, others: Sequence[IncidentDocument]) -> Shapes:
    return {one.id: unknown_of(store, one).member.shapes for one in (document, *others[:COMPARED])}


def _words(command: CommandHistory) -> str:
    plan = command.plan
    what = f"{plan.action.kind} {plan.target}" if plan else "a command"
    return f"{what} helped{f' after {length(command.recovery_s)}' if command.recovery_s is not None else ''}"
