"""A real HTTP server that answers as it is told, and keeps what it was asked: also one that hangs, or hangs up."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import orjson

from tests.servers.listening import Quiet, listening


@dataclass(frozen=True)
class Says:
    """An answer; a header without a value is left out.

    `hangs`: none comes. `resets`: the connection is cut instead. `drips`: a byte comes now and then.
    """

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    resets: bool = False
    drips: bool = False


@dataclass(frozen=True)
class Asked:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Server:
    """What it answers, one after the other, the last one for ever; and what it was asked."""

    answers: list[Says] = field(default_factory=lambda: [Says()])
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    stopped: Event = field(default_factory=Event)

    def says(self, *answers: Says) -> None:
        self.answers = list(answers)

    def next(self) -> Says:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def http_server(*answers: Says, port: int = 0, certificate: Path | None = None) -> Iterator[Server]:
    """Serve; with a PEM file of a key and its certificate by TLS."""
    state = Server(list(answers) or [Says()])

    class Handler(_Handler):
        server_state = state

    with listening(Handler, port, certificate) as state.url:
        try:
            yield state
        finally:
            state.stopped.set()


class _Handler(Quiet):
    server_state: Server

    def do_POST(self) -> None:  # noqa: N802 - so is it called
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server_state.asked.append(Asked(self.path, dict(self.headers.items()), body))
        answer = self.server_state.next()
        if answer.resets:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if answer.hangs:
            self.server_state.stopped.wait(20)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if answer.drips:
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                if self.server_state.stopped.wait(0.1):
                    break
        else:
            self.wfile.write(answer.body)
