"""The planner: compares what is to be done about a cluster's incidents with what is being done, and says the rest.

It is level-triggered and pure: it decides at ticks only, on the fold of `relight.incidents`, and reads no clock. One
step at a time is suggested for an incident, for its present state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from remediate.case import Case
from remediate.cases import Cases
from remediate.ladders import ages, choose
from remediate.reaction import Reaction
from schemas.events import Event
from schemas.playbook import Playbook


@dataclass
class Planner:
    """Plans for one cluster. What it remembers between ticks only saves time."""

    playbooks: Sequence[Playbook]
    _chosen: dict[str, tuple[tuple[int, int], Playbook | None, str]] = field(default_factory=dict)
    _opens_s: float | None = None

    def follow(self, cases: Cases, fact: Event) -> list[Event]:
        """Let a cluster take in a fact; if it is the next tick, return what is said at it, taken in as well."""
        before = cases.tick
        cases.apply(fact)
        if cases.tick == before:
            return []
        reaction = Reaction(cases, self.chosen)
        said = reaction.said()
        self._opens_s = reaction.opens_s
        return said

    def due_s(self, cases: Cases) -> float | None:
        """Return when time alone may change something (Unix, seconds), `None`: never."""
        due = (case.due_s for case in cases.cases.values() if case.due_s is not None)
        return min((*due, *(() if self._opens_s is None else (self._opens_s,))), default=None)

    def chosen(self, cases: Cases, case: Case) -> tuple[Playbook | None, str]:
        """Return the playbook for an incident, or none and why."""
        known = self._chosen.get(case.history.id)
        stand = case.history.sequence, case.others
        if known is None or known[0] != stand:
            alike = (other.history for other in cases.alike(case))
            choice = choose(self.playbooks, case.history, ages(case.history, alike))
            known = stand, choice.playbook, choice.why
            if len(self._chosen) > 2 * len(cases.cases) + 1000:
                self._chosen.clear()
            self._chosen[case.history.id] = known
        return known[1], known[2]
