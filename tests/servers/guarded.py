"""A door before a search server: whoever does not say the password is turned away, as Elasticsearch's security does.

The server that the tests run has no security, for that is no part of what Maven Central has of it. This is a stand-in
for it, in what it answers; everything that is let through reaches the real server.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import orjson

from tests.servers.listening import Door, listening

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

    class Guarded(Door):
        behind = urlsplit(url)

        def answered(self, body: bytes) -> tuple[int, bytes, str] | None:
            if self.headers.get("Authorization") == _ALLOWED:
                return None
            return 401, orjson.dumps(_DENIED), "application/json"

    with listening(Guarded) as address:
        yield address
