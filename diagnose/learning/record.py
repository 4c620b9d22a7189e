"""The record of signatures: how often people found their diagnoses correct and wrong, and what that does to confidence.

A record is a fold of verdicts and of nothing else. Who was never judged is believed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Final

from schemas.incident import Diagnosis
from schemas.verdict import IncidentJudged, Judgement

PRIOR: Final = 10.0
"""That a signature is in the catalogue is worth so many correct verdicts."""
_Z: Final = 1.959964
"""The quantile of the normal distribution for an interval that holds in 95 of 100 cases."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many incidents people found diagnosed correctly, and wrongly."""

    correct: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float | None:
        """Return the share of the correct ones, `None` where nobody has judged."""
        judged = self.correct + self.wrong
        return self.correct / judged if judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Return between which shares the true precision lies, in 95 of 100 cases.

        It is Wilson's score interval (E. B. Wilson, "Probable inference, the law of succession, and statistical
        inference", JASA 22, 1927), which holds for few verdicts and for shares near 0 and 1 as well.
        """
        judged = self.correct + self.wrong
        if not judged:
            return 0.0, 1.0
        share, z2 = self.correct / judged, _Z * _Z
        middle = (share + z2 / (2 * judged)) / (1 + z2 / judged)
        half = _Z * sqrt(share * (1 - share) / judged + z2 / (4 * judged * judged)) / (1 + z2 / judged)
        return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))

    @property
    def trust(self) -> float:
        """Return by what confidence is multiplied: from 1, where nobody found anything wrong, towards 0.

        It is the mean of the Beta distribution that verdicts make of a prior worth `PRIOR` correct ones:
        (10 + correct) / (10 + correct + wrong). (The conjugate prior of a binomial share; Gelman et al., "Bayesian
        Data Analysis", section 2.4.) One wrong verdict costs a tenth, ten of ten cost half.
        """
        return (PRIOR + self.correct) / (PRIOR + self.correct + self.wrong)


Record = Mapping[str, Tally]
"""The tallies by the ids of signatures, those of codes included."""


def record_of(judged: Iterable[tuple[str, IncidentJudged]]) -> dict[str, Tally]:
    """Return the record that verdicts make, given with their ids, in any order: of each incident the latest counts."""
    latest: dict[str, tuple[float, str, IncidentJudged]] = {}
    for name, one in judged:
        known = latest.get(one.incident)
        if known is None or known[:2] < (one.at_s, name):
            latest[one.incident] = one.at_s, name, one
    record: dict[str, Tally] = {}
    for _, _, one in latest.values():
        tally = record.get(one.about.signature, Tally())
        right = one.judgement is Judgement.CORRECT
        record[one.about.signature] = Tally(tally.correct + right, tally.wrong + (not right))
    return record


def weighed(diagnosis: Diagnosis, record: Record) -> Diagnosis:
    """Return a diagnosis with the confidence that the record of its signature leaves it, and says why."""
    tally = record.get(diagnosis.signature)
    if tally is None or not tally.wrong:
        return diagnosis
    confidence = round(max(diagnosis.confidence * tally.trust, min(diagnosis.confidence, 0.05)), 2)
    reason = f"people found this diagnosis wrong in {tally.wrong} of {tally.correct + tally.wrong} incidents"
    return diagnosis.model_copy(update={"confidence": confidence, "reasons": (*diagnosis.reasons, reason)})
