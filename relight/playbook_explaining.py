"""What a playbook would come to for an incident, in words: which one, why, and every rung of its ladder."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from relight.incidents.cleaning import clean
from relight.stores.port import IncidentStore, Query
from remediate.ladders import Choice, Unresolved, action_of, choose, recurrences
from schemas.document import IncidentDocument
from schemas.history import IncidentHistory, State
from schemas.playbook import Playbook, Rung, human

_COLUMNS: Final = 100
_MOST_EARLIER: Final = 1000


def explained(document: IncidentDocument, playbooks: Sequence[Playbook], recurrences_s: Sequence[float]) -> str:
    """Return which playbook applies to an incident and why, and what each of its rungs comes to.

    Args:
        document: The incident, as a store has it. All of it is cleaned before it is told.
        playbooks: Those in force.
        recurrences_s: How long before it the same happened already, in seconds, each time.
    """
    incident = document.history
    choice = choose(playbooks, incident, recurrences_s)
    lines = [*_about(incident), "", *_chosen(choice), *_ladder(choice.playbook, incident)]
    return "\n".join(line.rstrip() for line in lines)


def earlier(store: IncidentStore, document: IncidentDocument, playbooks: Sequence[Playbook]) -> tuple[float, ...]:
    """Return how long before an incident the same happened already, in seconds, as far back as a playbook looks.

    Raises:
        StoreError: the store does not answer.
    """
    incident = document.history
    spans_s = [p.when.recurrence.within_s for p in playbooks if p.when.recurrence]
    if incident.diagnosed is None or incident.opened_s is None or not spans_s:
        return ()
    query = Query(
        since_ms=round((incident.opened_s - max(spans_s)) * 1000),
        until_ms=round(incident.opened_s * 1000) + 1,
        clusters=(document.cluster,),
        faults=(incident.diagnosed.diagnosis.fault,),
    )
    found = store.search(query, "opened", ascending=False, limit=_MOST_EARLIER)
    return recurrences(incident, (other.history for other in found.documents))


def _about(incident: IncidentHistory) -> Iterator[str]:
    found = incident.diagnosed
    if found is None:
        yield f"incident {incident.id}"
        return
    diagnosis = found.diagnosis
    job = incident.opened.job if incident.opened else None
    yield f"incident {incident.id}: {clean(diagnosis.title)}"
    facts = (diagnosis.fault, f"impact {found.impact}", f"confidence {diagnosis.confidence:.2f}")
    yield ", ".join((*facts, clean(diagnosis.culprit.name), f"job {clean(job)}" if job else "no job"))
    if incident.state is not State.OPEN:
        yield f"The incident is {incident.state}: nothing more is done about it."
    elif not incident.settled:
        yield "The diagnosis is not settled: nothing is done before it is."
    if not found.provenance_verified:
        yield "Provenance was not verified: no destructive step will be taken."


def _chosen(choice: Choice) -> Iterator[str]:
    if choice.playbook is None:
        yield f"No playbook: {clean(choice.why)}"
    else:
        yield f"Playbook {choice.playbook.id}: {choice.playbook.title}"
        yield from _wrapped(f"because {choice.why}")
    for other in choice.others:
        yield from _wrapped(f"not {other.playbook}: {clean(other.why)}")


def _ladder(playbook: Playbook | None, incident: IncidentHistory) -> Iterator[str]:
    for number, rung in enumerate(playbook.ladder if playbook else (), 1):
        yield ""
        action = action_of(rung, incident)
        if isinstance(action, Unresolved):
            yield f"{number}. {rung.action}: passed over"
            yield from _wrapped(action.reason)
            continue
        about = [clean(str(resource)) for resource in action.resources]
        about += [f"{name} {value}" for name, value in rung.literals.items() if name != "channel"]
        yield f"{number}. {rung.action}{': ' if about else ''}{', '.join(about)}"
        yield from _wrapped("; ".join(_terms(rung)))
        yield from _wrapped(rung.why)


def _terms(rung: Rung) -> Iterator[str]:
    """Yield what has to be so before a rung is taken, and how long it is given."""
    if rung.needs_approval:
        yield "needs approval"
    if rung.facts.destructive:
        yield "destructive"
    if rung.patience_s is not None:
        yield f"given {human(rung.patience_s)} to help"


def _wrapped(text: str) -> list[str]:
    return wrap(text, _COLUMNS, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False)
