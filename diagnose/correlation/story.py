"""The story of a job: its attempts, and for each what was seen before, during and after its progress.

A start, progress and success are read together with the faults: an error that the run survived is not why it ended.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from diagnose.correlation.moments import Entry, Moment
from schemas.captures import Capture
from schemas.signal import Signal
from schemas.vocabulary import Kind


@dataclass(frozen=True)
class Story:
    """One attempt of a job: its entries in order."""

    entries: tuple[Entry, ...]

    def of(self, *kinds: Kind) -> list[Entry]:
        """Return the entries of these kinds, in order."""
        return [entry for entry in self.entries if entry.signal.kind in kinds]

    @cached_property
    def faults(self) -> tuple[Entry, ...]:
        """Return what broke, teardown left out."""
        return tuple(e for e in self.of(Kind.FAULT) if e.signal.fault)

    @cached_property
    def progress(self) -> tuple[Entry, ...]:
        """Return the stretches of progress."""
        return tuple(self.of(Kind.PROGRESS))

    def went_on_after(self, moment: Moment) -> bool:
        """Tell whether the run made progress well after a moment."""
        return self._progressed.well_after(moment)

    def began_after(self, moment: Moment) -> bool:
        """Tell whether a start was reported well after a moment: what failed before was a step before the run."""
        return self._started.well_after(moment)

    @property
    def last_progress(self) -> Mapping[str, Moment]:
        """Return the last moment of progress in each stream."""
        return self._progressed.by_stream

    @cached_property
    def _progressed(self) -> "_Latest":
        return _Latest.of(self.progress)

    @cached_property
    def _started(self) -> "_Latest":
        return _Latest.of(self.of(Kind.START))

    def verdict(self, is_verdict: Callable[[Signal], bool]) -> Entry | None:
        """Return the run's own last verdict, which is final unless a start comes well after it."""
        said = [entry for entry in self.entries if is_verdict(entry.signal)]
        last = max(said, key=lambda e: e.last.order, default=None)
        return None if last is None or self.began_after(last.last) else last

    @cached_property
    def success(self) -> Entry | None:
        """Return the last word of success, unless the run went on after it and then failed.

        What a scheduler says of a job is the exit status of its script, which may not care how the run ended: it counts
        where nothing else is said.
        """
        every = self.of(Kind.SUCCESS)
        said = [entry for entry in every if Capture.JOB not in entry.signal.captures]
        if every and not said:
            return None if any(_serious(e.signal) and self._ends(e) for e in self.faults) else every[-1]
        if not said:
            return None
        last = max(said, key=lambda e: e.last.order)
        later = [e for e in self.faults if e.signal.severity.serious and e.first.after(last.last)]
        if self.went_on_after(last.last) and any(not self.went_on_after(e.last) for e in later):
            return None
        return last

    def _ends(self, fault: Entry) -> bool:
        """Tell whether it is known that nothing was done after a fault."""
        last = max(self.progress, key=lambda entry: entry.last.order, default=None)
        return last is None or fault.first.after(last.last)


def attempts(entries: Iterable[Entry]) -> list[Story]:
    """Part a job's entries into its attempts.

    Where entries tell which attempt they are from, that parts them; what does not tell belongs to what was told before
    it. Otherwise a new attempt begins where a writer that has reported a start in this attempt reports the same start
    again, and something has happened since: progress, success or a fault.
    """
    named: dict[str, list[Entry]] = {}
    name = ""
    for entry in entries:
        name = entry.signal.attempt or name
        named.setdefault(name, []).append(entry)
    if "" in named and len(named) > 1:
        unnamed, first = named.pop(""), next(iter(named))
        named[first] = unnamed + named[first]
    told = sorted(named.items(), key=lambda item: int(item[0]) if item[0].isdecimal() else 0)
    return [story for _, own in told for story in _restarted(own)] or [Story(())]


def _restarted(entries: Iterable[Entry]) -> list[Story]:
    """Part entries where something that had begun has begun again."""
    stories: list[list[Entry]] = [[]]
    started: set[tuple[object, ...]] = set()
    happened = False
    for entry in entries:
        signal = entry.signal
        if signal.kind is Kind.START:
            if happened and _starter(signal) in started:
                stories.append([])
                started, happened = set(), False
            started.add(_starter(signal))
        elif started and (signal.kind in (Kind.PROGRESS, Kind.SUCCESS) or _serious(signal)):
            happened = True
        stories[-1].append(entry)
    return [Story(tuple(story)) for story in stories]


@dataclass(frozen=True)
class _Latest:
    """The last moment of each stream, and the latest of all by time."""

    by_stream: Mapping[str, Moment]
    by_time: Moment | None

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "_Latest":
        by_stream: dict[str, Moment] = {}
        for entry in entries:
            known = by_stream.setdefault(entry.last.stream, entry.last)
            by_stream[entry.last.stream] = entry.last if entry.last.after(known) else known
        timed = [moment for moment in by_stream.values() if moment.time_s is not None]
        return cls(by_stream, max(timed, key=lambda moment: moment.order, default=None))

    def well_after(self, moment: Moment) -> bool:
        own = self.by_stream.get(moment.stream)
        return (own is not None and own.well_after(moment)) or (
            self.by_time is not None and self.by_time.well_after(moment)
        )


def _serious(signal: Signal) -> bool:
    return signal.kind is Kind.FAULT and signal.severity.serious


def _starter(signal: Signal) -> tuple[object, ...]:
    return signal.signature, signal.stream, signal.host, signal.rank
