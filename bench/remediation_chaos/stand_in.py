"""A web server that carries commands out, slowly, and sometimes answers nothing: it counts what it was asked for."""

import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Lock, Thread
from typing import Any, Final

_SLOW_S: Final = 1.2
_SILENT: Final = 0.12


class StandIn(ThreadingHTTPServer):
    """It does what it is asked for at once, and answers later. `silent` are the keys that got no answer."""

    daemon_threads = True

    def __init__(self, dice: Random) -> None:
        """Begin to listen."""
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: Counter[str] = Counter()
        self.silent: set[str] = set()
        self._dice, self._lock = dice, Lock()
        Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}/commands"

    def take(self, key: str) -> tuple[float, bool]:
        """Count a request; return how long its answer takes (seconds), and whether there is one."""
        with self._lock:
            self.asked[key] += 1
            answers = self._dice.random() >= _SILENT
            if not answers:
                self.silent.add(key)
            return self._dice.uniform(0, _SLOW_S), answers

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Say nothing: those who ask are killed."""


class _Asked(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        wait_s, answers = self.server.take(self.headers.get("Idempotency-Key", ""))
        time.sleep(wait_s)
        self.close_connection = True
        if answers:
            self.send_response(204)
            self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""
