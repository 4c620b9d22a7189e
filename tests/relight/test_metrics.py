"""What a stage tells of itself: its metrics, its health, and its own log."""

import io
import json
import logging
import socket
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
import structlog

from relight.logs import configure
from relight.metrics import CannotListen, Health, Serving, StageMetrics, serve
from relight.transports.port import Partition

HERE = "127.0.0.1"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics(clock: Clock) -> StageMetrics:
    return StageMetrics("match", clock)


@pytest.fixture
def server(metrics: StageMetrics) -> Iterator[Serving]:
    with serve(metrics, 0) as serving:
        yield serving


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection(HERE, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def samples(server: Serving) -> dict[str, float]:
    status, text = get(server.port, "/metrics")
    assert status == 200
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


# Metrics


def test_everything_a_stage_counts_can_be_read(metrics: StageMetrics, server: Serving) -> None:
    metrics.consumed("relight.logs", 10, 4096)
    metrics.consumed("relight.logs", 5, 1024)
    metrics.produced("relight.signals", 3)
    metrics.dead_letter("not UTF-8")
    metrics.incident("incident.opened")
    metrics.lag(Partition("relight.logs", 2), 77)
    metrics.reconnected()
    metrics.spool(123)
    metrics.polled()
    told = samples(server)
    assert told['relight_records_consumed_total{stage="match",topic="relight.logs"}'] == 15
    assert told['relight_consumed_bytes_total{stage="match",topic="relight.logs"}'] == 5120
    assert told['relight_records_produced_total{stage="match",topic="relight.signals"}'] == 3
    assert told['relight_dead_letters_total{reason="not UTF-8",stage="match"}'] == 1
    assert told['relight_incident_events_total{event="incident.opened",stage="match"}'] == 1
    assert told['relight_consumer_lag_records{partition="2",stage="match",topic="relight.logs"}'] == 77
    assert told['relight_reconnects_total{stage="match"}'] == 1
    assert told['relight_spool_bytes{stage="match"}'] == 123
    assert told['relight_last_poll_timestamp_seconds{stage="match"}'] == 1000


def test_the_delay_runs_from_the_lines_observation_to_now(metrics: StageMetrics, server: Serving) -> None:
    metrics.delay(observed_ms=997_000)
    told = samples(server)
    assert told['relight_end_to_end_delay_seconds_sum{stage="match"}'] == 3
    assert told['relight_end_to_end_delay_seconds_bucket{le="2.5",stage="match"}'] == 0
    assert told['relight_end_to_end_delay_seconds_bucket{le="5.0",stage="match"}'] == 1


def test_a_line_from_a_clock_that_is_ahead_has_no_negative_delay(metrics: StageMetrics, server: Serving) -> None:
    metrics.delay(observed_ms=1_005_000)
    assert samples(server)['relight_end_to_end_delay_seconds_sum{stage="match"}'] == 0


def test_transactions_are_measured_even_those_that_fail(metrics: StageMetrics, server: Serving) -> None:
    with metrics.transaction():
        pass
    with pytest.raises(ValueError, match="broken"), metrics.transaction():
        raise ValueError("broken")
    assert samples(server)['relight_transaction_seconds_count{stage="match"}'] == 2


def test_what_has_not_happened_yet_is_told_as_nothing(server: Serving) -> None:
    assert samples(server)['relight_reconnects_total{stage="match"}'] == 0


def test_the_lag_of_a_partition_that_was_lost_is_told_no_more(metrics: StageMetrics, server: Serving) -> None:
    metrics.lag(Partition("relight.logs", 2), 77)
    metrics.lost(Partition("relight.logs", 2))
    metrics.lost(Partition("relight.logs", 3))
    assert not any("lag" in name for name in samples(server))


def test_two_stages_in_one_process_count_for_themselves() -> None:
    one, other = StageMetrics("match"), StageMetrics("index")
    one.reconnected()
    name, labels = "relight_reconnects_total", {"stage": "index"}
    assert other.registry.get_sample_value(name, labels) == 0


# Health


def test_a_stage_that_polls_is_well(metrics: StageMetrics, server: Serving) -> None:
    metrics.polled()
    status, text = get(server.port, "/healthz")
    assert status == 200
    assert json.loads(text) == {"stage": "match", "healthy": True, "reason": None, "last_poll_unix_s": 1000.0}


def test_a_stage_that_has_not_polled_for_long_is_not_well(metrics: StageMetrics, server: Serving, clock: Clock) -> None:
    metrics.polled()
    clock.now_s += 61
    status, text = get(server.port, "/healthz")
    assert status == 503
    assert json.loads(text)["reason"] == "no successful poll for 61 s; 60 s are allowed"


def test_a_stage_that_never_polls_has_as_long_as_one_that_has_stopped(metrics: StageMetrics, clock: Clock) -> None:
    assert metrics.health().healthy
    clock.now_s += 61
    assert not metrics.health().healthy


def test_a_stage_that_cannot_reach_the_log_is_not_well_until_it_polls(metrics: StageMetrics, server: Serving) -> None:
    metrics.polled()
    metrics.unreachable("kafka-1:9092 does not answer")
    status, text = get(server.port, "/healthz")
    assert (status, json.loads(text)["reason"]) == (503, "kafka-1:9092 does not answer")
    metrics.polled()
    assert get(server.port, "/healthz")[0] == 200


def test_a_stage_can_judge_its_health_itself(metrics: StageMetrics) -> None:
    with serve(metrics, 0, healthy=lambda: Health(False, "the spool is full")) as serving:
        assert get(serving.port, "/healthz")[0] == 503


def test_there_is_nothing_else(server: Serving) -> None:
    status, text = get(server.port, "/secrets")
    assert (status, "/metrics and /healthz" in text) == (404, True)


def test_a_port_in_use_is_named_with_the_setting_that_changes_it(server: Serving) -> None:
    with pytest.raises(CannotListen, match=rf"port {server.port} of 127.0.0.1: address already in use.*metrics\.port"):
        serve(StageMetrics("index"), server.port)


def test_a_closed_server_frees_its_port(metrics: StageMetrics) -> None:
    serving = serve(metrics, 0)
    port = serving.port
    assert get(port, "/healthz")[0] == 200
    serving.close()
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")
    serve(metrics, port).close()


def test_a_client_that_says_nothing_holds_nobody_up(server: Serving) -> None:
    with socket.create_connection((HERE, server.port)):
        assert get(server.port, "/healthz")[0] == 200


# Logs


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root, relight = logging.getLogger(), logging.getLogger("relight")
    before = root.handlers[:], root.level, relight.level
    yield io.StringIO()
    root.handlers, root.level, relight.level = before
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_where_no_terminal_is_lines_are_json_with_utc_time(out: io.StringIO) -> None:
    configure("info", stream=out)
    structlog.get_logger("relight.match").info("joined", partitions=3)
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "joined", "level": "info", "logger": "relight.match", "partitions": 3}


def test_less_than_the_level_is_not_said(out: io.StringIO) -> None:
    configure("warning", stream=out)
    structlog.get_logger("relight.match").info("joined")
    assert out.getvalue() == ""


def test_libraries_are_heard_from_warnings_on(out: io.StringIO) -> None:
    configure("debug", stream=out)
    logging.getLogger("kafka.conn").info("connected to %s", "a:9092")
    logging.getLogger("kafka.conn").warning("lost %s", "a:9092")
    assert [(line["logger"], line["event"]) for line in lines(out)] == [("kafka.conn", "lost a:9092")]


def test_configured_twice_each_line_is_said_once(out: io.StringIO) -> None:
    configure("info", stream=out)
    configure("info", stream=out)
    structlog.get_logger("relight.match").info("joined")
    assert len(lines(out)) == 1


@pytest.mark.parametrize("form", ["json", "console"])
def test_control_characters_are_shown_and_not_sent(out: io.StringIO, form: str) -> None:
    configure("info", form, stream=out)
    structlog.get_logger("relight.match").info("odd", text="\x1b[2J\x9b1m\u202e", more=["\x07\n2026 forged"])
    (line,) = out.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_masked_wherever_they_stand(out: io.StringIO, form: str) -> None:
    configure("info", form, secrets=["hunter2"], stream=out)
    log = structlog.get_logger("relight.match")
    log.info("tried hunter2", one="hunter2", many=["hunter2", {"hunter2": ValueError("hunter2")}])
    logging.getLogger("kafka.sasl").warning("refused: %s", "hunter2")
    assert "hunter2" not in out.getvalue()
    assert out.getvalue().count("[masked]") == 6


def test_a_traceback_shows_lines_and_no_variables(out: io.StringIO) -> None:
    configure("info", "console", stream=out)
    try:
        token = "-".join(["very", "secret"])
        raise ValueError("\x1b[2Jbroken")
    except ValueError:
        structlog.get_logger("relight.match").exception("failed")
    text = out.getvalue()
    assert "\nTraceback (most recent call last):\n" in text
    assert "ValueError: \\x1b[2Jbroken" in text
    assert token not in text


def test_it_is_said_on_standard_error(out: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", stream=sys.stderr)
    structlog.get_logger("relight.match").info("joined")
    said = capsys.readouterr()
    assert (said.out, "joined" in said.err) == ("", True)
