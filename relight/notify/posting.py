"""One POST over HTTP, and what is sure about it afterwards. It follows no redirects and repeats nothing.

A connection is made for each request, and no proxy is used. Connecting and sending are two steps, so that what was
surely not sent can be told from what may have arrived.

PostError
├── NotPosted     nothing was sent
└── MaybePosted   it may have arrived, and what became of it is not known
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import Event, Timer
from typing import Final
from urllib.parse import unquote

from urllib3 import HTTPResponse, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import parse_url

from relight.notify.cleaning import line

ANSWER_BYTES: Final = 64 * 1024
"""No more than this of an answer is read."""
CLOUD_EVENT: Final = "application/cloudevents+json; charset=utf-8"
JSON: Final = "application/json"
_WHY: Final = 300


class PostError(Exception):
    """There is no answer. The message says why."""


class NotPosted(PostError):
    """Nothing was sent. `again`: another try may help."""

    def __init__(self, reason: str, *, again: bool) -> None:
        """Take the reason and whether another try may help."""
        super().__init__(reason)
        self.again = again


class MaybePosted(PostError):
    """It may have arrived."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server says: the status, and the beginning of the body."""

    status: int
    text: str


class Poster:
    """Posts to one URL. Safe to use in several threads."""

    def __init__(self, url: str, *, timeout_s: float, ca_file: Path | None = None, token: str | None = None) -> None:
        """Take where to post to, and how to get in: a bearer token, or a user and a password in the URL.

        Raises:
            OSError: the CA file cannot be read, or holds no certificate.
        """
        self._url = parse_url(url)
        self._timeout_s = timeout_s
        self._tls = ssl.create_default_context(cafile=ca_file) if self._url.scheme == "https" else None
        self._headers = {"User-Agent": "relight", "Accept": JSON}
        if self._url.auth:
            self._headers["Authorization"] = make_headers(basic_auth=unquote(self._url.auth))["authorization"]
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self.place = f"{self._url.scheme}://{self._url.netloc}"
        """Where it is, without what of the URL lets one in."""

    def post(self, body: bytes, kind: str, headers: Mapping[str, str] = {}, within_s: float | None = None) -> Answer:
        """Post once, and return the answer.

        Args:
            body: what is posted.
            kind: its content type.
            headers: further headers.
            within_s: how long an answer is waited for, where that is less than what is set.

        Raises:
            PostError: there is none.
        """
        limit_s = min(self._timeout_s, within_s or self._timeout_s)
        end_s = time.monotonic() + limit_s
        connection = self._connection(limit_s)
        try:
            connected = self._connected(connection)
            connection.timeout = left_s = end_s - time.monotonic()
            if left_s <= 0:
                raise NotPosted(f"{self.place} was too slow to connect to", again=True)
            with _cut_off(connected, left_s) as late:
                answer = self._exchanged(connection, body, {**self._headers, "Content-Type": kind, **headers})
            if late.is_set():  # what was cut off may look like an end
                raise MaybePosted(f"{self.place} has not answered in {limit_s:.0f} s")
            return answer
        finally:
            connection.close()

    def _connection(self, limit_s: float) -> HTTPConnection:
        host = (self._url.host or "").strip("[]")
        if self._tls is not None:
            return HTTPSConnection(host, self._url.port, timeout=limit_s, ssl_context=self._tls)
        return HTTPConnection(host, self._url.port, timeout=limit_s)

    def _connected(self, connection: HTTPConnection) -> socket:
        try:
            connection.connect()
        except (SSLError, ssl.SSLError) as error:
            raise NotPosted(f"{self.place}: TLS failed ({_why(error)})", again=False) from error
        except (HTTPError, OSError) as error:
            raise NotPosted(f"{self.place} cannot be reached ({_why(error)})", again=True) from error
        found = connection.sock
        assert isinstance(found, socket)
        return found

    def _exchanged(self, connection: HTTPConnection, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            connection.request("POST", self._url.request_uri, body, headers, preload_content=False)
            answer = connection.getresponse()
            return Answer(answer.status, _read(answer).decode("utf-8", "replace"))
        except (HTTPError, HTTPException, OSError) as error:
            raise MaybePosted(f"{self.place} has not answered ({_why(error)})") from error


def _read(answer: HTTPResponse) -> bytes:
    found = bytearray()
    while chunk := answer.read(ANSWER_BYTES - len(found), decode_content=False):
        found += chunk
        if len(found) >= ANSWER_BYTES:
            break
    return bytes(found)


@contextmanager
def _cut_off(connected: socket, after_s: float) -> Iterator[Event]:
    """Cut a connection after some time, however busy it is: a server may send a byte now and then for ever."""
    late = Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):
            socket.shutdown(connected, SHUT_RDWR)  # not TLS's own, which would take the session from under the reader

    watch = Timer(after_s, cut)
    watch.daemon = True
    watch.start()
    try:
        yield late
    finally:
        watch.cancel()


def _why(error: Exception) -> str:
    return line(str(error) or type(error).__name__, _WHY)
