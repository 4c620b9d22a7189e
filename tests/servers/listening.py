"""Real HTTP servers in the test's own process: what stand-ins and doors before servers share."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread
from urllib.parse import SplitResult

import pytest


class Quiet(BaseHTTPRequestHandler):
    """Answers by HTTP/1.1, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Listener(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing: that a client hangs up, as one does that trusts no certificate, is what tests are about."""


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], port: int = 0, certificate: Path | None = None) -> Iterator[str]:
    """Serve, and give the address; with a PEM file of a key and its certificate by TLS."""
    with _Listener(("127.0.0.1", port), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class Door(Quiet):
    """Stands before a search server. `answered` may answer in its place, and `changed` change what it answers."""

    behind: SplitResult

    def answered(self, body: bytes) -> tuple[int, bytes, str] | None:
        """Return a status, a body and its type, `None` to let the request through."""
        return None

    def changed(self, found: bytes) -> bytes:
        """Return the body of an answer as it is to be."""
        return found

    def serve(self) -> None:
        """Answer, or ask the server behind."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if own := self.answered(body):
            self.answer(*own)
            return
        headers = {name: self.headers[name] for name in ("Accept", "Content-Type") if name in self.headers}
        connection = HTTPConnection(self.behind.hostname or "", self.behind.port, timeout=30)
        connection.request(self.command, self.path, body, headers)
        found = connection.getresponse()
        self.answer(found.status, self.changed(found.read()), found.getheader("Content-Type", "application/json"))
        connection.close()

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Answer as Elasticsearch does."""
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve  # noqa: N815 - as http.server calls them


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
