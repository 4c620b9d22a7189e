"""Folds the events of incidents into what stores keep of them. Events that are known already change nothing."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, get_args

from relight.stores.moments import told
from schemas.document import IncidentDocument, Moment
from schemas.events import Event
from schemas.history import Happening, IncidentHistory
from schemas.remedy import CommandHistory, Doing, command_of
from schemas.verdict import IncidentJudged, verdict_of

MOMENTS: Final = 500
"""A timeline has so many moments at most: those at its beginning, and the last ones."""
_BEGINNING: Final = 100
_LAST: Final = MOMENTS - _BEGINNING
_REMEMBERED: Final = 2000
_WEIGHT: Final = 50_000
"""What is remembered weighs as much as so many moments, of about a kilobyte each."""
_EVIDENCE: Final = 10
"""An evidence, with the lines around it, weighs as much as so many moments."""
_BEYOND: Final = 20_000
"""So many incidents are remembered of which events are missing for ever."""
_HAPPENINGS: Final = get_args(Happening)
_DOINGS: Final = get_args(Doing)
_TOLD: Final = (*_HAPPENINGS, *_DOINGS, IncidentJudged)

Known = Callable[[Sequence[str]], Mapping[str, IncidentDocument]]
"""Returns what a store has of incidents."""
Recorded = Callable[[Sequence[str]], Iterable[Event]]
"""Returns all events of incidents from their beginning, as they were said; those that are too old may be gone."""


def incident_of(event: Event) -> str:
    """Return the id of the incident that an event of it, of a command for it, or of a verdict on it is about."""
    return event.subject.partition("/")[0]


class Projection:
    """The fold, going on from what the store has. It remembers what it has folded last, to ask the store seldom.

    Where the store lacks events, all that were said are asked for, once for all incidents of a call. An incident of
    which events are gone there too cannot be folded further: what the store has of it stays, and no more is asked.
    """

    def __init__(self, known: Known, recorded: Recorded) -> None:
        """Take where to go on from. `recorded` is asked where the store lacks events: it was emptied, or is behind."""
        self._known, self._recorded = known, recorded
        self._folded: OrderedDict[str, IncidentDocument] = OrderedDict()
        self._weight = 0
        self._beyond: OrderedDict[str, None] = OrderedDict()

    def after(self, events: Iterable[Event]) -> list[IncidentDocument]:
        """Return the incidents as they are after these events, those that have changed.

        One with very many events is returned several times, its older states first: every moment is in one of them,
        however the events come in batches.
        """
        said = [e for e in events if isinstance(e.data, _TOLD) and incident_of(e) not in self._beyond]
        names = list(dict.fromkeys(map(incident_of, said)))
        folds = {name: _Fold(document) for name, document in self._before(names).items()}
        if behind := sorted(_fold(folds, said)):
            _fold(folds, self._recorded(behind))
            self._give_up(sorted(_fold(folds, said)))
        self._remember(fold.document for fold in folds.values())
        return [document for name in names for document in folds[name].changed]

    def forget(self) -> None:
        """Forget what was folded: the store is asked again."""
        self._folded.clear()
        self._beyond.clear()
        self._weight = 0

    def _before(self, names: Sequence[str]) -> dict[str, IncidentDocument]:
        """Return incidents as they are so far."""
        before = {name: self._folded[name] for name in names if name in self._folded}
        unknown = [name for name in names if name not in before]
        return before | dict(self._known(unknown) if unknown else {})

    def _give_up(self, names: Iterable[str]) -> None:
        self._beyond |= dict.fromkeys(names)
        while len(self._beyond) > _BEYOND:
            self._beyond.popitem(last=False)

    def _remember(self, documents: Iterable[IncidentDocument]) -> None:
        for document in documents:
            if (older := self._folded.pop(document.id, None)) is not None:
                self._weight -= _weight(older)
            self._folded[document.id] = document
            self._weight += _weight(document)
        while self._folded and (len(self._folded) > _REMEMBERED or self._weight > _WEIGHT):
            _, oldest = self._folded.popitem(last=False)
            self._weight -= _weight(oldest)


def _weight(document: IncidentDocument) -> int:
    return 1 + len(document.timeline) + _EVIDENCE * len(document.history.evidence)


class _Fold:
    """An incident as it becomes, and the states of it that are to be kept: each moment is in one of them."""

    def __init__(self, document: IncidentDocument) -> None:
        self.document = document
        self._kept = document.version
        self._states: list[IncidentDocument] = []

    @property
    def changed(self) -> list[IncidentDocument]:
        """Return the states that are to be kept, the oldest first."""
        return [*self._states, self.document] if self.document.version > self._kept else self._states

    def add(self, event: Event) -> bool:
        """Take one more event; tell whether none is missing before it."""
        self.document, complete = _folded(self.document, event)
        if self.document.version - self._kept >= _LAST:
            self._states.append(self.document)
            self._kept = self.document.version
        return complete


def _fold(folds: dict[str, _Fold], events: Iterable[Event]) -> set[str]:
    """Fold events into their incidents; return the names of those of which events are missing."""
    behind: set[str] = set()
    for event in events:
        if isinstance(event.data, _TOLD):
            name = incident_of(event)
            if name not in folds:
                folds[name] = _Fold(IncidentDocument(cluster=event.cluster, history=IncidentHistory(id=name)))
            if not folds[name].add(event):
                behind.add(name)
    return behind


def _folded(document: IncidentDocument, event: Event) -> tuple[IncidentDocument, bool]:
    """Return an incident after one more event, of itself or of what is below it, and whether none is missing before."""
    data, sequence, time_s = event.data, event.sequence or 0, event.time_s or 0.0
    change: dict[str, object]
    if isinstance(data, _DOINGS):
        name = command_of(event.subject)
        command = document.commands.get(name) or CommandHistory(id=name)
        known = command.sequence if document.history.sequence else -1
        change = {"commands": document.commands | {name: command.after(data, time_s)}}
    elif isinstance(data, IncidentJudged):
        name = verdict_of(event.subject)
        known = int(name in document.verdicts) if document.history.sequence else -1
        change = {"verdicts": document.verdicts | {name: data}}
    else:
        assert isinstance(data, _HAPPENINGS), "what is neither was left out"
        known = document.history.sequence
        change = {"history": document.history.after(data, time_s)}
    if sequence != known + 1:
        return document, sequence <= known
    moment = Moment(
        id=event.id,
        sequence=sequence,
        time=datetime.fromtimestamp(time_s, UTC),
        event=event.type.name,
        text=told(data),
    )
    timeline = (*document.timeline, moment)
    left_out = max(0, len(timeline) - MOMENTS)
    change |= {
        "timeline": timeline[:_BEGINNING] + timeline[_BEGINNING + left_out :] if left_out else timeline,
        "left_out": document.left_out + left_out,
        "updated_s": time_s,
    }
    return document.model_copy(update=change), True
