"""`relight setup kibana`: imports data views, searches and the dashboard by Kibana's API. `relight.assets` makes them.

KibanaError
├── KibanaUnavailable   no answer, or it is not ready: try again
└── KibanaRefused       not a Kibana, wrong credentials, no such space, TLS: a person has to change something
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from relight.assets.saved_objects import SavedObject
from relight.settings import models
from relight.setup import Outcome

MAJOR: Final = 8
"""The oldest major version of Kibana that can read the objects."""
_TIMEOUT: Final = urllib3.Timeout(connect=10, read=120)
_UNAVAILABLE: Final = (502, 503, 504)


class KibanaError(Exception):
    """Kibana did not do what was asked. The message says what is wrong, where, and what to do."""


class KibanaUnavailable(KibanaError):
    """It gives no answer, or is not ready: try again."""


class KibanaRefused(KibanaError):
    """It does not let this client in, has no such space, or is none that can be used."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kibana answers: the status, and the body where that is JSON."""

    status: int
    body: Any
    text: str

    @property
    def reason(self) -> str:
        """Return what is wrong, in its words."""
        said = self.body.get("message") if isinstance(self.body, Mapping) else None
        return str(said or " ".join(self.text.split()) or "it says nothing")[:300]


def setup(settings: models.Kibana, objects: Sequence[SavedObject], *, dry_run: bool = False) -> Outcome:
    """Import the objects, over those that are there already; a dry run only looks and tells. Raises: KibanaError.

    An object that Kibana does not take is told, and the others are imported.
    """
    with Kibana(settings) as kibana:
        version = kibana.check()
        lines = [f"{kibana.place}: {f'version {version}' if version else 'ready'}"]
        if dry_run:
            return Outcome((*lines, *(f"{_named(each)}: would be imported" for each in objects)), as_wanted=False)
        wrong = kibana.load(objects)
    for each in objects:
        lines.append(f"{_named(each)}: {wrong.get((each.type, each.id), 'imported')}")
    return Outcome(tuple(lines), as_wanted=not wrong)


class Kibana:
    """A Kibana and a space of it. Use it in a `with` block."""

    def __init__(self, settings: models.Kibana) -> None:
        """Take where it is and how to get in. It is connected to when it is used. Raises: KibanaRefused."""
        if settings.url is None:
            raise KibanaRefused("kibana.url is not set: say where Kibana is, in the settings or with --kibana URL")
        self._url, self._space = settings.url.rstrip("/"), settings.space
        self.place = f"Kibana at {self._url}" + (f", space {self._space}" if self._space else "")
        self._headers = {"kbn-xsrf": "true", "Accept": "application/json", **_authorization(settings)}
        if settings.ca_file is not None and not settings.ca_file.is_file():
            raise KibanaRefused(f"kibana.ca_file: there is no file {settings.ca_file}")
        self._pool = urllib3.PoolManager(
            timeout=_TIMEOUT, retries=False, ca_certs=str(settings.ca_file) if settings.ca_file else None
        )

    def check(self) -> str | None:
        """Make sure that it is a Kibana that is ready and has the space; return its version, where it tells that."""
        answer = self._ask("GET", "/api/status")
        if answer.status in _UNAVAILABLE:
            raise KibanaUnavailable(f"{self.place} is not ready ({answer.status}, {_level(answer)}): try again later")
        self._let_in(answer)
        if answer.status != 200 or not isinstance(answer.body, Mapping) or "status" not in answer.body:
            raise KibanaRefused(
                f"{self.place}: this is not Kibana: /api/status is answered with {answer.status}"
                f" and no status. Check kibana.url, which has to hold Kibana's base path too"
            )
        if _level(answer) in ("unavailable", "critical"):
            raise KibanaUnavailable(f"{self.place} is not ready ({_level(answer)}): try again later")
        version = _version(answer)
        if version is not None and not _is_new_enough(version):
            raise KibanaRefused(f"{self.place} is Kibana {version}. relight needs Kibana {MAJOR} or newer")
        if self._space is not None:
            self._look_for(self._space)
        return version

    def load(self, objects: Sequence[SavedObject]) -> dict[tuple[str, str], str]:
        """Import objects; return what is wrong with those that are not taken, by type and id."""
        space = f"/s/{self._space}" if self._space else ""
        file = ("relight.ndjson", b"".join(each.line() for each in objects), "application/ndjson")
        answer = self._ask("POST", f"{space}/api/saved_objects/_import?overwrite=true", {"file": file})
        if answer.status in _UNAVAILABLE:
            raise KibanaUnavailable(f"{self.place} is not ready ({answer.status}, {answer.reason}): try again later")
        self._let_in(answer)
        if answer.status == 404:
            raise KibanaRefused(f"{self.place} has no import ({answer.reason}). Check kibana.url and kibana.space")
        if answer.status != 200 or not isinstance(answer.body, Mapping) or "success" not in answer.body:
            raise KibanaRefused(f"{self.place} does not import: {answer.status}, {answer.reason}")
        wrong = {(each["type"], each["id"]): _wrong(each["error"]) for each in answer.body.get("errors", ())}
        if not answer.body["success"] and not wrong:
            raise KibanaRefused(f"{self.place} does not import, and does not say why")
        return wrong

    def __enter__(self) -> "Kibana":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._pool.clear()

    def _look_for(self, space: str) -> None:
        """Make sure that there is a space: an import into one that is missing would be accepted, and never seen."""
        answer = self._ask("GET", f"/api/spaces/space/{space}")
        if answer.status == 404:
            raise KibanaRefused(f"{self.place}: there is no space {space}. Make it in Kibana, or correct kibana.space")
        self._let_in(answer)
        if answer.status != 200:
            raise KibanaRefused(f"{self.place} does not tell of its space {space}: {answer.status}, {answer.reason}")

    def _let_in(self, answer: Answer) -> None:
        if answer.status == 401:
            raise KibanaRefused(
                f"{self.place} does not let relight in (401, {answer.reason})."
                " Check kibana.username and password, or api_key"
            )
        if answer.status == 403:
            raise KibanaRefused(
                f"{self.place} does not allow that (403, {answer.reason}). The user, or the API key, needs"
                " the privilege all for Saved Objects Management in this space"
            )

    def _ask(self, method: str, path: str, fields: Mapping[str, tuple[str, bytes, str]] | None = None) -> Answer:
        try:
            found = self._pool.request(
                method, self._url + path, fields=fields, headers=self._headers, redirect=False
            )  # fmt: skip
        except HTTPError as error:
            raise self._meaning(error) from error
        text = found.data.decode("utf-8", "replace")
        try:
            body = orjson.loads(found.data)
        except orjson.JSONDecodeError:
            body = None
        return Answer(found.status, body, text)

    def _meaning(self, error: HTTPError) -> KibanaError:
        inner = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(inner, SSLError):
            return KibanaRefused(f"{self.place}: TLS failed ({inner}). Check https, and kibana.ca_file")
        return KibanaUnavailable(f"{self.place}: no answer ({inner}). Check that it runs, and the address")


def _authorization(settings: models.Kibana) -> dict[str, str]:
    if settings.api_key is not None and settings.username is not None:
        raise KibanaRefused("kibana.api_key and kibana.username exclude each other: set one of them")
    if (settings.username is None) != (settings.password is None):
        raise KibanaRefused("kibana.username and kibana.password belong together: set both")
    if settings.api_key is not None:
        return {"Authorization": f"ApiKey {settings.api_key.get_secret_value()}"}
    if settings.username is not None and settings.password is not None:
        pair = f"{settings.username}:{settings.password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
    return {}


def _level(answer: Answer) -> str:
    """Return how it says that it is; before it has started that is plain text, or one word where else an object is."""
    status = answer.body.get("status") if isinstance(answer.body, Mapping) else answer.reason
    overall = status.get("overall") if isinstance(status, Mapping) else status
    return str(overall.get("level") if isinstance(overall, Mapping) else overall)


def _version(answer: Answer) -> str | None:
    """Return its version: who has not logged in is not told."""
    version = answer.body.get("version")
    return str(version["number"])[:100] if isinstance(version, Mapping) and "number" in version else None


def _is_new_enough(version: str) -> bool:
    """Tell whether a version is one that can be used; what has no number is none."""
    major = version.split(".")[0]
    return major.isdecimal() and int(major) >= MAJOR


def _named(each: SavedObject) -> str:
    return f"{'data view' if each.type == 'index-pattern' else each.type} {each.title}"


def _wrong(error: Mapping[str, Any]) -> str:
    """Return why an object was not imported."""
    if error.get("type") == "missing_references":
        missing = ", ".join(f"{each['type']} {each['id']}" for each in error.get("references", ()))
        return f"not imported: it refers to what is not there ({missing})"
    said = error.get("message")
    return f"not imported: {error.get('type', 'unknown')}" + (f", {said}" if said else "")
