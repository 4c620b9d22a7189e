"""A stand-in for Kibana, which no package registry has: a real HTTP server that answers as Kibana's documentation says.

It knows `GET /api/status`, `GET /api/spaces/space/ID` and `POST /api/saved_objects/_import`, below a space or not, and
of these what the documentation tells: who is let in, the header against forged requests, the multipart file of a line
for each object, conflicts, missing references, types that it does not have. It is no proof that a real Kibana takes the
objects.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.listening import Quiet, listening

Object = dict[str, Any]
TYPES = ("index-pattern", "search", "dashboard", "lens", "visualization", "tag", "map")


@dataclass
class Kibana:
    """What it holds and how it is: a test may change that. `objects` are those of each space, by type and id."""

    version: str = "9.5.3"
    level: str = "available"
    status: int = 200
    starting: bool = False
    allowed: tuple[str, ...] = ()
    """What `Authorization` may be; without any everybody is let in."""
    may_import: bool = True
    refused: dict[str, Object] = field(default_factory=dict)
    """Ids of objects that are not taken, with the error."""
    spaces: dict[str, dict[tuple[str, str], Object]] = field(default_factory=lambda: {"default": {}})
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@contextmanager
def kibana_stand_in(certificate: Path | None = None) -> Iterator[Kibana]:
    """Serve one; with a PEM file of a key and its certificate by TLS."""
    state = Kibana()

    class Handler(_Handler):
        kibana = state

    with listening(Handler, certificate=certificate) as state.url:
        yield state


class _Handler(Quiet):
    kibana: Kibana

    def do_GET(self) -> None:  # noqa: N802 - so is it called
        self.kibana.asked.append(("GET", self.path))
        if self.kibana.starting:
            self._send(503, b"Kibana server is not ready yet", "text/html")
        elif self.path == "/api/status":
            self._status()
        elif not self._let_in():
            self._denied()
        elif found := re.fullmatch(r"/api/spaces/space/([\w-]+)", self.path):
            if found[1] in self.kibana.spaces:
                self._json(200, {"id": found[1], "name": found[1], "disabledFeatures": []})
            else:
                self._error(404, "Not Found")
        else:
            self._error(404, "Not Found")

    def do_POST(self) -> None:  # noqa: N802 - so is it called
        self.kibana.asked.append(("POST", self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path)
        found = re.fullmatch(r"(?:/s/([\w-]+))?/api/saved_objects/_import", path.path)
        if not self._let_in():
            self._denied()
        elif found is None or (found[1] or "default") not in self.kibana.spaces:
            self._error(404, "Not Found")
        elif "kbn-xsrf" not in self.headers:
            self._error(400, "Request must contain a kbn-xsrf header.")
        elif not self.kibana.may_import:
            self._error(403, "Unable to bulk_create dashboard,index-pattern,search")
        else:
            overwrite = parse_qs(path.query).get("overwrite") == ["true"]
            self._import(self.kibana.spaces[found[1] or "default"], self._file(body), overwrite)

    def _status(self) -> None:
        overall = {"level": self.kibana.level, "summary": "All services are " + self.kibana.level}
        if not self._let_in():  # who has not logged in is told no more than this
            self._json(self.kibana.status, {"status": {"overall": {"level": self.kibana.level}}})
        else:
            version = {"number": self.kibana.version, "build_number": 1, "build_snapshot": False}
            self._json(self.kibana.status, {"name": "kibana", "version": version, "status": {"overall": overall}})

    def _file(self, body: bytes) -> list[Object]:
        """Return the objects of the part `file` of a multipart body, whose name has to end as Kibana wants it."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + body)
        (part,) = [p for p in message.iter_parts() if p.get_param("name", header="content-disposition") == "file"]
        assert str(part.get_filename()).endswith(".ndjson"), "Invalid file extension"
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return [json.loads(line) for line in content.decode().splitlines()]

    def _import(self, there: dict[tuple[str, str], Object], objects: list[Object], overwrite: bool) -> None:
        coming = {(each["type"], each["id"]) for each in objects}
        errors = []
        for each in objects:
            key = each["type"], each["id"]
            missing = [r for r in each["references"] if (r["type"], r["id"]) not in coming | set(there)]
            error: Object | None = self.kibana.refused.get(each["id"])
            if each["type"] not in TYPES:
                error = {"type": "unsupported_type"}
            elif missing:
                error = {
                    "type": "missing_references",
                    "references": [{"type": r["type"], "id": r["id"]} for r in missing],
                }
            elif key in there and not overwrite:
                error = {"type": "conflict"}
            if error is None:
                there[key] = each
            else:
                errors.append({"type": each["type"], "id": each["id"], "meta": {}, "error": error})
        told: Object = {"success": not errors, "successCount": len(objects) - len(errors), "warnings": []}
        self._json(200, told | ({"errors": errors} if errors else {}))

    def _let_in(self) -> bool:
        return not self.kibana.allowed or self.headers.get("Authorization") in self.kibana.allowed

    def _denied(self) -> None:
        self._error(401, "[security_exception]: unable to authenticate user")

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"statusCode": status, "error": "Error", "message": message})

    def _json(self, status: int, body: Object) -> None:
        self._send(status, json.dumps(body).encode(), "application/json; charset=utf-8")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("kbn-name", "kibana")
        self.end_headers()
        self.wfile.write(body)
