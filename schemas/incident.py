"""What relight concludes: evidence, diagnoses, incidents, runs, and the report of a scan."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from schemas.faults import FaultName
from schemas.model import Model
from schemas.vocabulary import Culprit, Domain, Impact, Outcome, Provenance, RetryOutlook, Severity


class Role(StrEnum):
    """What an evidence is to its incident.

    `cause`: it is why. `alternative`: it could be why. `symptom`: it follows from the cause.
    `healed`: the run went on after it. `teardown`: it was said while the run was being taken down.
    """

    CAUSE = "cause"
    ALTERNATIVE = "alternative"
    SYMPTOM = "symptom"
    HEALED = "healed"
    TEARDOWN = "teardown"


class Place(Model):
    """A line that can be shown: where it is, what it says (secrets masked), and when."""

    source: str
    line: int = Field(ge=1)
    offset_bytes: int = Field(ge=0)
    text: str
    time: AwareDatetime | None = None
    unit: tuple[int, int] | None = None


class ContextLine(Model):
    """A line around an evidence, masked and free of terminal escapes."""

    line: int
    text: str
    evidence: bool = False


class Evidence(Model):
    """One thing that happened, however many ranks and lines said so.

    `ranks`, `hosts` and `gpus` list who said it, sorted; `count` counts the lines.
    """

    signature: str
    title: str
    fault: FaultName
    severity: Severity
    role: Role
    count: int = Field(ge=1)
    first: Place
    last: Place
    hosts: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    captures: dict[str, str] = {}
    provenance: Provenance = Provenance.UNKNOWN
    context: tuple[ContextLine, ...] = ()


class Blamed(Model):
    """The culprit: what sort of thing, where it is, and in words."""

    kind: Culprit
    name: str
    host: str | None = None
    gpu: str | None = None
    rank: int | None = None
    nic: str | None = None
    file: str | None = None


class Scope(Model):
    """How far the fault reaches: who saw it or its consequences, sorted."""

    hosts: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    sources: int = 0
    summary: str


class Symptom(Model):
    """A consequence of the cause."""

    fault: FaultName
    signature: str
    title: str
    count: int
    first: Place


class Alternative(Model):
    """Another diagnosis that the evidence allows, with its own confidence."""

    fault: FaultName
    signature: str
    title: str
    confidence: float = Field(ge=0, le=1)
    why_not: str
    first_cause: Place


class Surprise(Model):
    """A line that nothing explains but that stands out: a template seen only here, or only near the end."""

    template: str
    why: str
    score: float
    place: Place


class Diagnosis(Model):
    """The cause of an incident, who is to blame, how far it reaches, and how sure that is."""

    fault: FaultName
    signature: str
    title: str
    meaning: str
    action: str
    playbook: str
    severity: Severity
    confidence: float = Field(ge=0, le=1)
    culprit: Blamed
    scope: Scope
    domain: Domain
    retry_outlook: RetryOutlook
    first_cause: Place | None
    reasons: tuple[str, ...] = ()


class Incident(Diagnosis):
    """Something that happened to a run, with its diagnosis, its evidence and its consequences."""

    id: str
    run: str
    attempt: int = 1
    impact: Impact
    provenance_verified: bool
    symptoms: tuple[Symptom, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    surprises: tuple[Surprise, ...] = ()


class Progress(Model):
    """How far a run came: the first and the last line that said so, and how many did."""

    count: int
    first: Place
    last: Place
    last_step: int | None = None


class Attempt(Model):
    """One start of a job and what became of it."""

    ordinal: int = Field(ge=1)
    outcome: Outcome
    reason: str
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None
    progress: Progress | None = None


class Lane(Model):
    """One source in a run's timeline: who wrote it, from when to when, and while the run advanced."""

    source: str
    host: str | None = None
    rank: int | None = None
    started: AwareDatetime | None = None
    ended: AwareDatetime | None = None
    progressed_from: AwareDatetime | None = None
    progressed_to: AwareDatetime | None = None
    lines: int = 0


class Run(Model):
    """A job with its attempts; its outcome is the last attempt's."""

    id: str
    name: str
    outcome: Outcome
    reason: str
    attempts: tuple[Attempt, ...]
    hosts: tuple[str, ...] = ()
    ranks: int = 0
    lanes: tuple[Lane, ...] = ()


class Problem(Model):
    """An input that could not be read, or not to its end."""

    path: str
    reason: str


class Scanned(Model):
    """What was read. `damaged` counts the sources that could not be read to their end."""

    sources: int
    damaged: int = 0
    lines: int
    bytes: int
    skipped: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


class ScanReport(Model):
    """The result of a scan: runs, incidents with the most likely cause first, and what was read.

    The same input gives the same bytes: there is no time of day and no duration in it.
    """

    relight: str
    runs: tuple[Run, ...]
    incidents: tuple[Incident, ...]
    scanned: Scanned
    signatures: int
