"""How Kafka is reached: addresses, security, credentials and patience, as settings give them."""

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from schemas.model import Model

_RECONNECT_MS = 1000  # kafka-python waits up to 30 s: a broker that is back would not be found in our patience


class KafkaConnection(Model):
    """Kafka's addresses (`host:port`), how to log in there, and how long to wait for an answer."""

    bootstrap: tuple[str, ...] = Field(min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    client_id: str = "relight"
    timeout_s: float = Field(default=10, gt=0)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        login = (self.sasl_mechanism, self.username, self.password)
        if self.uses_sasl and None in login:
            raise ValueError(f"{self.security_protocol} needs sasl_mechanism, username and password")
        if not self.uses_sasl and any(login):
            raise ValueError(f"{self.security_protocol} sends no password: set security_protocol to SASL_SSL")
        if not self.uses_tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError(f"{self.security_protocol} uses no certificates: set security_protocol to SSL or SASL_SSL")
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file, the certificate of that key")
        return self

    @property
    def uses_sasl(self) -> bool:
        """Whether the client logs in with a name and a password."""
        return self.security_protocol.startswith("SASL_")

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def servers(self) -> str:
        """The addresses as people write them."""
        return ", ".join(self.bootstrap)

    def tls(self) -> ssl.SSLContext:
        """Return how TLS is spoken.

        Raises:
            OSError: a file cannot be read, or does not hold what it should.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def options(self) -> dict[str, Any]:
        """Return this as the options that all of kafka-python's clients take.

        Raises:
            OSError: a file for TLS cannot be read, or does not hold what it should.
        """
        wait_ms = int(self.timeout_s * 1000)
        return {
            "bootstrap_servers": list(self.bootstrap),
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value() if self.password else None,
            "ssl_context": self.tls() if self.uses_tls else None,
            "bootstrap_timeout_ms": wait_ms,
            "request_timeout_ms": wait_ms,
            "reconnect_backoff_max_ms": _RECONNECT_MS,
        }
