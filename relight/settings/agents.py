"""Settings of `relight agent`: what it may do, and of its executors; each is in use where its section says how."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    TypeAdapter,
    model_validator,
)
from pydantic_settings import NoDecode

from relight.settings.values import File, Words, state_folder
from schemas.action import ACTIONS
from schemas.model import Model


def _from_the_root(programs: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for name, arguments in programs.items():
        if not arguments or not arguments[0].startswith("/"):
            raise ValueError(f"the program of {name!r} needs a path from the root, and its arguments one by one")
    return programs


Programs = Annotated[dict[str, tuple[str, ...]], AfterValidator(_from_the_root)]
"""Programs with their arguments, each under a name."""


def placeholders(action: str) -> frozenset[str]:
    """Return what can be filled into the arguments of an action's program."""
    return frozenset(
        {"action", "cluster", "command", "fault", "incident", *ACTIONS[action].model.model_fields} - {"kind"}
    )


def _actions(names: tuple[str, ...]) -> tuple[str, ...]:
    if unknown := sorted(set(names) - set(ACTIONS)):
        raise ValueError(f"there is no action {unknown[0]!r}; there are {', '.join(ACTIONS)}")
    return names


def _fillable(programs: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for action, (program, *arguments) in programs.items():
        _actions((action,))
        if PLACEHOLDER.search(program):
            raise ValueError(f"the program of {action} cannot depend on a command: only its arguments can")
        wanted = {found for argument in arguments for found in PLACEHOLDER.findall(argument)}
        if unknown := sorted(wanted - placeholders(action)):
            known = ", ".join(f"{{{name}}}" for name in sorted(placeholders(action)))
            raise ValueError(f"{{{unknown[0]}}} cannot be filled in for {action}; what can is {known}")
    return programs


def _urls(places: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not all(re.fullmatch("https?://[!-~]+", place.get_secret_value()) for place in places):
        raise ValueError("each has to be a URL, https://...")
    return places


def _routes(routes: dict[str, tuple[SecretStr, ...]]) -> dict[str, tuple[SecretStr, ...]]:
    for channel, places in routes.items():
        if not places or not all(re.fullmatch(_ROUTE, place.get_secret_value()) for place in places):
            kinds = "https://..., slack+https://..., alertmanager+https://... or mailto:..."
            raise ValueError(f"the routes of {channel!r} have to be a list of {kinds}")
    return routes


PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_]+)\}")
"""What is filled into arguments. Other braces stay as they are."""
_ADDRESS: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9.-]+"
_MAIL: Final = f"^{_ADDRESS}$"
_ROUTE: Final = rf"(?:slack\+|alertmanager\+)?https?://[!-~]+|mailto:{_ADDRESS}"

Actions = Annotated[Words, AfterValidator(_actions)]
"""Names of actions."""
ActionPrograms = Annotated[Programs, AfterValidator(_fillable)]
"""A program for each action."""
Places = Annotated[
    tuple[SecretStr, ...], NoDecode, BeforeValidator(TypeAdapter(Words).validate_python), AfterValidator(_urls)
]
"""URLs that let in whoever knows them."""
Routes = Annotated[dict[str, tuple[SecretStr, ...]], AfterValidator(_routes)]
"""Where the messages of each channel go."""


class Agent(Model):
    """What the agent may do. What is not allowed here is rejected, whoever has signed it."""

    name: str | None = Field(None, min_length=1, description="who outcomes are by; without it the member's name")
    group: str = Field("", pattern="^[a-z0-9_-]*$", description="agents that share their commands; those unlike do not")
    actions: Words = Field((), description="actions that it may carry out; without any, all that its executors can")
    hosts: Words = Field(("*",), description="patterns of hosts that it may touch")
    jobs: Words = Field(("*",), description="patterns of jobs that it may touch")
    at_once: PositiveInt = Field(8, le=100, description="how many commands are carried out at the same time")


class Process(Model):
    """Training programs that the agent starts, keeps an eye on and starts again, on its own host."""

    jobs: Programs = Field({}, description="the program of each job, with its arguments")
    folder: File = Field(
        default_factory=lambda: state_folder() / "jobs",
        description="where their output and state lie, on a disk of this host",
    )
    directory: File | None = Field(None, description="where they are started; without it where the agent was")
    stop_s: PositiveFloat = Field(30, description="how long a program may take to end before it is killed")
    checkpoints: str | None = Field(
        None, description="pattern of the checkpoints of a job, the newest last by name; {job} is filled in"
    )
    free: Words = Field((), description="patterns of the files that may go when a disk is full, from the root")
    keep: NonNegativeInt = Field(2, description="how many files of each of these patterns stay, the newest")
    lines: PositiveInt = Field(1000, le=100_000, description="how many last lines of output diagnostics hold")

    @model_validator(mode="after")
    def _sound(self) -> "Process":
        for name in self.jobs:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
                raise ValueError(f"the job {name!r} names a folder: use letters, digits, dots, hyphens and underscores")
        if self.checkpoints and len(self.jobs) > 1 and "{job}" not in self.checkpoints:
            raise ValueError("checkpoints of several jobs need {job} in their pattern, or one would lose another's")
        for pattern in (*self.free, *([self.checkpoints] if self.checkpoints else ())):
            if not re.match(r"/[^/*?\[\]]+/", pattern) or ".." in pattern.split("/"):
                raise ValueError(f"{pattern!r} needs a path from the root, in a folder that is named, without `..`")
        return self


class Slurm(Model):
    """A Slurm that jobs and nodes belong to, commanded with its own programs."""

    enabled: bool = Field(False, description="carry out commands with scontrol and squeue")
    folder: File | None = Field(None, description="where its programs lie; without it they are looked for in PATH")
    timeout_s: PositiveFloat = Field(30, description="how long one of its programs may take")
    reboot: bool = Field(False, description="reboot nodes with `scontrol reboot`; slurm.conf needs a RebootProgram")


class Kubernetes(Model):
    """A Kubernetes that jobs and nodes belong to."""

    enabled: bool = Field(False, description="carry out commands through its API")
    kubeconfig: File | None = Field(None, description="where it is and how to get in; without it as kubectl finds it")
    context: str | None = Field(None, min_length=1, description="the context of the kubeconfig")
    namespace: str = Field("default", min_length=1, description="where jobs live")
    timeout_s: PositiveFloat = Field(30, description="how long an answer is waited for")
    drain_s: PositiveInt = Field(600, description="how long a drain waits for disruption budgets")


class Webhook(Model):
    """An HTTP server that carries out commands."""

    url: str | None = Field(None, pattern=r"^https?://[!-~]+$", description="where commands are posted to")
    token: SecretStr | None = Field(None, description="a bearer token; never shown")
    ca_file: File | None = Field(None, description="PEM file of who vouches for it; without it the system's")
    timeout_s: PositiveFloat = Field(30, description="how long an answer is waited for")
    actions: Actions = Field((), description="the actions that go there")

    @property
    def used(self) -> bool:
        """Tell whether there is anything that goes there."""
        return self.url is not None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.url is None) != (not self.actions):
            raise ValueError("url and actions belong together: set both")
        if self.token is not None and not re.fullmatch("[!-~]+", self.token.get_secret_value()):
            raise ValueError("token has to be of visible ASCII characters")
        return self


class Exec(Model):
    """Programs of one's own that carry out actions. Their arguments never pass through a shell."""

    programs: ActionPrograms = Field(
        {}, description="the program of each action, with its arguments; {host}, {job} and their like are filled in"
    )
    timeout_s: PositiveFloat = Field(600, description="how long a program may take before it is killed")

    @property
    def used(self) -> bool:
        """Tell whether there is any program."""
        return bool(self.programs)


class Notify(Model):
    """Where people are told. Each way is used that is set."""

    webhooks: Places = Field((), description="URLs to which a CloudEvent is posted; never shown")
    slack: Places = Field((), description="URLs of incoming webhooks as Slack has them; never shown")
    alertmanager: Places = Field((), description="URLs of Alertmanagers; never shown")
    smtp: str | None = Field(
        None, pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$", description="the mail server, host:port"
    )
    smtp_security: Literal["none", "starttls", "tls"] = Field("starttls", description="how it is spoken to")
    smtp_username: str | None = Field(None, description="the user there")
    smtp_password: SecretStr | None = Field(None, description="the password there; never shown")
    mail_from: str | None = Field(None, pattern=_MAIL, description="who mail is from")
    mail_to: Words = Field((), description="whom mail goes to")
    routes: Routes = Field(
        {},
        description="where a channel leads, instead of to all of the above: https://..., slack+https://...,"
        " alertmanager+https://... and mailto:...; never shown",
    )
    ca_file: File | None = Field(None, description="PEM file of who vouches for these servers; without it the system's")
    timeout_s: PositiveFloat = Field(10, description="how long an answer is waited for")
    group_wait_s: NonNegativeInt = Field(30, description="how long a message waits for what belongs to the same outage")
    group_interval_s: PositiveInt = Field(300, description="how long the next message of the same outage waits")

    @property
    def used(self) -> bool:
        """Tell whether there is a way to tell anybody."""
        return bool(self.webhooks or self.slack or self.alertmanager or self.mail_to or self.routes)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if wrong := next((each for each in self.mail_to if not re.fullmatch(_ADDRESS, each)), None):
            raise ValueError(f"mail_to: {wrong!r} is no address")
        routes = (place.get_secret_value() for places in self.routes.values() for place in places)
        mails = bool(self.mail_to) or any(place.startswith("mailto:") for place in routes)
        if mails and (self.smtp is None or self.mail_from is None):
            raise ValueError("mail needs smtp and mail_from: set both")
        if (self.smtp is not None or self.mail_from is not None) and not mails:
            raise ValueError("smtp and mail_from need mail_to, or a route that is mailto:...")
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password belong together: set both")
        if self.smtp_password is not None and self.smtp_security == "none":
            raise ValueError("smtp_password would be sent in the clear: set smtp_security to starttls or tls")
        return self
