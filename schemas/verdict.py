"""Verdicts: what people say of a diagnosis, as they sign it, as it is admitted, and as it becomes an incident's."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.action import Name
from schemas.command import Reason, Seconds, Signed
from schemas.faults import FaultName
from schemas.model import Model

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""The id of an incident or of a verdict: with a stroke between them they are what an event is about."""


class Judgement(StrEnum):
    """What a person says of a diagnosis."""

    CORRECT = "correct"
    WRONG = "wrong"


class Judged(Model):
    """The diagnosis that a verdict is about: what it said when the person saw it, whatever it says later."""

    fault: FaultName
    signature: str = Field(max_length=200)


class Opinion(Model):
    """Whether a diagnosis is right, as somebody sees it.

    `about` is the diagnosis as it was seen. `actual` is what it really was, where it is wrong and that is known.
    `at_s` is Unix time in seconds: of two opinions on one incident the later one holds.
    """

    incident: Id
    judgement: Judgement
    about: Judged
    actual: FaultName | None = None
    by: Name
    at_s: Seconds
    note: Reason = ""


class Verdict(Signed, Opinion):
    """A person, or a tool of theirs, says whether a diagnosis of a cluster is right."""

    id: Id
    cluster: Name

    @model_validator(mode="after")
    def _what_is_right_is_nothing_else(self) -> Self:
        if self.judgement is Judgement.CORRECT and self.actual is not None:
            raise ValueError("a diagnosis that is correct has no other fault")
        return self


class VerdictAdmitted(Model):
    """What a person says of a diagnosis is authentic and new; what follows from it is decided at the next tick."""

    verdict: Verdict


class IncidentJudged(Opinion):
    """A person has said whether the diagnosis of the incident is right."""


def subject_of(incident: str, verdict: str) -> str:
    """Return what the event of a verdict is about: the verdict, below its incident."""
    return f"{incident}/{verdict}"


def verdict_of(subject: str) -> str:
    """Return the id of the verdict that an event is about."""
    return subject.rpartition("/")[2]
