"""Ranking: which finding explains which, and which of those that nothing explains is why the attempt ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Final

from diagnose.correlation.causes import CauseGraph
from diagnose.correlation.evidence import Finding
from diagnose.correlation.moments import SKEW_S, Moment
from diagnose.correlation.warned import MACHINES, NEAR_LINES, Warned, in_time
from diagnose.correlation.witnesses import is_bystander
from schemas.captures import Capture
from schemas.faults import fault_classes
from schemas.vocabulary import Culprit

LATENESS_S: Final = 60.0
"""A record that confirms an earlier sign may be this much later than it."""


FORGOTTEN_S: Final = 1800.0
"""An error this long before the end, with nothing in between, is hardly why a run ended."""

MOST: Final = 300
"""So many faults of an attempt are weighed against each other."""


@dataclass(frozen=True)
class Ranking:
    """The findings of a failed attempt: the cause, what else it could be, and what only follows.

    Of the symptoms, those in `explained` are known to follow from the cause.
    """

    cause: Finding
    alternatives: tuple[Finding, ...]
    symptoms: tuple[Finding, ...]
    explained: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Ranker:
    """Ranks the findings of one attempt.

    `progress` is the last moment of progress in each stream. `hosts` are those of the job, `waited_for` those of the
    ranks that the others waited for, where that is known.
    """

    findings: Sequence[Finding]
    graph: CauseGraph
    progress: Mapping[str, Moment] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    waited_for: frozenset[str] = frozenset()
    _known: dict[tuple[str, str], bool] = field(default_factory=dict)

    @cached_property
    def open_faults(self) -> list[Finding]:
        """Return what processes died of and the run did not survive: the earliest, where there are very many.

        What failed before the start was a step before the run, unless nothing else failed.
        """
        serious = sorted((f for f in self.findings if f.serious and not f.healed), key=lambda f: f.first.first.order)
        return [f for f in serious if not f.before_start][:MOST] or serious[:MOST]

    def ranking(self) -> Ranking | None:
        """Return the ranking, or `None` where nothing failed."""
        faults = self.open_faults
        if not faults:
            return None
        roots = sorted(self._roots(faults), key=self._place)
        cause = self._deeper(roots[0])
        others = [f for f in roots[1:] if not self._is_symptom(f) and not self.explains(cause, f)]
        rest = dict.fromkeys((*roots, *faults, *self._warnings(faults)))
        symptoms = [f for f in rest if f is not cause and f not in others]
        symptoms.sort(key=lambda f: f.first.first.order)
        return Ranking(cause, tuple(others), tuple(symptoms), tuple(f for f in symptoms if self.explains(cause, f)))

    def explains(self, cause: Finding, consequence: Finding) -> bool:
        """Tell whether one finding can have led to another, their order in time included."""
        if not self._can_follow(cause, consequence):
            return False
        if consequence.signature.detect is not None and cause.signature.detect is None:
            return in_time(cause, consequence)
        if not cause.first.first.after(consequence.first.first, SKEW_S):
            return True
        both_ways = self._can_follow(consequence, cause)
        return cause.fault in self.graph.confirms_late and not both_ways and self._soon(consequence, cause)

    def _can_follow(self, cause: Finding, consequence: Finding) -> bool:
        pair = cause.signature.id, consequence.signature.id
        if pair not in self._known:
            self._known[pair] = self.graph.explains(cause.signature, consequence.signature)
        return self._known[pair]

    def _roots(self, faults: Sequence[Finding]) -> list[Finding]:
        """Return the faults that no other fault explains; of those that explain each other in a circle, one."""
        roots = [min(circle, key=self._place_in(circle)) for circle in self._circles(faults)]
        if all(self._is_symptom(f) for f in roots):
            earlier = [f for f in self.findings if f.serious and f.before_start and f not in faults][:MOST]
            roots += [f for f in earlier if any(self.explains(f, root) for root in roots)]
        return roots

    def _circles(self, faults: Sequence[Finding]) -> list[list[Finding]]:
        """Return the groups of faults that only explain each other; most groups hold one. Sets of faults are bits."""
        causes = [
            sum(1 << j for j, other in enumerate(faults) if other is not f and self.explains(other, f)) for f in faults
        ]
        for through, indirect in enumerate(causes):
            for at in range(len(faults)):
                if causes[at] >> through & 1:
                    causes[at] |= indirect | causes[through]
        circles: dict[int, list[Finding]] = {}
        for at, fault in enumerate(faults):
            own = causes[at] | 1 << at
            if all(own == causes[other] | 1 << other for other in range(len(faults)) if causes[at] >> other & 1):
                circles.setdefault(own, []).append(fault)
        return list(circles.values())

    def _place_in(self, circle: Sequence[Finding]) -> Callable[[Finding], tuple[object, ...]]:
        """Return the key for faults of which each could have led to the others: the earliest by guess is likeliest."""
        said = [f for f in circle if f.signature.detect is None]
        known = [t for f in said or circle if (t := f.first.first.time_s) is not None]
        begin, ended_s = min(known, default=0.0), _ended_s(circle)

        def key(finding: Finding) -> tuple[object, ...]:
            worked_out = finding.signature.detect is not None  # it begins before anything is said
            broke_s = finding.broke_s or begin
            late = worked_out or broke_s > begin + SKEW_S or (self._ends(finding) and broke_s > ended_s)
            machine = fault_classes()[finding.fault].layer in MACHINES
            return late, finding.before_start, self._depth(finding), not machine, *self._place(finding)

        return key

    def _deeper(self, root: Finding) -> Finding:
        """Return the warning that led to the root, if there is one, else the root itself."""
        causes = [w for w in self._warnings([root]) if not self._is_symptom(w)]
        return min(causes, key=self._place, default=root)

    def _warnings(self, faults: Sequence[Finding]) -> list[Finding]:
        """Return the warnings that explain one of the faults by more than coming before it."""
        return [
            w
            for w in self.findings
            if not w.serious
            and not w.healed
            and not w.before_start
            and any(self.explains(w, f) and self._warned.led_to(w, f) for f in faults)
        ]

    @cached_property
    def _warned(self) -> Warned:
        return Warned(self.findings, self.open_faults, self.graph, self.hosts, self.waited_for)

    def _soon(self, sign: Finding, record: Finding) -> bool:
        early, late = sign.first.first, record.first.first
        if early.time_s is not None and late.time_s is not None:
            return late.time_s - early.time_s <= LATENESS_S
        return early.stream != late.stream or late.line - early.line <= NEAR_LINES

    def _is_symptom(self, finding: Finding) -> bool:
        return finding.fault in self.graph.symptoms

    def _ends(self, finding: Finding) -> bool:
        """Tell whether it is how a job is ended, be it that somebody wanted so or that one of its processes had."""
        return finding.signature.generic and finding.fault in self.graph.anything and not self._is_symptom(finding)

    def _depth(self, finding: Finding) -> int:
        """Return how vague a symptom is, 0 for what is none."""
        return self.graph.vagueness.get(finding.fault, 0)

    def _outrun(self, finding: Finding) -> bool:
        """Tell whether its own log tells of progress after it, be it ever so little."""
        progress = self.progress.get(finding.last.stream)
        return progress is not None and progress.after(finding.last)

    def _place(self, finding: Finding) -> tuple[object, ...]:
        """Return the key by which causes are sorted, the likeliest first."""
        return (
            finding.before_start,
            self._depth(finding),
            finding.signature.generic,
            self._outrun(finding),
            finding.signature.detect is not None,  # what was said outranks what was worked out
            self._forgotten(finding),
            self._away_from_the_break(finding),
            _vague(finding),
            finding.first.first.order,
            finding.signature.id,
        )

    def _forgotten(self, finding: Finding) -> bool:
        last, end = finding.last.time_s, self._end.time_s
        if last is None or end is None or not finding.last.exact or finding.signature.decisive:
            return False
        first_break = next((t for t, broken in self._breaks if broken is not finding), end)
        return min(end, first_break) - last > FORGOTTEN_S

    @cached_property
    def _end(self) -> Moment:
        """Return the moment of the fault that was said last."""
        return max((f.first.first for f in self.open_faults), key=lambda moment: moment.order)

    @cached_property
    def _breaks(self) -> list[tuple[float, Finding]]:
        """Return when the open faults broke, the earliest first."""
        timed = [(t, f) for f in self.open_faults if (t := f.broke_s) is not None]
        return sorted(timed, key=lambda pair: pair[0])

    def _away_from_the_break(self, finding: Finding) -> int:
        """Return how many minutes lie between a finding and the moment to which a collective's timeout points."""
        broke, time_s = self._timeout_points_to, finding.first.first.time_s
        if broke is None or time_s is None or finding.fault == "comm.collective_timeout":
            return 0
        return int(abs(broke - time_s) // 120)

    @cached_property
    def _timeout_points_to(self) -> float | None:
        """Return the earliest moment (Unix, seconds) to which a collective's timeout points."""
        timeouts = (f for f in self.findings if f.fault == "comm.collective_timeout")
        return min((t for f in timeouts if (t := f.broke_s) is not None), default=None)


def _ended_s(findings: Sequence[Finding]) -> float:
    """Return when the first process ended of those that nobody told to (Unix, seconds)."""
    exits = [f for f in findings if f.fault == "launcher.worker_exit" and not is_bystander(f)]
    return min((t for f in exits if (t := f.first.first.time_s) is not None), default=inf)


def _vague(finding: Finding) -> bool:
    """Tell whether a finding blames a device that it does not name."""
    if finding.signature.blamed not in (Culprit.GPU, Culprit.NIC):
        return False
    named = {Capture.GPU, Capture.PCI, Capture.GPU_UUID, Capture.NIC} & set(finding.captures)
    return not named and finding.first.signal.gpu is None
