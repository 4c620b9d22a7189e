"""The HTTP server of `relight receive`: who may post, what is read of a request, and how it is answered.

| answer | why | what Alertmanager does |
|---|---|---|
| 200 | the log has all alerts | goes on |
| 400, 411, 413 | not a webhook that can be read, or too large: kept as a dead letter | logs it, and drops it |
| 401 | the token is wrong | logs it, and drops it |
| 503 | the log does not take them now | sends them again |
"""

import hmac
import ssl
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final

import structlog
from pydantic import SecretStr

from ingest.alerts import NoWebhook, shipped, webhook
from ingest.redaction import shown
from relight.metrics import Listener, StageMetrics, answer
from relight.settings.monitoring import Receive as Settings
from relight.stages.refusals import Refusals
from relight.topics import LOGS
from relight.transports.port import LogError, Outgoing, Refused

PATH: Final = "/alertmanager"
TOKEN_CHARACTERS: Final = 16
"""A token is at least so long."""

AT_ONCE: Final = 100
"""So many threads may run while a request is begun: who only connects, and says nothing, takes no more of them."""

_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP
_DRAINED_BYTES: Final = 64 * 1024
_SAY_AGAIN_S: Final = 30.0
_log = structlog.get_logger("relight")


class Token:
    """The token, in a file or as it is set. A file is read again for each request, so that a token can be replaced."""

    def __init__(self, path: Path | None, given: SecretStr | None = None) -> None:
        """Read it. Raises: Refused."""
        if path is None and given is None:
            raise Refused(
                "receive.token_file is not set: write a token into a file (`openssl rand -hex 32`), name the file"
                " there, and give it to Alertmanager as authorization.credentials_file"
            )
        self._path, self._given = path, given
        self._read()

    def allows(self, authorization: str) -> bool:
        """Tell whether a request's `Authorization` bears the token. Raises: Refused."""
        scheme, _, given = authorization.partition(" ")
        wanted = self._read().encode()
        return hmac.compare_digest(given.strip().encode("utf-8", "replace"), wanted) and scheme.lower() == "bearer"

    def _read(self) -> str:
        text = self._given.get_secret_value().strip() if self._path is None and self._given else self._of_file()
        if len(text) < TOKEN_CHARACTERS:
            raise Refused(
                f"receive.token{'' if self._path is None else f'_file: {self._path}'} has less than {TOKEN_CHARACTERS}"
                " characters: `openssl rand -hex 32` makes a token"
            )
        return text

    def _of_file(self) -> str:
        assert self._path is not None
        try:
            mode, text = self._path.stat().st_mode, self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"receive.token_file: {self._path} cannot be read: {error}") from None
        if mode & _OTHERS:
            raise Refused(f"receive.token_file: others may read {self._path}, or change it: `chmod 600 {self._path}`")
        return text


class Server(Listener):
    """Receives webhooks. `keep` returns when the log has some records, and raises LogError if it does not take them."""

    def __init__(
        self,
        settings: Settings,
        cluster: str,
        keep: Callable[[Sequence[Outgoing]], None],
        metrics: StageMetrics,
    ) -> None:
        """Listen. Raises: Refused."""
        self.settings, self.cluster, self.keep, self.metrics = settings, cluster, keep, metrics
        self.token = Token(settings.token_file, settings.token)
        self._said: dict[str, float] = {}
        self._refusals = Refusals(metrics.stage, cluster, keep)
        try:
            tls = _tls(settings)
            super().__init__(settings.address, settings.port, _Handler)
        except OSError as error:
            raise Refused(
                f"alerts cannot be received at port {settings.port} of {settings.address}:"
                f" {(error.strerror or str(error)).lower()}; stop what uses it, or set receive.port or receive.address"
            ) from None
        if tls is not None:  # the handshake is the request's thread's: nobody can hold up the others with it
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Tell whether there is room for one more request."""
        return threading.active_count() <= AT_ONCE

    def say(self, what: str) -> None:
        """Log what was wrong with a request; the same not more often than every 30 seconds."""
        now = time.monotonic()
        if now - self._said.get(what, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            if len(self._said) > 100:
                self._said.clear()
            self._said[what] = now
            _log.warning(what, stage=self.metrics.stage)

    def turn_away(self, body: bytes, why: str) -> None:
        """Keep what cannot be taken as a dead letter, as long as there is room. Raises: LogError."""
        if not self._refusals.take(body, why):
            self.say("more was refused than is kept within an hour: the latest is in this log alone")
        self.metrics.dead_letter("refused")

    def records(self, body: bytes) -> list[Outgoing]:
        """Return the alerts of a webhook as records of `relight.logs`. Raises: NoWebhook."""
        told = webhook(body)
        if told.truncated:
            self.say(f"Alertmanager has left out {told.truncated} alerts: set max_alerts: 0 in its webhook_configs")
        now_ms = int(time.time() * 1000)
        found = (shipped(alert, self.cluster, now_ms) for alert in told.alerts if not alert.of_relight)
        return [Outgoing(LOGS, line, header.key, header.headers()) for header, line in found]


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"receive.cert_file and receive.key_file cannot be used: {error}. Name a certificate and its key as PEM"
        ) from None
    return context


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "relight"

    def setup(self) -> None:
        self.request.settimeout(self.server.settings.timeout_s)
        super().setup()

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        try:
            allowed = self.server.token.allows(self.headers.get("Authorization", ""))
        except Refused as error:
            self._refuse(503, str(error))
            return
        if not allowed:
            self._drain(size)
            self._refuse(
                401,
                "the token is wrong: it has to be that of receive.token_file or receive.token, as `Bearer TOKEN`",
            )
        elif self.path.partition("?")[0] != PATH:
            self._drain(size)
            self._refuse(404, f"alerts are posted to {PATH}")
        elif not (size.isascii() and size.isdecimal()):
            self._turn_away(411, b"", "the request does not say how long it is: send Content-Length")
        elif len(size) > 12 or int(size) > self.server.settings.max_bytes:
            most = self.server.settings.max_bytes
            told = f"the body has more than the {most} bytes of receive.max_bytes: set max_alerts, or that"
            self._turn_away(413, self._drain(size), told)
        else:
            self._take(self.rfile.read(int(size)))

    def do_GET(self) -> None:
        answer(self, 405, {"error": f"alerts are posted to {PATH}; /healthz and /metrics are at metrics.port"})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so is it called
        """Log nothing of requests that went well."""

    def _take(self, body: bytes) -> None:
        try:
            records = self.server.records(body)
            self.server.metrics.consumed("alertmanager", 1, len(body))
            if records:
                self.server.keep(records)
        except NoWebhook as error:
            self._turn_away(400, body, str(error))
        except LogError as error:
            self._refuse(503, str(error))
        else:
            answer(self, 200, {"kept": len(records)})

    def _refuse(self, status: int, why: str) -> None:
        self.server.say(f"a request of {self.client_address[0]} was refused ({status}): {shown(why)}")
        answer(self, status, {"error": why})

    def _turn_away(self, status: int, body: bytes, why: str) -> None:
        """Refuse what was posted, and keep it, or its beginning; what cannot be kept now has to come again."""
        try:
            self.server.turn_away(body, why)
        except LogError as error:
            self._refuse(503, f"{why}; it could not be kept either: {error}")
        else:
            self._refuse(status, why)

    def _drain(self, size: str) -> bytes:
        """Read the beginning of a body that nobody takes: while it is on its way, the answer may be lost."""
        if size.isascii() and size.isdecimal():
            with suppress(OSError):
                return self.rfile.read(min(int(size[:9]), _DRAINED_BYTES))
        return b""
