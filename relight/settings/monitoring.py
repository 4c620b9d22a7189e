"""Settings of what monitoring brings: alerts that an Alertmanager posts, and series that a Prometheus is asked for."""

from typing import Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator

from relight.settings.values import File
from schemas.model import Model


class Receive(Model):
    """Where an Alertmanager posts its alerts, and how it proves that it may."""

    address: str = Field("127.0.0.1", min_length=1, description="the address that alerts are received at")
    port: int = Field(9190, ge=0, le=65535, description="the port; 0: any that is free")
    token_file: File | None = Field(None, description="file with the token that an Alertmanager sends as bearer")
    token: SecretStr | None = Field(None, description="the token itself, instead of a file; never shown")
    cert_file: File | None = Field(None, description="PEM file of the server's certificate; with it TLS is spoken")
    key_file: File | None = Field(None, description="PEM file of its key")
    max_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="the largest body that is read of a request"
    )
    timeout_s: PositiveFloat = Field(10, description="how long a silent client is waited for, and the log")

    @model_validator(mode="after")
    def _what_belongs_together(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: set both")
        if self.token_file and self.token:
            raise ValueError("token_file and token exclude each other: set one of them")
        return self


class Prometheus(Model):
    """The Prometheus that series are fetched from."""

    url: str | None = Field(None, pattern="^https?://", description="where it is, with its path prefix if it has one")
    username: str | None = Field(None, description="the user, with a password")
    password: SecretStr | None = Field(None, description="the password; never shown")
    token: SecretStr | None = Field(None, description="a bearer token, instead of user and password; never shown")
    ca_file: File | None = Field(None, description="PEM file of who vouches for it; without it the system's")
    timeout_s: PositiveFloat = Field(30, description="how long an answer is waited for")
    tries: PositiveInt = Field(4, le=20, description="how often a question is asked at most")
    step_s: PositiveInt = Field(15, description="how far apart values are")
    queries: File | None = Field(
        None, description="YAML file of what to ask for, instead of the queries that come with it"
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.token and (self.username or self.password):
            raise ValueError("token and username exclude each other: set one of them")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together: set both")
        return self
