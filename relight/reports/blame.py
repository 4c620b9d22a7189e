"""The sentences that name a fault, its culprit and the runs it ended: every report opens with one of them."""

from collections.abc import Sequence
from typing import Final

from relight.reports.phrases import counted, listed
from schemas.captures import Capture
from schemas.incident import Incident, Role, Run
from schemas.vocabulary import Culprit, Impact, Outcome

_SUBJECTS: Final = {
    Culprit.GPU: ("GPU", "A GPU", "The GPU"),
    Culprit.NIC: ("NIC", "A NIC", "The NIC", "HCA", "Adapter"),
    Culprit.HOST: ("Host", "A host", "The host", "Node", "A node", "The node"),
    Culprit.RANK: ("Rank", "A rank", "The rank"),
    Culprit.FILE: ("File", "A file", "The file"),
    Culprit.JOB: (),
}
_VERBS: Final = frozenset(
    {
        "became",
        "broke",
        "can",
        "cannot",
        "could",
        "did",
        "died",
        "does",
        "failed",
        "fell",
        "froze",
        "had",
        "has",
        "hit",
        "hung",
        "is",
        "lost",
        "never",
        "ran",
        "rebooted",
        "reported",
        "reset",
        "shut",
        "slowed",
        "stopped",
        "threw",
        "timed",
        "was",
        "went",
    }
)
_PLURALS: Final = {Culprit.GPU: "GPU", Culprit.NIC: "NIC", Culprit.HOST: "host", Culprit.RANK: "rank"}

Member = tuple[Incident, Run | None]
"""An incident with the run that it happened to, where the report knows that run."""


def headline(members: Sequence[Member], runs_total: int) -> str:
    """Return the answer in a sentence: what broke, where, and which runs it ended."""
    lead = members[0][0]
    ended = consequence(members, runs_total)
    if lead.fault == "unknown":
        return f"{_capital(ended)}, and nothing in the catalogue explains it"
    return f"{culprits([incident for incident, _ in members])}; {ended}"


def culprits(incidents: Sequence[Incident]) -> str:
    """Return what broke and where, for incidents of one fault: the culprit by name where there is but one."""
    lead = incidents[0]
    if len({incident.culprit.name for incident in incidents}) == 1:
        return blamed(lead)
    noun = _PLURALS.get(lead.culprit.kind)
    count = len({incident.culprit.name for incident in incidents})
    return f"{_title(lead)} on {counted(count, noun)}" if noun else _title(lead)


def blamed(incident: Incident) -> str:
    """Return the title of an incident with its culprit for a subject, or with the culprit's place behind it."""
    title, culprit = _title(incident), incident.culprit
    if not culprit.name or culprit.name in title:
        return title
    for subject in sorted(_SUBJECTS[culprit.kind], key=len, reverse=True):
        rest = title.removeprefix(subject + " ")
        if rest != title and rest.split(" ", 1)[0] in _VERBS:
            return f"{_opening(culprit.name)} {rest}"
    if culprit.kind is Culprit.JOB:
        return title
    if incident.fault == "comm.collective_timeout":
        return f"{title} because of {culprit.name}"
    return f"{title}: {culprit.name}" if culprit.kind is Culprit.FILE else f"{title} on {culprit.name}"


def consequence(members: Sequence[Member], runs_total: int) -> str:
    """Return what became of the runs, `run pretrain failed` or `7 of 10 runs failed`."""
    names = list(dict.fromkeys(run_name(member) for member in members))
    if len(names) == 1:
        return _one(members[-1])
    verb = "were degraded" if members[0][0].impact is Impact.DEGRADED else "failed"
    if len(names) > 4:
        return f"{len(names)} of {counted(runs_total, 'run')} {verb}"
    return f"runs {listed(names)} {verb}"


def run_name(member: Member) -> str:
    """Return the name of the run that an incident happened to, or what the incident calls it."""
    incident, run = member
    return run.name if run else incident.run


def _one(member: Member) -> str:
    incident, run = member
    name = f"run {run_name(member)}"
    if incident.impact is Impact.DEGRADED:
        return f"{name} was degraded"
    if incident.impact is Impact.NONE:
        return f"{name} went on"
    if run is None:
        return f"{name} failed"
    if incident.attempt < len(run.attempts):
        later = f", attempt {len(run.attempts)} succeeded" if run.outcome is Outcome.SUCCEEDED else ""
        return f"attempt {incident.attempt} of {name} failed{later}"
    return f"{name} did not finish" if run.outcome is Outcome.INCOMPLETE else f"{name} failed"


def _title(incident: Incident) -> str:
    """Return the title, with the XID that the cause's line names unless the title names it already."""
    title = incident.title.rstrip(".")
    causes = (evidence.captures for evidence in incident.evidence if evidence.role is Role.CAUSE)
    xid = next((captures[Capture.XID] for captures in causes if captures.get(Capture.XID)), None)
    return f"{title} (XID {xid})" if xid and "XID" not in title.upper() else title


def _opening(name: str) -> str:
    """Capitalise `rank 3 on node17`, but not the name of a host."""
    return _capital(name) if name.split(" ", 1)[0].isalpha() else name


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
