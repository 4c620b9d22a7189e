"""Folds the events of incidents into what stores keep of them. Events that are known already change nothing."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, assert_never, get_args

from schemas.document import IncidentDocument, Moment
from schemas.events import Event
from schemas.history import (
    DiagnosisRevised,
    DiagnosisSettled,
    EvidenceAdded,
    EvidenceDropped,
    Happening,
    IncidentHistory,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)

MOMENTS: Final = 500
"""A timeline has so many moments at most: those at its beginning, and the last ones."""
_BEGINNING: Final = 100
_REMEMBERED: Final = 2000
_HAPPENINGS: Final = get_args(Happening)

Known = Callable[[Sequence[str]], Mapping[str, IncidentDocument]]
"""Returns what a store has of incidents."""
Recorded = Callable[[Sequence[str]], Iterable[Event]]
"""Returns all events of incidents from their beginning, as they were said."""


class Projection:
    """The fold, going on from what the store has. It remembers what it has folded last, to ask the store seldom."""

    def __init__(self, known: Known, recorded: Recorded) -> None:
        """Take where to go on from. `recorded` is asked where the store lacks events: it was emptied, or is behind."""
        self._known, self._recorded = known, recorded
        self._folded: OrderedDict[str, IncidentDocument] = OrderedDict()

    def after(self, events: Iterable[Event]) -> list[IncidentDocument]:
        """Return the incidents as they are after these events, those that have changed."""
        told = [event for event in events if isinstance(event.data, _HAPPENINGS)]
        names = list(dict.fromkeys(event.subject for event in told))
        unknown = [name for name in names if name not in self._folded]
        before = {name: self._folded[name] for name in names if name in self._folded}
        before |= self._known(unknown) if unknown else {}
        now = dict(before)
        behind: set[str] = set()
        for event in told:
            now[event.subject], complete = _folded(now.get(event.subject), event)
            if not complete:
                behind.add(event.subject)
        if behind:
            now |= self._caught_up(sorted(behind))
        changed = [now[name] for name in names if name not in before or now[name].version > before[name].version]
        self._remember(now[name] for name in names)
        return [document for document in changed if document.version]

    def forget(self) -> None:
        """Forget what was folded: the store is asked again."""
        self._folded.clear()

    def _caught_up(self, names: Sequence[str]) -> dict[str, IncidentDocument]:
        found: dict[str, IncidentDocument] = {}
        for event in self._recorded(names):
            if isinstance(event.data, _HAPPENINGS):
                found[event.subject], _ = _folded(found.get(event.subject), event)
        return found

    def _remember(self, documents: Iterable[IncidentDocument]) -> None:
        for document in documents:
            self._folded[document.id] = document
            self._folded.move_to_end(document.id)
        while len(self._folded) > _REMEMBERED:
            self._folded.popitem(last=False)


def _folded(document: IncidentDocument | None, event: Event) -> tuple[IncidentDocument, bool]:
    """Return an incident after one more event, and whether none is missing before it."""
    document = document or IncidentDocument(cluster=event.cluster, history=IncidentHistory(id=event.subject))
    happening: Happening = event.data  # type: ignore[assignment] # what is none was left out
    sequence = event.sequence or 0
    if sequence <= document.version:
        return document, True
    if sequence > document.version + 1:
        return document, False
    time_s = event.time_s or 0.0
    moment = Moment(
        id=event.id,
        sequence=sequence,
        time=datetime.fromtimestamp(time_s, UTC),
        event=event.type.name,
        text=told(happening),
    )
    timeline = (*document.timeline, moment)
    left_out = max(0, len(timeline) - MOMENTS)
    change = {
        "history": document.history.after(happening, time_s),
        "timeline": timeline[:_BEGINNING] + timeline[_BEGINNING + left_out :] if left_out else timeline,
        "left_out": document.left_out + left_out,
        "updated_s": time_s,
    }
    return document.model_copy(update=change), True


def told(happening: Happening) -> str:
    """Return what happened to an incident, in words."""
    match happening:
        case IncidentOpened():
            return f"opened on {happening.component}: {happening.signature}"
        case EvidenceAdded():
            evidence = happening.evidence
            lines = f"{evidence.count} lines" if evidence.count > 1 else "1 line"
            hosts = f" on {', '.join(evidence.hosts[:3])}{' and others' if len(evidence.hosts) > 3 else ''}"
            return f"{evidence.role}: {evidence.title}, {lines}{hosts if evidence.hosts else ''}"
        case EvidenceDropped():
            return "an evidence was dropped: it has another explanation"
        case DiagnosisRevised():
            found = happening.diagnosis
            sure = f"impact {happening.impact}, confidence {found.confidence:.2f}"
            return f"{found.title}; culprit {found.culprit.name}, {sure}"
        case DiagnosisSettled():
            return f"the diagnosis is settled: {happening.fault}"
        case IncidentResolved() | IncidentReopened():
            return happening.reason
        case IncidentMerged():
            return f"one with incident {happening.into}"
        case _:
            assert_never(happening)
