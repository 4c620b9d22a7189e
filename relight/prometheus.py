"""A Prometheus that is asked for series over a range of time, by its HTTP API.

PrometheusError
├── PrometheusUnavailable   no answer, or it is too busy: try again
└── PrometheusRefused       not a Prometheus, not let in, a query it does not take: a person has to change something
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import urllib3
from pydantic import TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from ingest.redaction import shown
from ingest.series import Series
from relight.settings.monitoring import Prometheus as Settings

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer that is larger is not read to its end."""
_PATH: Final = "/api/v1/query_range"
_BUSY: Final = (429, 502, 503, 504)
_SERIES: Final = TypeAdapter(tuple[Series, ...])


class PrometheusError(Exception):
    """Prometheus did not answer what was asked. The message says what is wrong, where, and what to do."""


class PrometheusUnavailable(PrometheusError):
    """It gives no answer, or is too busy: try again."""


class PrometheusRefused(PrometheusError):
    """It does not let this client in, does not take the query, or is none."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any
    text: str

    @property
    def reason(self) -> str:
        """Return what is wrong, in its words."""
        said = self.body.get("error") if isinstance(self.body, Mapping) else None
        return shown(str(said or " ".join(self.text[:300].split()) or "it says nothing")[:300])


class Prometheus:
    """A Prometheus. Use it in a `with` block."""

    def __init__(self, settings: Settings) -> None:
        """Take where it is and how to get in. It is connected to when it is asked. Raises: PrometheusRefused."""
        if settings.url is None:
            raise PrometheusRefused("prometheus.url is not set: say where Prometheus is, as http://HOST:9090")
        if settings.ca_file is not None and not settings.ca_file.is_file():
            raise PrometheusRefused(f"prometheus.ca_file: there is no file {settings.ca_file}")
        self._url, self._timeout_s, self._tries = settings.url.rstrip("/"), settings.timeout_s, settings.tries
        self.place = f"Prometheus at {urllib3.util.parse_url(self._url)._replace(auth=None).url}"
        self._headers = {"Accept": "application/json", **_authorization(settings)}
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=min(10.0, settings.timeout_s), read=settings.timeout_s),
            retries=False,
            ca_certs=str(settings.ca_file) if settings.ca_file else None,
        )

    def range(self, query: str, begin_s: float, end_s: float, step_s: int) -> tuple[Series, ...]:
        """Return the series of a query from one time to another (Unix, seconds), both included.

        Raises: PrometheusError.
        """
        asking = Retrying(
            stop=stop_after_attempt(self._tries),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            retry=retry_if_exception_type(PrometheusUnavailable),
            reraise=True,
        )
        fields = {
            "query": query, "start": str(begin_s), "end": str(end_s), "step": str(step_s),
            "timeout": f"{self._timeout_s:g}s",
        }  # fmt: skip
        answer = asking(self._ask, fields)
        try:
            return _SERIES.validate_python(answer.body["data"]["result"])
        except (KeyError, TypeError, ValidationError):
            raise PrometheusRefused(
                f"{self.place} does not answer `{query}` with series: ask for a range of numbers"
            ) from None

    def __enter__(self) -> "Prometheus":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._pool.clear()

    def _ask(self, fields: Mapping[str, str]) -> _Answer:
        """Ask once. Raises: PrometheusError."""
        try:
            found = self._pool.request(
                "POST", self._url + _PATH, fields=dict(fields), encode_multipart=False, headers=self._headers,
                redirect=False, preload_content=False,
            )  # fmt: skip
            data = found.read(ANSWER_BYTES + 1)
            found.release_conn()
        except HTTPError as error:
            raise self._meaning(error) from error
        if len(data) > ANSWER_BYTES:
            raise PrometheusRefused(
                f"{self.place} answers `{fields['query']}` with too much: ask for less with --queries"
            )
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            body = None
        answer = _Answer(found.status, body, data[:1000].decode("utf-8", "replace"))
        self._check(answer, fields["query"])
        return answer

    def _check(self, answer: _Answer, query: str) -> None:
        """Make sure that a question was answered. Raises: PrometheusError."""
        told = answer.body if isinstance(answer.body, Mapping) else {}
        if answer.status in (401, 403):
            raise PrometheusRefused(
                f"{self.place} does not let relight in ({answer.status})."
                " Check prometheus.token, or username and password"
            )
        if answer.status in _BUSY:
            raise PrometheusUnavailable(f"{self.place} is too busy, or not ready ({answer.status}, {answer.reason})")
        if told.get("status") == "error":
            raise PrometheusRefused(
                f"{self.place} does not take `{query}` ({answer.reason})."
                " Correct it with --queries, or make --step longer"
            )
        if answer.status in range(300, 400):
            raise PrometheusRefused(f"{self.place} is elsewhere ({answer.status}). Name its own URL, with its prefix")
        if answer.status != 200 or told.get("status") != "success":
            raise PrometheusRefused(
                f"{self.place}: this is no Prometheus ({answer.status}, {answer.reason})."
                " Check the URL, with its prefix"
            )

    def _meaning(self, error: HTTPError) -> PrometheusError:
        inner = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(inner, SSLError):
            return PrometheusRefused(f"{self.place}: TLS failed ({inner}). Check https, and prometheus.ca_file")
        return PrometheusUnavailable(f"{self.place}: no answer ({inner}). Check that it runs, and the address")


def _authorization(settings: Settings) -> dict[str, str]:
    if settings.token is not None:
        return {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    if settings.username is not None and settings.password is not None:
        return urllib3.make_headers(basic_auth=f"{settings.username}:{settings.password.get_secret_value()}")
    return {}
