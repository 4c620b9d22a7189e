"""CSV files of numbers: a row's line names what the header names, and what is no row stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered import lines_of, peak_bytes, rendered

from ingest.renderings.table import rendering_of
from ingest.renderings.tables import MetricTable

UUID = "GPU-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
SMI = (
    "timestamp, index, uuid, pci.bus_id, name, utilization.gpu [%], memory.used [MiB], power.draw [W], "
    "ecc.errors.uncorrected.volatile.total, remapped_rows.pending, clocks_event_reasons.hw_thermal_slowdown, "
    "clocks_event_reasons.sw_thermal_slowdown"
)


def smi(index: int, *cells: str) -> str:
    return ", ".join(["2025/02/03 04:05:06.123", str(index), UUID, "00000000:18:00.0", "NVIDIA H100 80GB HBM3", *cells])


def test_a_row_of_lightnings_is_a_step_and_empty_cells_tell_nothing() -> None:
    table = "epoch,lr-AdamW,step,train_loss_step,val_loss\n0,0.0001,49,2.31,\n0,,99,,2.51\n1,,149,nan,\n1,,199,,\n"
    assert lines_of(table) == [
        "metric of=training step=49 epoch=0 loss=2.31 learning_rate=0.0001",
        "metric of=training step=99 epoch=0 eval_loss=2.51",
        "metric of=training step=149 epoch=1 loss=nan",
    ]


@pytest.mark.parametrize(
    ("stamp", "time"),
    [
        ("1738555506.123", "2025-02-03T04:05:06.123Z"),
        ("1738555506123", "2025-02-03T04:05:06.123Z"),
        ("2025-02-03 04:05:06", "2025-02-03T04:05:06.000"),
        ("2025-02-03T04:05:06+00:00", "2025-02-03T04:05:06.000Z"),
        ("2025-02-03T05:05:06.5+01:00", "2025-02-03T04:05:06.500Z"),
    ],
)
def test_a_time_is_a_lines_time_and_has_a_zone_only_if_it_told_one(stamp: str, time: str) -> None:
    assert lines_of(f"timestamp,loss\n{stamp},2.31\n") == [f"{time} metric of=training loss=2.31"]


def test_columns_that_are_no_metric_are_kept_under_their_names() -> None:
    table = 'step;loss;my col;"a;b"\r\n1200.0;2.5;7;8\r\n'
    assert lines_of(table) == ["metric of=training step=1200 loss=2.5 my%20col=7 a%3Bb=8"]


def test_a_row_of_nvidia_smi_is_a_gpu_and_the_units_in_cells_are_understood() -> None:
    table = [SMI, smi(3, "98 %", "61559 MiB", "612.45 W", "2", "Yes", "Active", "Not Active")]
    assert lines_of("\n".join(table)) == [
        f"2025-02-03T04:05:06.123 metric of=gpu gpu=3 gpu_uuid={UUID} pci=00000000:18:00.0 "
        f"gpu_memory_used_bytes={61559 * 2**20} gpu_utilization=0.98 gpu_power_w=612.45 "
        "gpu_thermal_slowdown=1 gpu_ecc_uncorrected_total=2 gpu_remap_pending=1"
    ]


def test_what_a_gpu_cannot_tell_is_not_told() -> None:
    table = [SMI, smi(3, "[N/A]", "[Not Supported]", "[Unknown Error]", "[N/A]", "No", "[N/A]", "[N/A]")]
    (line,) = lines_of("\n".join(table))
    assert line.endswith("pci=00000000:18:00.0 gpu_remap_pending=0")


def test_nounits_leaves_the_units_in_the_header() -> None:
    assert lines_of("index, memory.used [MiB], power.draw [W]\n0, 1, 2\n") == [
        "metric of=gpu gpu=0 gpu_memory_used_bytes=1048576 gpu_power_w=2"
    ]


def test_a_header_may_come_again_and_other_words_stay_as_they_are() -> None:
    table = "step,loss\n1,2.5\nTraceback (most recent call last):\n\nepoch,step,loss\n1,2,3\n\xe9,\n"
    assert lines_of(table) == [
        "metric of=training step=1 loss=2.5",
        "Traceback (most recent call last):",
        "metric of=training step=2 epoch=1 loss=3",
        "\xe9,",
    ]


@pytest.mark.parametrize(
    "head",
    [
        "2025-02-03 04:05:06,123 INFO step 1, loss 2.3\n",
        "step,loss\na log that says step, loss, and more\n",
        "name,age\nann,7\n",
        "step,colour\n1,2\n",
        "loss,grad_norm\n1,2\n",
        "1,2,3\n4,5,6\n",
        "loss\n2.3\n",
        "",
        "step,loss,step,loss" + ",x" * 2000,
    ],
)
def test_what_names_no_metric_and_no_step_is_no_table(head: str) -> None:
    assert not MetricTable().recognises("metrics.csv", head.encode())


def test_a_line_without_end_is_cut_and_read_in_bounded_memory() -> None:
    lines, peak = peak_bytes(MetricTable(), b"step,loss\n" + b"1" * (8 << 20) + b"\n1,2.5\n")
    assert lines[-1] == b"metric of=training step=1 loss=2.5\n"
    assert max(map(len, lines)) < 100_000
    assert peak < 2 << 20


def test_hundreds_of_columns_are_told_up_to_a_limit_and_what_is_left_out_is_counted() -> None:
    columns = ",".join(f"c{n}" for n in range(100))
    (line,) = lines_of(f"step,loss,{columns}\n1,2.5,{','.join('7' * 100)}\n")
    assert line.startswith("metric of=training step=1 loss=2.5 c0=7 ")
    assert line.endswith(" c62=7 left_out=37")


@given(st.text(max_size=200))
def test_no_column_breaks_the_line_that_tells_of_it(column: str) -> None:
    quoted = column.replace('"', '""')
    table = f'step,loss,"{quoted}"\n1,2.5,3\n'.encode("utf-8", "replace")
    if isinstance(rendering_of("metrics.csv", table), MetricTable):
        lines, reason = rendered(table)
        assert reason == ""
        assert lines[-1].startswith("metric of=training step=")
