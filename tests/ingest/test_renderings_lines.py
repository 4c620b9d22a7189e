"""The lines that renderings write: their grammar, and that the shipped signatures read every metric off them."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from diagnose.matching.dialect import confirming
from diagnose.rules import Catalogue
from ingest.decode import decoder_for
from ingest.renderings.metric_line import health_line, instant, metric_line, shown
from ingest.renderings.naming import Readings, cell, names
from schemas.metrics import METRICS, conversions, reading
from schemas.record import SEGMENT_BYTES, Source

DECODE = decoder_for(Source("metrics"), b"")
SECTIONS = ("training", "smi_columns", "smi_report", "dcgm_columns", "exposition", "wandb_system")
WORDS = re.compile(r"(?:\S+ )?metric of=[a-z]+(?: [^\s=]+=[^\s=]+)*\n")


@given(
    labels=st.dictionaries(st.sampled_from(["host", "gpu", "disk", "step"]), st.text(max_size=200)),
    told=st.lists(st.tuples(st.text(min_size=1, max_size=200), st.floats()), max_size=80),
)
def test_a_line_is_words_of_one_name_and_one_value_each(labels: dict[str, str], told: list[tuple[str, float]]) -> None:
    line = metric_line("gpu", labels, told, instant(1738555506.123)).decode()
    assert WORDS.fullmatch(line)
    assert line.isascii()
    assert len(line) < SEGMENT_BYTES


def test_a_line_of_the_longest_names_is_no_longer_than_what_matching_sees() -> None:
    told = [(f"{n}" + "\N{GRINNING FACE}" * 1000, -1.2345678901234567e-300) for n in range(100)]
    assert len(metric_line("gpu", {"host": "\N{GRINNING FACE}" * 1000}, told, instant(1.0))) < SEGMENT_BYTES


@given(st.floats())
def test_a_number_reads_back_as_it_was(value: float) -> None:
    back = float(shown(value))
    assert back == value or (math.isnan(back) and math.isnan(value))


@given(st.text(max_size=300), st.text(max_size=300))
def test_what_a_health_line_quotes_stays_on_its_line(check: str, what: str) -> None:
    assert health_line({"gpu": "3"}, check, "fail", what).count(b"\n") == 1
    assert len(health_line({"gpu": "3"}, check, "fail", what).splitlines()) == 1


def test_what_is_no_time_is_not_told() -> None:
    times = (None, 0.0, -5.0, math.nan, math.inf, 1e18)
    assert [instant(time_s) for time_s in times] == [""] * len(times)


def test_every_metric_is_read_off_the_line_that_tells_it(known: Catalogue) -> None:
    of = {"training": "metric.training", "gpu": "metric.gpu", "host": "metric.host"}
    patterns = {what: known.by_id[name].values for what, name in of.items()}
    for metric in METRICS:
        what = next((what for what in ("gpu", "host") if metric in "".join(patterns[what])), "training")
        message = DECODE(metric_line(what, {"step": "7"}, [(metric, 0.5)], instant(1738555506.0)).rstrip()).message
        found = [m for p in patterns[what] if (m := confirming(p).search(message))]
        told = [reading(k.decode(), v.decode()) for m in found for k, v in m.groupdict().items()]
        assert told == [(metric, 0.5)]


def test_the_time_of_a_line_is_read_and_taken_off() -> None:
    decoded = DECODE(metric_line("gpu", {"gpu": "3"}, [("gpu_power_w", 612.5)], instant(1738555506.125)).rstrip())
    assert decoded.message == b"metric of=gpu gpu=3 gpu_power_w=612.5"
    assert decoded.origin.time_s == 1738555506.125


def test_every_foreign_name_stands_for_a_metric_and_for_one_only() -> None:
    for section in SECTIONS:
        assert set(names(section).values()) <= set(conversions())
        assert all(name == name.lower() for name in names(section))


def test_parts_of_a_total_add_up_and_of_others_the_largest_counts_a_broken_number_above_all() -> None:
    report = Readings("smi_report")
    report.add("ECC Errors/Volatile/SRAM Uncorrectable", 1.0)
    report.add("ecc errors/volatile/dram uncorrectable", 2.0)
    report.add("Power Readings/Power Draw", 500.0)
    report.add("GPU Power Readings/Power Draw", 400.0)
    assert dict(report.pairs()) == {"gpu_power_w": 500.0, "gpu_ecc_uncorrected_total": 3.0}
    training = Readings("training")
    training.add("loss", 1.0)
    training.add("train/loss", math.nan)
    assert math.isnan(training.known["loss"])


def test_cells_are_numbers_with_or_without_a_unit_and_answers() -> None:
    cells = {"81559 MiB": 81559.0, "98 %": 98.0, "612.45 W": 612.45, "Active": 1.0, "Not Active": 0.0, "Yes": 1.0}
    assert {text: cell(text) for text in cells} == cells
    assert [cell(text) for text in ("[N/A]", "", "P0", "2 3", "0x10", "1 of several", "Enabled")] == [None] * 7
