"""Playbooks: which diagnosis asks for which ladder of actions, as people write it."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from schemas.action import ACTIONS, Action, ActionFacts
from schemas.durations import SECONDS_IN
from schemas.faults import fault_classes, faults_matching
from schemas.model import Model
from schemas.vocabulary import Domain, Impact, RetryOutlook

_UNITS: Final = "dhms"
"""The largest first."""
_DURATION: Final = r"[1-9][0-9]{0,5}[smhd]"
_LITERALS: Final = ("checkpoints", "batches", "seconds", "channel")
_TARGETS: Final = {"job": "job", "host": "host", "hosts": ("host",), "gpu": "gpu"}
"""Stand-ins for what only an incident knows: with them a rung's own parameters can be tried."""
_ACTION: Final[TypeAdapter[Action]] = TypeAdapter(Action)


def _seconds(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        return int(value[:-1]) * SECONDS_IN[value[-1]]
    raise ValueError(f"{value!r} is no duration: write 90s, 15m, 2h or 7d")


def human(duration_s: int) -> str:
    """Return a duration in seconds as playbooks write it, in the largest unit that divides it: `15m`."""
    unit = next(unit for unit in _UNITS if duration_s % SECONDS_IN[unit] == 0)
    return f"{duration_s // SECONDS_IN[unit]}{unit}"


Duration = Annotated[
    int,
    BeforeValidator(_seconds),
    PlainSerializer(human),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION}$"}),
]
"""Seconds, written with a unit: `90s`, `15m`, `2h`, `7d`."""


def _action(name: str) -> str:
    if name not in ACTIONS:
        raise ValueError(f"{name!r} is no action; there are {', '.join(ACTIONS)}")
    return name


def _fault(pattern: str) -> str:
    if not faults_matching(pattern):
        raise ValueError(f"{pattern!r} stands for no fault class; `relight rules faults` lists them")
    return pattern


def _listed(fields: object, several: Iterable[str]) -> object:
    if not isinstance(fields, dict):
        return fields
    return {key: [value] if key in several and isinstance(value, str) else value for key, value in fields.items()}


PlaybookId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$", max_length=80)]
"""A playbook's name: lower case, dotted, such as `gpu.fallen-off-bus`."""
ActionName = Annotated[str, AfterValidator(_action)]
Glob = Annotated[str, StringConstraints(min_length=1, max_length=253)]
FaultGlob = Annotated[Glob, AfterValidator(_fault)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8)]


class Aim(StrEnum):
    """Which hosts an action is aimed at: the one that is blamed, or all that saw the fault or suffered from it."""

    CULPRIT = "culprit"
    SCOPE = "scope"


class Approval(StrEnum):
    """Whether a person has to agree first. `auto`: where the action may be destructive."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Recurrence(Model):
    """It has happened so many times, this one included, within so many seconds."""

    at_least: int = Field(ge=2, le=100)
    within_s: Duration = Field(alias="within")


class When(Model):
    """What must hold beside the fault; what is not given holds always. Values of one list are alternatives."""

    impact: tuple[Impact, ...] = ()
    confidence: float | None = Field(None, gt=0, le=1)
    signatures: tuple[Glob, ...] = ()
    retry_outlook: tuple[RetryOutlook, ...] = ()
    domain: tuple[Domain, ...] = ()
    hosts: tuple[Glob, ...] = ()
    jobs: tuple[Glob, ...] = ()
    recurrence: Recurrence | None = None

    @model_validator(mode="before")
    @classmethod
    def _single_values_are_lists_of_one(cls, fields: object) -> object:
        return _listed(fields, ("impact", "signatures", "retry_outlook", "domain", "hosts", "jobs"))

    @property
    def given(self) -> tuple[str, ...]:
        """Return the names of the conditions that are given."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) not in ((), None))


class Rung(Model):
    """A step of a ladder: an action, how long it may take to help, and why it is there.

    `confidence` is how sure the diagnosis must be at least for this step. What the action is done to is not written
    here: it comes from the incident.
    """

    action: ActionName
    on: Aim = Aim.CULPRIT
    timeout_s: Duration | None = Field(None, alias="timeout")
    confidence: float = Field(0, ge=0, le=1)
    approval: Approval = Approval.AUTO
    checkpoints: int | None = None
    batches: int | None = None
    seconds: int | None = None
    channel: str | None = None
    why: Words

    @property
    def facts(self) -> ActionFacts:
        """Return what is true of its action."""
        return ACTIONS[self.action]

    @property
    def literals(self) -> Mapping[str, int | str]:
        """Return the action's parameters that are written here."""
        return {name: value for name in _LITERALS if (value := getattr(self, name)) is not None}

    @property
    def needs_approval(self) -> bool:
        """Tell whether a person has to agree first."""
        return self.approval is Approval.ALWAYS or (self.approval is Approval.AUTO and self.facts.destructive)

    @property
    def patience_s(self) -> int | None:
        """Return after how many seconds the next rung is due, if it has not helped."""
        return self.seconds if self.action == "wait" else self.timeout_s

    @model_validator(mode="after")
    def _parameters_are_the_actions_own(self) -> Self:
        known = self.facts.model.model_fields
        for name in self.literals:
            if name not in known:
                raise ValueError(f"`{self.action}` has no parameter `{name}`")
        if self.on is Aim.SCOPE and "hosts" not in known:
            raise ValueError(f"`{self.action}` is not done to several hosts: leave `on: scope` out")
        targets = {name: value for name, value in _TARGETS.items() if name in known}
        try:
            _ACTION.validate_python({"kind": self.action, **targets, **self.literals})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"`{first['loc'][-1]}` of `{self.action}`: {first['msg']}") from None
        if self.action == "wait" and self.timeout_s is not None:
            raise ValueError("`wait` lasts its `seconds`: leave `timeout` out")
        return self


class Playbook(Model):
    """What is done about some fault classes under some conditions: the first rung, and the next if it does not help.

    `docs/playbooks.md` tells authors what each field is for.
    """

    id: PlaybookId
    title: Annotated[str, StringConstraints(min_length=4, max_length=90)]
    faults: tuple[FaultGlob, ...] = Field(min_length=1)
    when: When = When()
    ladder: tuple[Rung, ...] = Field(min_length=1, max_length=20)

    @model_validator(mode="before")
    @classmethod
    def _a_single_fault_is_a_list_of_one(cls, fields: object) -> object:
        return _listed(fields, ("faults",))

    @property
    def fault_names(self) -> tuple[str, ...]:
        """Return the fault classes that it is for, in the order of their table."""
        named = {fault for pattern in self.faults for fault in faults_matching(pattern)}
        return tuple(fault for fault in fault_classes() if fault in named)
