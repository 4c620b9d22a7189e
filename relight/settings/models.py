"""What can be set, by section, with defaults. Where values are read from is told by `sources`."""

import platform
from collections.abc import Iterator
from typing import Final, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from relight.settings.agents import Agent, Exec, Kubernetes, Notify, Process, Slurm, Webhook
from relight.settings.monitoring import Prometheus, Receive
from relight.settings.values import Auto, File, Files, Words, state_folder
from relight.topics import LOGS
from relight.transports.connection import KafkaConnection
from schemas.model import Model
from schemas.policy import Maintenance, Policy
from schemas.vocabulary import Provenance

PREFIX: Final = "RELIGHT_"
DELIMITER: Final = "__"
_MIB: Final = 1024 * 1024
_INDEX_NAME: Final = r"^[a-z][a-z0-9_.-]{0,60}$"


class Cluster(Model):
    """Whose logs these are, and which process this is."""

    name: str = Field(
        "default",
        min_length=1,
        pattern=r"^[^*]*$",
        description="the cluster that logs are shipped for and commands go to",
    )
    member: str = Field(
        default_factory=platform.node,
        min_length=1,
        description="this process's name in its group: one that starts under the same name replaces it",
    )


class Kafka(Model):
    """The Kafka that holds the topics. Without `bootstrap` the embedded log holds them."""

    bootstrap: Words = Field((), description="brokers to begin with, host:port")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how brokers are spoken to"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="how a password is proved; needed where security_protocol begins with SASL"
    )
    username: str | None = Field(None, description="the user, with SASL")
    password: SecretStr | None = Field(None, description="the password, with SASL; never shown")
    ca_file: File | None = Field(None, description="PEM file of who vouches for brokers; without it the system's")
    cert_file: File | None = Field(None, description="PEM file of this client's certificate")
    key_file: File | None = Field(None, description="PEM file of this client's key")
    client_id: str = Field("relight", min_length=1, description="what brokers call this client in their logs")
    timeout_s: PositiveFloat = Field(10, description="how long an answer is waited for")
    replication_factor: int = Field(-1, ge=-1, le=32767, description="copies of new topics; -1: the broker's default")

    @property
    def connection(self) -> KafkaConnection:
        """Return how Kafka is reached."""
        return KafkaConnection.model_validate({name: getattr(self, name) for name in KafkaConnection.model_fields})

    @model_validator(mode="after")
    def _connects(self) -> Self:
        if not self.bootstrap:
            return self
        try:
            self.connection  # noqa: B018 - it has to be possible
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self


class Embedded(Model):
    """The log in one SQLite file, for one host."""

    path: File = Field(default_factory=lambda: state_folder() / "relight.db", description="the file")
    durable: bool = Field(True, description="survive a power cut; without it only a crash of the process")


class Topics(Model):
    """The topics that `relight setup` creates, and whom stages believe."""

    log_partitions: PositiveInt = Field(6, description="partitions of relight.logs: as many processes can match")
    cluster_partitions: PositiveInt = Field(3, description="partitions of the topics keyed by cluster")
    trusted: Words = Field((LOGS,), description="topics whose headers are believed: who writes there vouches for hosts")


class Ship(Model):
    """What a shipper reads, and how it sends it."""

    state_path: File = Field(default_factory=lambda: state_folder() / "ship.json", description="how far files are read")
    flush_ms: PositiveInt = Field(200, description="the longest that a line waits for others")
    heartbeat_s: PositiveFloat = Field(5, description="how often a silent source says that it is there")
    spool_path: File = Field(
        default_factory=lambda: state_folder() / "spool", description="where lines wait while the log is out of reach"
    )
    spool_bytes: int = Field(1024 * _MIB, ge=_MIB, description="the most that waits there")
    host: str = Field(default_factory=platform.node, min_length=1, description="the host that the lines are from")
    provenance: Provenance = Field(Provenance.UNKNOWN, description="who writes the files; the kernel's log is known")
    job: str | None = Field(None, min_length=1, description="the job that writes the files, where it is one")
    attempt: str | None = Field(None, min_length=1, description="the attempt of the job")
    rank: int | None = Field(None, ge=0, description="the rank that writes the files, where it is one")
    journal: Auto = Field("auto", description="read the systemd journal")
    kernel: Auto = Field("auto", description="read the kernel's log")


class Match(Model):
    """How lines are matched."""

    snapshot_s: PositiveFloat = Field(5, description="how often the state of sources is written")
    progress_s: PositiveFloat = Field(5, description="how often a source's progress is told")
    rules: Files = Field((), description="files and directories with rules of one's own")


class Correlate(Model):
    """How signals become incidents; times are event time."""

    settle_s: NonNegativeFloat = Field(30, description="how long an incident is quiet before its diagnosis is acted on")
    snapshot_s: PositiveFloat = Field(30, description="how often the state of clusters is written")


class Remediate(Model):
    """What is done about incidents, and what guards allow; times are in seconds."""

    playbooks: Files = Field((), description="files and directories with playbooks of one's own")
    dry_run: bool = Field(True, description="plan everything, and issue nothing")
    confidence: float = Field(0.5, ge=0, le=1, description="the least confidence that a diagnosis is acted on with")
    cooldown_s: NonNegativeFloat = Field(120, description="how long a target is left alone after a command")
    restarts: PositiveInt = Field(5, description="how often a job is started again at most, within restarts_s")
    restarts_s: PositiveFloat = Field(86_400, description="the window of that budget")
    hosts_out: NonNegativeInt = Field(3, description="how many hosts are taken out of service within hosts_out_s")
    percent_out: float = Field(10, ge=0, le=100, description="and what share of the cluster, where its hosts are given")
    hosts: PositiveInt | None = Field(None, description="how many hosts the cluster has")
    hosts_out_s: PositiveFloat = Field(86_400, description="how long a host counts that was taken out of service")
    probe_s: PositiveFloat = Field(900, description="how long the breaker stays open before a single host is tried")
    stale_s: PositiveFloat = Field(3600, description="what happened longer ago causes no command")
    start_s: PositiveFloat = Field(300, description="how long a command may wait to be begun")
    diagnostics_s: PositiveFloat = Field(120, description="how long diagnostics before a destructive step may take")
    heal_s: PositiveFloat = Field(3600, description="how long a fault stays away from a job for a rung down its ladder")
    heal_hosts_s: PositiveFloat = Field(604_800, description="how long it stays away from a host for that")
    maintenance: tuple[Maintenance, ...] = Field((), description="windows in which nothing is done to hosts and jobs")
    snapshot_s: PositiveFloat = Field(60, description="how often the state of clusters is written")

    @property
    def policy(self) -> Policy:
        """Return what guards allow."""
        return Policy.model_validate({name: getattr(self, name) for name in Policy.model_fields})


class Keys(Model):
    """The keys that commands, outcomes and requests are signed with."""

    folder: File = Field(
        default_factory=lambda: state_folder() / "keys",
        description="where commands.keys, outcomes.keys and requests.keys lie",
    )


class Elasticsearch(Model):
    """The Elasticsearch to search in. Without `hosts` and `cloud_id` the embedded store holds incidents and lines."""

    hosts: Words = Field((), description="nodes, as URLs")
    cloud_id: str | None = Field(None, min_length=1, description="a deployment of Elastic Cloud, instead of hosts")
    username: str | None = Field(None, description="the user, with a password")
    password: SecretStr | None = Field(None, description="the password; never shown")
    api_key: SecretStr | None = Field(None, description="an API key, instead of user and password; never shown")
    ca_file: File | None = Field(None, description="PEM file of who vouches for nodes; without it the system's")
    timeout_s: PositiveFloat = Field(10, description="how long an answer is waited for")
    prefix: str = Field("relight", pattern=_INDEX_NAME, description="what names of indices and templates begin with")
    shards: PositiveInt = Field(1, description="primary shards of a day of log lines")
    replicas: NonNegativeInt = Field(1, description="copies of each shard")

    @property
    def used(self) -> bool:
        """Tell whether there is one."""
        return bool(self.hosts or self.cloud_id)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.hosts and self.cloud_id:
            raise ValueError("hosts and cloud_id exclude each other: set one of them")
        for host in self.hosts:
            if not host.startswith(("http://", "https://")):
                raise ValueError(f"{host!r} is no URL: write http://HOST:9200 or https://HOST:9200")
        if self.api_key and (self.username or self.password):
            raise ValueError("api_key and username exclude each other: set one of them")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: set both")
        return self


class Kibana(Model):
    """The Kibana into which `relight setup kibana` imports data views, searches and a dashboard."""

    url: str | None = Field(None, pattern="^https?://", description="where it is")
    space: str | None = Field(None, pattern="^[a-z0-9_-]+$", description="the space; without it the default one")
    username: str | None = Field(None, description="the user, with a password")
    password: SecretStr | None = Field(None, description="the password; never shown")
    api_key: SecretStr | None = Field(None, description="an API key, instead of user and password; never shown")
    ca_file: File | None = Field(None, description="PEM file of who vouches for it; without it the system's")


class Index(Model):
    """What `relight index` keeps of log lines, and how it writes."""

    lines: Literal["all", "context", "none"] = Field(
        "context", description="which lines are kept; context: evidence, warnings, errors, and the lines around them"
    )
    around: NonNegativeInt = Field(5, le=100, description="how many lines before and after one, with context")
    lines_days: PositiveInt = Field(30, description="how long lines are kept; incidents are kept for ever")
    bulk_bytes: int = Field(4 * _MIB, ge=64 * 1024, le=64 * _MIB, description="the most that is written in one request")


class Metrics(Model):
    """The server of /metrics and /healthz."""

    port: int = Field(0, ge=0, le=65535, description="its port; 0: no server")
    address: str = Field("127.0.0.1", min_length=1, description="the address it listens at")


class Log(Model):
    """What relight says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least that is said")
    format: Literal["auto", "json", "console"] = Field("auto", description="auto: for people on a terminal, else JSON")


def _secrets(key: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield the secrets in a setting's value, each under a key of its own."""
    match value:
        case SecretStr():
            yield key, value.get_secret_value()
        case tuple():
            for number, one in enumerate(value):
                yield from _secrets(f"{key}.{number}", one)
        case dict():
            for name, one in value.items():
                yield from _secrets(f"{key}.{name}", one)


class Settings(BaseSettings):
    """All settings. Frozen; what is not known is an error."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter=DELIMITER, env_ignore_empty=True, extra="forbid", frozen=True
    )

    cluster: Cluster = Field(default_factory=Cluster)
    kafka: Kafka = Field(default_factory=Kafka)
    embedded: Embedded = Field(default_factory=Embedded)
    topics: Topics = Field(default_factory=Topics)
    ship: Ship = Field(default_factory=Ship)
    receive: Receive = Field(default_factory=Receive)
    prometheus: Prometheus = Field(default_factory=Prometheus)
    match: Match = Field(default_factory=Match)
    correlate: Correlate = Field(default_factory=Correlate)
    remediate: Remediate = Field(default_factory=Remediate)
    keys: Keys = Field(default_factory=Keys)
    index: Index = Field(default_factory=Index)
    elasticsearch: Elasticsearch = Field(default_factory=Elasticsearch)
    kibana: Kibana = Field(default_factory=Kibana)
    agent: Agent = Field(default_factory=Agent)
    process: Process = Field(default_factory=Process)
    slurm: Slurm = Field(default_factory=Slurm)
    kubernetes: Kubernetes = Field(default_factory=Kubernetes)
    webhook: Webhook = Field(default_factory=Webhook)
    exec: Exec = Field(default_factory=Exec)
    notify: Notify = Field(default_factory=Notify)
    metrics: Metrics = Field(default_factory=Metrics)
    log: Log = Field(default_factory=Log)

    @property
    def secrets(self) -> dict[str, str]:
        """Return what must not be shown, by the key of its setting."""
        sections = ((name, getattr(self, name)) for name in type(self).model_fields)
        values = (
            (f"{name}.{field}", getattr(own, field)) for name, own in sections for field in type(own).model_fields
        )
        return {key: secret for name, value in values for key, secret in _secrets(name, value)}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `sources` has read and merged: it knows where each value comes from."""
        return (init_settings,)
