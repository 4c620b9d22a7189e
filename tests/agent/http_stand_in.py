"""A real HTTP server that answers as it is told, and keeps what it was asked: also one that hangs, or hangs up."""

import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Event, Thread
from typing import Any

import orjson
import pytest


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

    with _Listener(("127.0.0.1", port), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        state.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            state.stopped.set()
            server.shutdown()
            thread.join()


class _Listener(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: that a client hangs up is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server_state: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
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

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def made_certificate(folder: Path) -> Path:
    """Return a PEM file of a key and a certificate for 127.0.0.1 that is its own authority; `ca.pem` lies beside."""
    if which("openssl") is None:
        pytest.skip("NOT TESTED: there is no `openssl`")
    key = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    whose = ["-subj", "/CN=stand-in", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *key, *whose], capture_output=True, check=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "ca.pem").read_text())
    return both
