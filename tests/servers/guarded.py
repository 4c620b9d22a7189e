"""A door before a search server: whoever does not say the password is turned away, as Elasticsearch's security does.

The server that the tests run has no security, for that is no part of what Maven Central has of it. This is a stand-in
for it, in what it answers; everything that is let through reaches the real server.
"""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import orjson

USER, PASSWORD = "relight", "correct-horse"
_ALLOWED = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
_DENIED = {
    "error": {
        "root_cause": [{"type": "security_exception", "reason": f"unable to authenticate user [{USER}]"}],
        "type": "security_exception",
        "reason": f"unable to authenticate user [{USER}]",
    },
    "status": 401,
}


@contextmanager
def guarded(url: str) -> Iterator[str]:
    """Give the address of the door."""
    behind = urlsplit(url)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") != _ALLOWED:
                self.answer(401, orjson.dumps(_DENIED), "application/json")
                return
            wanted = ("Accept", "Content-Type")
            headers = {name: self.headers[name] for name in wanted if name in self.headers}
            connection = HTTPConnection(behind.hostname or "", behind.port, timeout=30)
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            self.answer(found.status, found.read(), found.getheader("Content-Type", "application/json"))
            connection.close()

        def answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve  # noqa: N815 - as http.server calls them

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
