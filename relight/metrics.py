"""What a stage tells of itself: numbers for Prometheus at /metrics, and whether it works at /healthz."""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Final, Self, TypeVar

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, MetricsHandler

from relight.transports.port import Partition

STALE_S: Final = 60.0
"""A stage that has not polled for so long is not well."""
_LOG: Final = logging.getLogger(__name__)
_REQUEST_S: Final = 10
_DELAYS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_TRANSACTIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class CannotListen(Exception):
    """The server of metrics gets no port. The message says which, why, and which settings to change."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a stage works; if not, the reason. `last_poll_s` is the Unix time of its last successful poll."""

    healthy: bool
    reason: str | None = None
    last_poll_s: float | None = None


class StageMetrics:
    """The numbers of one stage, in a registry of its own. Every metric carries the stage's name."""

    def __init__(self, stage: str, now: Callable[[], float] = time.time) -> None:
        self.stage = stage
        self.registry = CollectorRegistry()
        self._now = now
        self._begun_s = now()
        self._last_poll_s: float | None = None
        self._unreachable: str | None = None
        self._consumed = self._counter("records_consumed", "Records read", "topic")
        self._consumed_bytes = self._counter("consumed_bytes", "Bytes of the values of records read", "topic")
        self._produced = self._counter("records_produced", "Records written", "topic")
        self._dead = self._counter("dead_letters", "Records that could not be read", "reason")
        self._blank = self._counter("blank_lines", "Records of foreign shippers that hold nothing")
        self._incidents = self._counter("incident_events", "Events of incidents", "event")
        self._indexed = self._counter("documents_indexed", "Documents that the store has taken", "kind")
        self._not_indexed = self._counter("documents_refused", "Documents that the store does not take", "kind")
        self._retries = self._counter("bulk_retries", "Times that documents were written again", "reason")
        self._reconnects = self._counter("reconnects", "Times that the log was joined again")
        self._lag = self._gauge("consumer_lag_records", "Records that wait to be read", "topic", "partition")
        self._polled = self._gauge("last_poll_timestamp_seconds", "Unix time of the last successful poll")
        self._spool = self._gauge("spool_bytes", "Bytes that wait on disk for the log to come back")
        self._delay = self._histogram("end_to_end_delay_seconds", "From a line's observation to now", _DELAYS_S)
        self._bulks = self._histogram("bulk_seconds", "Duration of writing to the store", _TRANSACTIONS_S)
        self._transactions = self._histogram("transaction_seconds", "Duration of transactions", _TRANSACTIONS_S)

    def consumed(self, topic: str, records: int, size_bytes: int) -> None:
        """Count records read."""
        self._consumed.labels(self.stage, topic).inc(records)
        self._consumed_bytes.labels(self.stage, topic).inc(size_bytes)

    def produced(self, topic: str, records: int = 1) -> None:
        """Count records written."""
        self._produced.labels(self.stage, topic).inc(records)

    def dead_letter(self, reason: str) -> None:
        """Count a record that could not be read. A reason is one of few words, never a record's text."""
        self._dead.labels(self.stage, reason).inc()

    def blank_line(self) -> None:
        """Count a record of a foreign shipper that holds nothing: it is passed over."""
        self._blank.inc()

    def incident(self, event: str) -> None:
        """Count an event of an incident, such as `incident.opened`."""
        self._incidents.labels(self.stage, event).inc()

    def lag(self, partition: Partition, records: int) -> None:
        """Tell how many records of a partition wait to be read."""
        self._lag.labels(self.stage, partition.topic, partition.number).set(records)

    def lost(self, partition: Partition) -> None:
        """Tell no more of a partition: another member has it now."""
        with suppress(KeyError):  # nothing was told of it yet
            self._lag.remove(self.stage, partition.topic, str(partition.number))

    def delay(self, observed_ms: int) -> None:
        """Tell when a line was observed (Unix, milliseconds) that has come through now."""
        self._delay.observe(max(0.0, self._now() - observed_ms / 1000))

    def transaction(self) -> AbstractContextManager[object]:
        """Measure the duration of a `with` block."""
        return self._transactions.time()

    def indexed(self, kind: str, documents: int, refused: int = 0) -> None:
        """Count documents written to the store, `incident` or `line`, and those that it does not take."""
        self._indexed.labels(self.stage, kind).inc(documents)
        self._not_indexed.labels(self.stage, kind).inc(refused)

    def indexed_so_far(self, kind: str) -> int:
        """Return how many documents the store has taken."""
        value = self.registry.get_sample_value("relight_documents_indexed_total", {"stage": self.stage, "kind": kind})
        return int(value or 0)

    def bulk_retry(self, reason: str) -> None:
        """Count that documents were written again. A reason is one of few words: `busy`, `unavailable`, `full`."""
        self._retries.labels(self.stage, reason).inc()

    def bulk(self) -> AbstractContextManager[object]:
        """Measure how long writing to the store takes in a `with` block."""
        return self._bulks.time()

    def spool(self, size_bytes: int) -> None:
        """Tell how many bytes wait on disk."""
        self._spool.set(size_bytes)

    def polled(self) -> None:
        """Tell that a poll has succeeded, with or without records."""
        self._last_poll_s, self._unreachable = self._now(), None
        self._polled.set(self._last_poll_s)

    def unreachable(self, reason: str) -> None:
        """Tell that the log cannot be reached; until the next poll the stage is not well."""
        self._unreachable = reason

    def reconnected(self) -> None:
        """Count that the log was joined again."""
        self._reconnects.inc()

    def health(self, stale_s: float = STALE_S) -> Health:
        """Return whether the stage works: it reaches the log, and has polled it in the last `stale_s` seconds."""
        silent_s = self._now() - (self._last_poll_s or self._begun_s)
        reason = self._unreachable
        if reason is None and silent_s > stale_s:
            reason = f"no successful poll for {silent_s:.0f} s; {stale_s:.0f} s are allowed"
        return Health(reason is None, reason, self._last_poll_s)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return self._own(Counter(f"relight_{name}", about, ("stage", *labels), registry=self.registry), labels)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return self._own(Gauge(f"relight_{name}", about, ("stage", *labels), registry=self.registry), labels)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        metric = Histogram(f"relight_{name}", about, ("stage",), registry=self.registry, buckets=buckets)
        return self._own(metric, ())

    def _own(self, metric: _Metric, labels: tuple[str, ...]) -> _Metric:
        return metric if labels else metric.labels(self.stage)  # so it is told from the start, as 0


class Listener(socketserver.ThreadingTCPServer):
    """Listens at an address; each request has a thread of its own."""

    # Not http.server's: that one asks the name service for this host's name before it starts.
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, handler: type[socketserver.BaseRequestHandler]) -> None:
        """Bind the address. Raises: OSError."""
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log that a request failed."""
        _LOG.warning("a request of %s failed", client_address, exc_info=True)


class Serving:
    """A running server, such as that of metrics and health. `close` it, or use it in a `with` block."""

    def __init__(self, server: socketserver.TCPServer, name: str = "relight-metrics") -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name=name, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the port it listens at."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop it and free its port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    metrics: StageMetrics, port: int, address: str = "127.0.0.1", healthy: Callable[[], Health] | None = None
) -> Serving:
    """Serve metrics and health in a thread. Without `healthy` the metrics themselves tell it. Port 0: any free one.

    Raises:
        CannotListen: the port is in use, or not to be had.
    """
    try:
        return Serving(_Server(address, port, metrics, healthy or metrics.health))
    except OSError as error:
        raise CannotListen(
            f"metrics cannot be served at port {port} of {address}: {(error.strerror or str(error)).lower()}; stop what"
            " uses it, or set metrics.port (--metrics-port) or metrics.address to others"
        ) from None


def answer(request: BaseHTTPRequestHandler, status: int, content: dict[str, object]) -> None:
    """Answer a request with an HTTP status and an object as JSON."""
    body = orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


class _Server(Listener):
    def __init__(self, address: str, port: int, metrics: StageMetrics, health: Callable[[], Health]) -> None:
        self.metrics = metrics
        self.health = health
        super().__init__(address, port, _Handler)


class _Handler(MetricsHandler):
    server: _Server
    timeout = _REQUEST_S

    def do_GET(self) -> None:  # noqa: N802 - so is it called
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.registry = self.server.metrics.registry
            super().do_GET()
        elif path == "/healthz":
            now = self.server.health()
            told = {"healthy": now.healthy, "reason": now.reason, "last_poll_unix_s": now.last_poll_s}
            answer(self, 200 if now.healthy else 503, {"stage": self.server.metrics.stage, **told})
        else:
            answer(self, 404, {"error": f"there is no {path}; there are /metrics and /healthz"})
