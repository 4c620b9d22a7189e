"""Diagnosis: a ranked finding put into words: fault, culprit, scope, confidence, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from diagnose.correlation.blame import culprit, scope
from diagnose.correlation.causes import cause_graph
from diagnose.correlation.collectives import Arrivals, arrivals
from diagnose.correlation.comparing import MISMATCH
from diagnose.correlation.evidence import Finding
from diagnose.correlation.places import first_place, last_place
from diagnose.correlation.ranking import Ranking
from diagnose.correlation.stacks import OddStacks, odd_stacks
from diagnose.correlation.story import Story
from diagnose.correlation.waiting import elsewhere, mismatched, stalled
from schemas.captures import Capture
from schemas.faults import fault_classes
from schemas.incident import Alternative, Diagnosis, Evidence, Role, Symptom
from schemas.signature import Signature
from schemas.vocabulary import Domain, Provenance, RetryOutlook


@dataclass(frozen=True)
class Cast:
    """Who took part in a job: which host each rank ran on, all ranks that were heard, and all hosts.

    `arrivals`: of one attempt, who came to which collective; `odd`: whose stacks differed.
    """

    host_of: Mapping[int, str]
    ranks: tuple[int, ...]
    hosts: frozenset[str] = frozenset()
    arrivals: Arrivals = field(default_factory=Arrivals)
    odd: OddStacks | None = None

    def during(self, story: Story) -> "Cast":
        """Return the same cast with what is known of its ranks in an attempt."""
        return replace(self, arrivals=arrivals(story.entries, self.ranks), odd=odd_stacks(story.entries))

    @property
    def waited_for(self) -> tuple[int, ...]:
        """Return the ranks that the others waited for: who did not arrive, or else who was elsewhere in the code."""
        return self.arrivals.culprits or (self.odd.ranks if self.odd else ())

    @property
    def hosts_waited_for(self) -> frozenset[str]:
        """Return the hosts of the ranks that the others waited for; none where that of one of them is not known."""
        hosts = {self.host_of.get(rank) for rank in self.waited_for}
        return frozenset() if None in hosts else frozenset(host for host in hosts if host)


def diagnosis(ranking: Ranking, cast: Cast) -> Diagnosis:
    """Return the diagnosis of a ranked cause."""
    cause, signature = ranking.cause, ranking.cause.signature
    return Diagnosis(
        fault=cause.fault,
        signature=signature.id,
        title=signature.title,
        meaning=signature.meaning,
        action=signature.action,
        playbook=fault_classes()[cause.fault].first_action,
        severity=max((f.signature.severity for f in (cause, *ranking.symptoms)), key=lambda s: s.rank),
        confidence=confidence(ranking),
        culprit=culprit(cause, cast.host_of, cast.waited_for, (*ranking.alternatives, *ranking.symptoms), cast.hosts),
        scope=scope((cause, *ranking.symptoms)),
        domain=domain(signature),
        retry_outlook=retry_outlook(signature),
        first_cause=first_place(cause.first),
        reasons=tuple(_reasons(ranking, cast)),
    )


def domain(signature: Signature) -> Domain:
    """Return whose fault it is: the signature's own word, or its class's."""
    return signature.domain or fault_classes()[signature.fault or "unknown"].domain


def retry_outlook(signature: Signature) -> RetryOutlook:
    """Return whether a retry can help: the signature's own word, or its class's."""
    return signature.retry_outlook or fault_classes()[signature.fault or "unknown"].retry_outlook


def confidence(ranking: Ranking) -> float:
    """Return how sure a diagnosis is, from 0.05 to 0.98.

    A rule of thumb, not a probability, until verdicts of operators have measured each signature: what the signature
    is worth by itself, less what speaks against it.
    """
    cause = ranking.cause
    worth = 0.97 if cause.signature.decisive else 0.9 if cause.serious else 0.65
    worth -= 0.25 if cause.signature.generic else 0.0
    worth -= 0.3 if is_symptom(cause) else 0.0
    worth -= 0.25 if cause.before_start else 0.0
    worth -= 0.1 * min(len(ranking.alternatives), 3)
    worth += 0.03 if ranking.symptoms else 0.0
    worth -= 0.0 if verified(cause) else 0.05
    return round(min(max(worth, 0.05), 0.98), 2)


def is_symptom(finding: Finding) -> bool:
    """Tell whether a finding mostly follows from another one that was not seen."""
    return finding.fault in cause_graph().symptoms


def verified(finding: Finding) -> bool:
    """Tell whether the writer of every line is vouched for, or does not matter because any program may say it."""
    if Provenance.APP in finding.signature.provenance:
        return True
    return all(entry.signal.provenance is not Provenance.UNKNOWN for entry in finding.entries)


def evidence(finding: Finding, role: Role) -> Evidence:
    """Return a finding as evidence."""
    last = max(finding.entries, key=lambda entry: (entry.last.order, entry.signal.id))
    return Evidence(
        signature=finding.signature.id,
        title=finding.signature.title,
        fault=finding.fault,
        severity=finding.signature.severity,
        role=role,
        count=finding.count,
        first=first_place(finding.first),
        last=last_place(last),
        hosts=finding.hosts,
        ranks=finding.ranks,
        gpus=_gpus(finding),
        captures=finding.captures,
        provenance=finding.first.signal.provenance,
    )


def symptom(finding: Finding) -> Symptom:
    """Return a finding as a symptom."""
    signature = finding.signature
    return Symptom(
        fault=finding.fault,
        signature=signature.id,
        title=signature.title,
        count=finding.count,
        first=first_place(finding.first),
    )


def alternative(finding: Finding, ranking: Ranking) -> Alternative:
    """Return a finding as another diagnosis, with why it was not chosen."""
    own = Ranking(finding, (ranking.cause,), ())
    return Alternative(
        fault=finding.fault,
        signature=finding.signature.id,
        title=finding.signature.title,
        confidence=round(min(confidence(own), ranking_share(ranking)), 2),
        why_not=_why_not(finding, ranking.cause),
        first_cause=first_place(finding.first),
    )


def ranking_share(ranking: Ranking) -> float:
    """Return what confidence is left for each alternative."""
    return max(0.01, (1 - confidence(ranking)) / max(1, len(ranking.alternatives)))


def _gpus(finding: Finding) -> tuple[str, ...]:
    named = {e.signal.captures.get(Capture.PCI) or e.signal.captures.get(Capture.GPU) for e in finding.entries}
    numbered = {str(e.signal.gpu) for e in finding.entries if e.signal.gpu is not None}
    return tuple(sorted({n for n in named if n} or numbered))


def _why_not(finding: Finding, cause: Finding) -> str:
    if finding.before_start and not cause.before_start:
        return "it came before the run started"
    if finding.signature.generic and not cause.signature.generic:
        return "it names no particular fault"
    if finding.first.first.after(cause.first.first):
        return "it came later, and nothing shows that it led to the failure"
    return "it is further from the end of the run"


def _waited(ranking: Ranking, cast: Cast) -> Iterator[str]:
    """Yield who was waited for, where ranks waited, and what some of them called instead."""
    faults = {f.fault for f in (ranking.cause, *ranking.symptoms)}
    if ranking.cause.signature.id == MISMATCH and cast.arrivals.mismatch:
        yield mismatched(cast.arrivals.mismatch, cast.host_of)
    elif faults & {"comm.collective_timeout", "training.hang"}:
        yield from stalled(cast.arrivals, cast.host_of)
        if cast.odd:
            yield elsewhere(cast.odd, cast.host_of)


def _reasons(ranking: Ranking, cast: Cast) -> list[str]:
    """Return why: first who was waited for where that is the matter itself, and else last."""
    waited, rest = [*_waited(ranking, cast)], _seen(ranking)
    itself = is_symptom(ranking.cause) or ranking.cause.signature.id == MISMATCH
    return [*waited, *rest] if itself else [*rest, *waited]


def _seen(ranking: Ranking) -> list[str]:
    cause, reasons = ranking.cause, []
    if faults := sorted({f.fault for f in ranking.explained}):
        reasons.append(f"it explains {', '.join(faults)}")
    if timeouts := [f for f in ranking.explained if f.timeout_s]:
        broke, seen = timeouts[0].broke_s, cause.first.first.time_s
        if broke is not None and seen is not None:
            waited, apart = timeouts[0].timeout_s, abs(broke - seen)
            reasons.append(f"the timeout of {waited:.0f} s points back to a moment {apart:.0f} s away from it")
    if not cause.healed and not cause.before_start:
        reasons.append("the run made no progress after it")
    if cause.count > 1:
        reasons.append(f"{cause.count} lines say so")
    return reasons
