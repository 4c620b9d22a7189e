"""A signature: one line of the catalogue, what it looks like, what it means and what to do about it."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.detect import Detect
from schemas.faults import FaultName, fault_classes
from schemas.model import Model
from schemas.vocabulary import Culprit, Domain, Kind, Provenance, RetryOutlook, Severity

SignatureId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=80)]
"""A signature's name: lower case, dotted, such as `nccl.watchdog-timeout`."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8)]


class Lasting(Model):
    """What makes a warning a state that a run is in: it was said on `lines` lines, over `for_s` seconds at least."""

    lines: Annotated[int, Field(ge=1)] = 1
    for_s: Annotated[float, Field(ge=0)] = 0.0


class Signature(Model):
    """What relight knows about one message that a training cluster prints, or about a number that is out of bounds.

    `docs/rules.md` tells authors what each field is for and how patterns are read. It is found by its patterns, or by
    `detect`; the `match` and `not_match` of a detector are series instead of lines.
    """

    id: SignatureId
    title: Annotated[str, StringConstraints(min_length=4, max_length=90)]
    provenance: tuple[Provenance, ...] = Field(alias="from", min_length=1)
    kind: Kind = Kind.FAULT
    severity: Severity = Severity.ERROR
    fault: FaultName | None = None
    patterns: tuple[Line, ...] = Field(alias="pattern", default=())
    unless: tuple[Line, ...] = ()
    values: tuple[Line, ...] = ()
    detect: Detect | None = None
    lasts: Lasting | None = None
    table: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")] | None = None
    identity: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    culprit: Culprit | None = None
    domain: Domain | None = None
    retry_outlook: RetryOutlook | None = None
    generic: bool = False
    decisive: bool = False
    meaning: Words
    action: Words
    source: Annotated[str, StringConstraints(pattern=r"^https://\S+$")]
    match: tuple[Line, ...] = Field(min_length=1)
    not_match: tuple[Line, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _single_values_are_lists_of_one(cls, fields: object) -> object:
        if not isinstance(fields, dict):
            return fields
        several = ("from", "pattern", "unless", "values", "identity", "explains", "match", "not_match")
        return {k: [v] if k in several and isinstance(v, str) else v for k, v in fields.items()}

    @model_validator(mode="after")
    def _it_is_found_in_one_way(self) -> Self:
        if bool(self.patterns) == bool(self.detect):
            raise ValueError("a signature has a `pattern:`, or it is a detector and has `detect:`")
        if self.detect and (self.kind is not Kind.FAULT or self.table or self.unless or self.identity):
            raise ValueError("a detector finds a `fault:`; it has neither `table`, `unless` nor `identity`")
        return self

    @model_validator(mode="after")
    def _only_a_warning_lasts(self) -> Self:
        if self.lasts and (self.kind is not Kind.FAULT or self.severity is not Severity.WARNING):
            raise ValueError("what `lasts:` is a fault with the severity `warning`: of an error a run dies")
        return self

    @model_validator(mode="after")
    def _a_fault_has_a_class_and_nothing_else_has(self) -> Self:
        if self.kind is Kind.FAULT and self.fault is None and self.table is None:
            raise ValueError("a signature of kind `fault` needs a `fault:` or a `table:`")
        if self.kind not in (Kind.FAULT, Kind.TEARDOWN) and self.fault is not None:
            raise ValueError(f"a signature of kind `{self.kind}` cannot have a `fault:`")
        return self

    @property
    def blamed(self) -> Culprit:
        """Return the sort of thing that is blamed: the signature's own word, or that of its fault class."""
        if self.culprit:
            return self.culprit
        return fault_classes()[self.fault].culprit if self.fault else Culprit.JOB
