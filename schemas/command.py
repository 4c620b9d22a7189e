"""What crosses between relight and orchestrators: commands, their outcomes, and what people ask for, each signed."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from schemas.action import Action, Name, Resource
from schemas.model import Model
from schemas.record import LATEST_S
from schemas.vocabulary import Severity

REASON_CHARACTERS: Final = 2000
"""As long may be what is said for people."""
OUTPUT_CHARACTERS: Final = 8000
"""As much of what an action has printed is kept, counted from its end."""

Reason = Annotated[str, StringConstraints(max_length=REASON_CHARACTERS)]
"""Why, in words for people."""


Seconds = Annotated[float, Field(ge=0, le=LATEST_S)]
"""A moment: Unix time in seconds."""


REFUSED: Final = "refused-"
"""What the name of a command begins with in an outcome about a record that is none, or is not believed."""


class MessageSignature(Model):
    """Who vouches for a message: a keyed digest of its canonical JSON (RFC 8785) without this field."""

    alg: Literal["HS256"] = "HS256"
    key_id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")
    value: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$", description="HMAC-SHA-256, base64url without padding")


class Signed(Model):
    """A message that can be signed."""

    signature: MessageSignature | None = None


class RecoveryCommand(Signed):
    """Do this. The id is the nonce: who has seen it before does nothing.

    Times are Unix, seconds: `issued_s` is that of the deciding tick; after `expires_s` it must not be begun, and by
    `deadline_s` it must have ended. `affects` lists every resource that it touches; `target`, the first of them, is
    the key of its record. `rung` counts from 1 in the ladder of the playbook; 0 is a step before a rung. `about` has
    the job and the host that the incident is about, which the action need not touch.
    """

    id: Name
    cluster: Name
    incident: Name
    fault: str
    severity: Severity = Severity.INFO
    about: tuple[Resource, ...] = ()
    playbook: str
    rung: int = Field(ge=0)
    action: Action
    target: str
    affects: tuple[Resource, ...]
    reason: Reason
    issued_s: Seconds
    expires_s: Seconds
    deadline_s: Seconds


class CommandWithdrawal(Signed):
    """Do not do this any more, if it has not begun: what a command rested on does not hold."""

    id: Name
    cluster: Name
    command: Name
    reason: Reason
    issued_s: Seconds


class OutcomeStatus(StrEnum):
    """What became of a command. `unknown`: it may have taken effect, nobody can tell, and it is not repeated."""

    ACCEPTED = "accepted"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        """Tell whether nothing follows it."""
        return self not in (OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)


class CommandOutcome(Signed):
    """An orchestrator says what became of a command.

    `by` names the orchestrator. `output` is the end of what the action printed. `before` is what the orchestrator has
    noted before it acts (at `started`), to tell after a crash whether it has acted. `healthy` tells of a machine's
    action whether the machine was seen to be well after it, where that is known.
    """

    id: Name
    cluster: Name
    command: Name
    status: OutcomeStatus
    by: Name
    at_s: Seconds
    reason: Reason = ""
    output: str = Field(default="", max_length=OUTPUT_CHARACTERS)
    before: dict[str, str] = {}
    healthy: bool | None = None


class RequestKind(StrEnum):
    """What people ask for on `relight.control`."""

    APPROVE = "approve"
    DENY = "deny"
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    SILENCE = "silence"
    UNSILENCE = "unsilence"
    RESTORE = "restore"


class Matcher(Model):
    """A condition of a silence, as Alertmanager has them: a label is, is not, matches or does not match a value.

    A pattern (`=~`, `!~`) is RE2's and must match the whole value. What has no such label has the empty value.
    """

    label: Literal["fault", "host", "job", "signature", "severity", "action"]
    operator: Literal["=", "!=", "=~", "!~"] = "="
    value: str = Field(max_length=500)

    def __str__(self) -> str:
        """Return it as people write it: `host=~"node0.*"`."""
        return f'{self.label}{self.operator}"{self.value}"'


class Request(Signed):
    """A person, or a tool of theirs, asks for something.

    `command`, `silence` or `host` names what it is about. `until_s` (Unix, seconds) ends a pause or a silence; of a
    silence all `matchers` must hold. A pause without a cluster holds for all of them. `restore`: a host is back in
    service.
    """

    id: Name
    cluster: Name | None
    kind: RequestKind
    by: Name
    at_s: Seconds
    reason: Reason = ""
    command: Name | None = None
    silence: Name | None = None
    host: Name | None = None
    matchers: tuple[Matcher, ...] = Field(default=(), max_length=20)
    until_s: Seconds | None = None
