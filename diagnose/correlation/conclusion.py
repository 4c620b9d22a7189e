"""The conclusion: for every job its run with attempts and outcomes, and the incidents, the likeliest cause first."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from diagnose.correlation.causes import cause_graph
from diagnose.correlation.evidence import Resolve
from diagnose.correlation.grouping import Grouping, jobs
from diagnose.correlation.telling import Teller
from diagnose.correlation.whereabouts import whereabouts
from diagnose.learning.record import Record, weighed
from schemas.incident import Incident, Run
from schemas.signal import Signal, SourceRead, derived_id
from schemas.vocabulary import Impact

CLUSTER: Final = "local"

NOBODY: Final[Record] = MappingProxyType({})
"""The record where nobody has judged."""

_IMPACT_ORDER: Final = list(Impact)


@dataclass(frozen=True)
class Conclusion:
    """What is concluded from all that was read."""

    runs: tuple[Run, ...]
    incidents: tuple[Incident, ...]


def conclude(
    sources: Iterable[SourceRead],
    signals: Iterable[Signal],
    resolve: Resolve,
    grouping: Grouping = Grouping.AUTO,
    record: Record = NOBODY,
) -> Conclusion:
    """Return runs and incidents; `resolve` returns the signature of an id, `record` says how often each was right.

    The order of the inputs does not matter: the same facts give the same conclusion.
    """
    read, said = sorted(sources, key=lambda s: (s.path, s.part, s.source)), list(signals)
    known = whereabouts(read, said)
    found = jobs([known.at(source) for source in read], [known.of(signal) for signal in said], grouping)
    tellers = [Teller(job, resolve, cause_graph()) for job in found]
    runs, incidents = [], []
    for teller in tellers:
        name = derived_id(CLUSTER, teller.job.name, *sorted(s.source for s in teller.job.sources))
        runs.append(teller.run(name))
        for n, told in enumerate(teller.told()):
            own = replace(told, diagnosis=weighed(told.diagnosis, record))
            incidents.append(own.incident(derived_id(CLUSTER, name, told.attempt, n)))
    incidents.sort(key=lambda i: (_IMPACT_ORDER.index(i.impact), -i.severity.rank, -i.confidence, i.run, i.id))
    return Conclusion(tuple(runs), tuple(incidents))
