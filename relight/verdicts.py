"""Verdicts of people on diagnoses: what is said of an incident as the store has it, signed, on `relight.control`."""

import time
import uuid

from pydantic import ValidationError

from relight.incidents.cleaning import clean
from relight.recovery import NoRequest, person
from relight.topics import CONTROL
from relight.transports.port import EventLog, Outgoing
from remediate.signing import Keys
from schemas.document import IncidentDocument
from schemas.events import Event, encoded
from schemas.faults import fault_classes
from schemas.verdict import Judged, Judgement, Verdict


def given(
    document: IncidentDocument, judgement: Judgement | None, actual: str | None, *, by: str | None, note: str
) -> Verdict:
    """Return a verdict on an incident's present diagnosis. Who names another fault says that the diagnosis is wrong.

    Raises:
        NoRequest: there is nothing to judge, or what is said contradicts itself.
    """
    diagnosed = document.history.diagnosed
    if diagnosed is None:
        raise NoRequest(f"incident {clean(document.id)} has no diagnosis yet: there is nothing to judge")
    found = diagnosed.diagnosis
    if judgement is None and actual is None:
        raise NoRequest("say --correct, --wrong, or with --fault what it really was")
    if judgement is Judgement.CORRECT and actual is not None:
        raise NoRequest("--correct and --fault contradict each other: a diagnosis that is correct has no other fault")
    if actual is not None and actual not in fault_classes():
        raise NoRequest(f"there is no fault class {clean(actual)!r}: `relight rules faults` lists them")
    if judgement is None and actual == found.fault:
        raise NoRequest(
            f"{actual} is what the diagnosis says: write --correct, or --wrong as well if its cause or culprit is wrong"
        )
    try:
        return Verdict(
            id=str(uuid.uuid4()),
            cluster=document.cluster,
            incident=document.id,
            judgement=judgement or Judgement.WRONG,
            about=Judged(fault=found.fault, signature=found.signature),
            actual=actual,
            by=by or person(),
            at_s=round(time.time(), 3),
            note=note,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise NoRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def sent(log: EventLog, verdict: Verdict, keys: Keys) -> None:
    """Put a verdict on `relight.control`, signed. Raises: LogError."""
    event = Event(verdict.id, verdict.cluster, verdict.incident, verdict.at_s, keys.signed(verdict))
    log.append([Outgoing(CONTROL, encoded(event), verdict.cluster.encode())])
