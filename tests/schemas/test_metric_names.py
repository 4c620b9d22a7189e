"""The metrics: what is a number, and how a number under another unit's name becomes a metric."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.metrics import METRICS, NUMBER_CHARACTERS, conversions, number, reading


@pytest.mark.parametrize(
    ("name", "text", "metric", "value"),
    [
        ("loss", "2.31", "loss", 2.31),
        ("loss", "9.123456E+00", "loss", 9.123456),
        ("loss", " -.5e-3 ", "loss", -0.0005),
        ("step_time_ms", "5120.1", "step_time_s", 5.1201),
        ("gpu_memory_used_mib", "81559", "gpu_memory_used_bytes", 81559 * 2**20),
        ("gpu_memory_free_gb", "1.5", "gpu_memory_free_bytes", 1.5e9),
        ("gpu_sm_clock_mhz", "1980", "gpu_sm_clock_hz", 1.98e9),
        ("gpu_power_mw", "312450", "gpu_power_w", 312.45),
        ("mfu_percent", "41.2", "mfu", 0.412),
        ("pflops", "0.4", "tflops", 400.0),
        ("tokens_per_s", "7,412", "tokens_per_s", 7412.0),
        ("tokens_per_s", "1,007,412.5", "tokens_per_s", 1007412.5),
        ("iterations_per_s", "2.5", "step_time_s", 0.4),
    ],
)
def test_a_number_under_a_known_name_is_a_metric_in_the_metrics_own_unit(
    name: str, text: str, metric: str, value: float
) -> None:
    found = reading(name, text)
    assert found is not None
    assert found == (metric, pytest.approx(value))


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_no_number_is_a_reading_for_it_is_what_one_looks_for(text: str) -> None:
    found = reading("loss", text)
    assert found is not None
    assert math.isnan(found[1])


@pytest.mark.parametrize(("text", "value"), [("inf", math.inf), ("-Infinity", -math.inf), ("1e400", math.inf)])
def test_infinity_is_a_reading(text: str, value: float) -> None:
    assert reading("grad_norm", text) == ("grad_norm", value)


@pytest.mark.parametrize(
    "text",
    ["", " ", "-", ".", "e5", "1.2.3", "1_000", "0x10", "74,12", "7,4123", "1,", "٣", "12s", "1e", "1e99999", "nanx"],
)
def test_what_is_no_number_is_no_reading(text: str) -> None:
    assert number(text) is None
    assert reading("loss", text) is None


def test_a_number_that_goes_on_and_on_is_none() -> None:
    assert number("1" * NUMBER_CHARACTERS) is not None
    assert number("1" * (NUMBER_CHARACTERS + 1)) is None
    assert number(" " * 10_000_000 + "1") is None


@pytest.mark.parametrize("text", ["0", "0.00", "nan", "inf"])
def test_a_rate_of_nothing_tells_no_time(text: str) -> None:
    assert reading("iterations_per_s", text) is None


@pytest.mark.parametrize("name", ["", "gpu", "loss_ms", "step_time", "xid", "Loss"])
def test_another_name_is_no_metric(name: str) -> None:
    assert reading(name, "1") is None


@given(st.text(max_size=80), st.text(max_size=100))
def test_nothing_raises(name: str, text: str) -> None:
    number(text)
    assert reading(name, text) is None or name in conversions()


@given(st.sampled_from(sorted(METRICS)), st.floats())
def test_a_metric_under_its_own_name_keeps_its_value(name: str, value: float) -> None:
    found = reading(name, repr(value))
    assert found is not None
    assert found[0] == name
    assert found[1] == value or (math.isnan(found[1]) and math.isnan(value))


def test_every_name_says_its_unit() -> None:
    endings = {"s": "_s", "bytes": "_bytes", "per_s": "_per_s", "hz": "_hz", "w": "_w", "c": "_c", "tflops": "tflops"}
    assert [m.name for m in METRICS.values() if not m.name.endswith(endings.get(m.unit, ""))] == []


def test_no_name_stands_for_two_metrics() -> None:
    assert all(conversions()[name].metric == name for name in METRICS)
