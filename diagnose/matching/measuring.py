"""Measuring: the numbers of one source as they come, what detectors find in them, and the pace of the run.

It is the state behind a fold of signals: which source it is and how it was cut into chunks leave no trace.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from statistics import median
from typing import Final

from diagnose.detectors.series import Episode, Point, Series
from diagnose.matching.lines import Hit
from diagnose.matching.pace import Passed, pace_s, passed
from diagnose.matching.readings import Measurement, Reading
from schemas.captures import Capture
from schemas.detect import Score
from schemas.record import Decoder, Origin
from schemas.signal import Level
from schemas.signature import Signature

SERIES: Final = 500
"""How many series of a source are kept apart; what comes after that is not looked at."""

EPISODES: Final = 8
"""How often a detector may fire on one series; after that its last episode takes all."""

LEVEL_POINTS: Final = 16
"""The level of a series is the median of so many of its last points."""

LEVELS: Final = 64
"""How many levels a source tells."""

Key = tuple[str, str | None, int | None, int | None, str | None, str]
"""Which series it is: metric, host, rank, GPU, job, and whose lines tell it: a validation has steps of its own."""


@dataclass(slots=True)
class Detected:
    """An episode as two hits on the lines of its first and its last point; `over` when there were better ones since."""

    first: Hit
    last: Hit
    count: int
    over: bool = False


@dataclass(slots=True)
class Measuring:
    """The state. `pending` is what has been taken and not been looked at, in the order of the lines.

    `counts` are the lines that have been looked at, or passed over, by signature; `told` those that are pending, too.

    A run that has succeeded is measured anew from there on (`after_success`): what its numbers were is of no concern
    any more, and most of them are never looked at.
    """

    series: dict[Key, Series] = field(default_factory=dict)
    detected: dict[tuple[str, Key], list[Detected]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    paces: dict[str, list[Passed]] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)
    compared: dict[str, list[str]] = field(default_factory=dict)
    pending: list[Measurement] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    after_success: bool = False

    def take(self, measurement: Measurement) -> None:
        """Take in what the lines of the next stretch tell."""
        name = measurement.signature
        before = self.told.get(name, self.counts.get(name, 0))
        self.told[name] = before + measurement.count
        self.pending.append(measurement.behind(before))

    def read(self, decoder: Decoder) -> None:
        """Read the lines that have been taken."""
        self.pending = [one.read(decoder) for one in self.pending]

    def joined(self, later: "Measuring", lines: int) -> "Measuring":
        """Return the state with that of a later range, which nobody has looked at; its line numbers are too low."""
        whole = Measuring(after_success=True) if later.after_success else self
        for one in later.pending:
            whole.take(one.moved_by(lines))
        return whole

    def look(self) -> None:
        """Look at all that has been taken; it has been read."""
        pending, self.pending = self.pending, []
        for measurement in pending:
            self._look_at(measurement)

    def copy(self) -> "Measuring":
        """Return a state that can go on without changing this one."""
        return Measuring(
            series={key: series.copy() for key, series in self.series.items()},
            detected={key: [replace(one) for one in own] for key, own in self.detected.items()},
            counts=dict(self.counts),
            paces={name: [*own] for name, own in self.paces.items()},
            longest_s=dict(self.longest_s),
            compared=dict(self.compared),
            pending=[*self.pending],
            told=dict(self.told),
            after_success=self.after_success,
        )

    def found(self) -> Iterator[Detected]:
        """Yield what detectors have found; the last hit of what is over says so."""
        for own in self.detected.values():
            for one in own:
                last = replace(one.last, captures=(*one.last.captures, (Capture.OVER.value, "yes")))
                yield replace(one, last=last) if one.over else one

    def pace_s(self, signature: str) -> float | None:
        """Return the median time from one line of progress to the next, in seconds; `None` where it is not known."""
        return pace_s(self.paces.get(signature, ()))

    def pause_s(self, signature: str) -> float | None:
        """Return the longest time that lay between two lines of progress, in seconds, as far as it can be told.

        Of the lines between two readings it is known how many there were: all but one are taken to have come at the
        usual pace.
        """
        return self.longest_s.get(signature)

    def levels(self) -> tuple[Level, ...]:
        """Return where the series stand that are compared with those of other sources."""
        found = []
        for (metric, host, rank, gpu, *_), series in sorted(self.series.items(), key=lambda item: repr(item[0])):
            recent = [value for value in series.values[-LEVEL_POINTS:] if isfinite(value)]
            if not recent or not isfinite(series.times_s[-1]):
                continue
            place = {"host": host, "rank": rank, "gpu": gpu, "time_s": series.times_s[-1], "points": len(recent)}
            for name in self.compared.get(metric, ()):
                found.append(Level(detector=name, metric=metric, value=median(recent), **place))
        return tuple(found[:LEVELS])

    def _look_at(self, measurement: Measurement) -> None:
        before = self.counts.get(measurement.signature, 0)
        self.counts[measurement.signature] = before + measurement.count
        told: dict[Key, list[tuple[Reading, float]]] = {}
        for reading in measurement.taken:
            assert isinstance(reading, Reading), "what was taken is read before it is looked at"
            self._pace(measurement.signature, reading, before)
            for metric, value in reading.values:
                told.setdefault(_key(metric, reading.origin, measurement.signature), []).append((reading, value))
        for key, points in told.items():
            self._detect(key, points, measurement.detectors.get(key[0], {}))

    def _pace(self, signature: str, reading: Reading, before: int) -> None:
        if reading.timed and reading.origin.time_s is not None:
            own = self.paces.setdefault(signature, [])
            passed(own, reading.origin.time_s, before + reading.ordinal)
            self._pause(signature, own)

    def _pause(self, signature: str, own: Sequence[Passed]) -> None:
        """Note how long the last pause was, if it can be the longest one."""
        if len(own) < 2:
            return
        (begin_s, first), (end_s, last) = own[-2:]
        if end_s - begin_s <= self.longest_s.get(signature, -1.0):
            return
        usual_s = pace_s(own)
        if usual_s is not None:
            pause_s = end_s - begin_s - (last - first - 1) * usual_s
            self.longest_s[signature] = max(pause_s, self.longest_s.get(signature, 0.0))

    def _detect(self, key: Key, told: Sequence[tuple[Reading, float]], detectors: Mapping[str, Signature]) -> None:
        if not detectors or (key not in self.series and len(self.series) >= SERIES):
            return
        peers = [name for name, signature in detectors.items() if _compares(signature)]
        if peers:
            self.compared[key[0]] = peers
        points = [Point(reading.offset, reading.line, reading.origin.time_s, value) for reading, value in told]
        watching = {name: s.detect for name, s in detectors.items() if s.detect and name not in peers}
        for name, episode in self.series.setdefault(key, Series()).take(key[0], points, watching, LEVEL_POINTS):
            self._fired(detectors[name], key, episode)
        for name in watching:
            going_on = self.series[key].watches[name].open
            for one in self.detected.get((name, key), ()):
                one.over = going_on is None or one.last.offset != going_on.last.offset

    def _fired(self, detector: Signature, key: Key, episode: Episode) -> None:
        """Note an episode that has begun or grown."""
        own = self.detected.setdefault((detector.id, key), [])
        known = next((one for one in own if one.first.offset == episode.first.offset), None)
        if known is None and len(own) >= EPISODES:
            known = own[-1]
        last = _hit(detector, key, episode.last, episode.said)
        if known is None:
            own.append(Detected(_hit(detector, key, episode.first, episode.said), last, episode.count))
        else:
            known.last, known.count = last, max(known.count, episode.count)


def _compares(signature: Signature) -> bool:
    return signature.detect is not None and signature.detect.score is Score.PEERS


def _key(metric: str, origin: Origin, signature: str) -> Key:
    return metric, origin.host, origin.rank, origin.gpu, origin.job, signature


def _hit(detector: Signature, key: Key, point: Point, said: str) -> Hit:
    _, host, rank, gpu, job, _ = key
    return Hit(
        signature=detector,
        offset=point.offset,
        line=point.line,
        text=said.encode(),
        origin=Origin(host=host, rank=rank, gpu=gpu, job=job, time_s=point.time_s),
        captures=(("metric", key[0]), ("value", f"{point.value:.6g}")),
        timed=point.time_s is not None,
    )
