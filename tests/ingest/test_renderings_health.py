"""What nvidia-smi, dcgmi and exporters print: each GPU has its line, and a log around a dump stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendered import File, lines_of

from ingest.renderings.dcgm import DcgmBoxes, DcgmColumns
from ingest.renderings.exposition import Exposition
from ingest.renderings.port import Rendering
from ingest.renderings.smi_report import SmiReport
from ingest.renderings.table import rendering_of

UUID = "GPU-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
REPORT = f"""
==============NVSMI LOG==============

Timestamp                                 : Mon Feb  3 04:05:06 2025
Driver Version                            : 550.54.15

Attached GPUs                             : 2
GPU 00000000:18:00.0
    GPU UUID                              : {UUID}
    PCI
        Replays Since Reset               : 3
    Clocks Event Reasons
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Active
            HW Power Brake Slowdown       : Not Active
        SW Thermal Slowdown               : Not Active
    FB Memory Usage
        Total                             : 81559 MiB
        Used                              : 61000 MiB
    BAR1 Memory Usage
        Used                              : 9 MiB
    ECC Errors
        Volatile
            SRAM Uncorrectable Parity     : 1
            DRAM Correctable              : 4
            DRAM Uncorrectable            : 2
        Aggregate
            DRAM Uncorrectable            : 7
    Retired Pages
        Double Bit ECC                    : N/A
    Remapped Rows
        Uncorrectable Error               : 2
        Pending                           : Yes
        Remapping Failure Occurred        : No
    Temperature
        GPU Current Temp                  : 88 C
        GPU Shutdown Temp                 : 95 C

GPU 00000000:2A:00.0
    Temperature
        GPU Current Temp                  : 61 C
"""
FIRST = (
    f"2025-02-03T04:05:06.000 metric of=gpu gpu_uuid={UUID} pci=00000000:18:00.0 gpu_memory_used_bytes=63963136000 "
    "gpu_memory_total_bytes=85520809984 gpu_temperature_c=88 gpu_thermal_slowdown=1 gpu_power_brake=0 "
    "gpu_ecc_uncorrected_total=3 gpu_ecc_corrected_total=4 gpu_ecc_uncorrected_lifetime_total=7 "
    "gpu_remapped_rows_total=2 gpu_remap_pending=1 gpu_remap_failed=0 gpu_pcie_replay_total=3"
)
SECOND = "2025-02-03T04:05:06.000 metric of=gpu pci=00000000:2A:00.0 gpu_temperature_c=61"


def metrics(text: str) -> list[str]:
    return [line for line in lines_of(text) if "metric of=" in line]


def test_a_report_of_nvidia_smi_is_a_line_for_each_gpu() -> None:
    assert metrics(REPORT) == [FIRST, SECOND]


def test_reports_follow_each_other_with_times_of_their_own() -> None:
    later = REPORT.replace("04:05:06", "04:06:06")
    assert metrics(REPORT + later) == [
        FIRST,
        SECOND,
        *(line.replace("04:05:06", "04:06:06") for line in (FIRST, SECOND)),
    ]


def test_a_log_that_begins_with_a_report_goes_on_as_it_is() -> None:
    log = "Starting\n    indented\nGPU 3 is lost\n"
    assert lines_of(REPORT + log)[-4:] == [SECOND, *log.splitlines()]


HEALTH = """+---------------------------+----------------------------------------------------------+
| Health Monitor Report                                                                |
+===========================+==========================================================+
| Overall Health            | Failure                                                  |
| GPU                       |                                                          |
| -> 2                      | Failure                                                  |
|    -> Errors              |                                                          |
|       -> Memory system    | Failure                                                  |
|                           | GPU 2 had memory errors and row remappings are           |
|                           | pending. Reset the GPU.                                  |
|       -> PCIe system      | Warning                                                  |
|                           | More PCIe replays than allowed: 13                       |
| -> 5                      | Warning                                                  |
|    -> Errors              |                                                          |
|       -> Thermal system   | Warning                                                  |
|                           | Too hot.                                                 |
+---------------------------+----------------------------------------------------------+
"""
OLDER = """Health Monitor Report
+----------------+---------------------------------------------------------+
| Group 1        | Overall Health: Warning                                 |
+================+=========================================================+
| GPU ID: 0      | Warning                                                 |
|                | PCIe system: Warning - Detected more than 8 PCIe        |
|                | replays per minute for GPU 0: 13                        |
+----------------+---------------------------------------------------------+
"""


def healths(text: str) -> list[str]:
    return [line.removeprefix("health of=gpu ") for line in lines_of(text) if line.startswith("health of=gpu ")]


def test_a_report_of_dcgmis_health_is_a_line_for_each_thing_that_is_not_well() -> None:
    assert healths(HEALTH) == [
        "gpu=2 check=memory status=fail: GPU 2 had memory errors and row remappings are pending. Reset the GPU.",
        "gpu=2 check=pcie status=warning: More PCIe replays than allowed: 13",
        "gpu=5 check=thermal status=warning: Too hot.",
    ]
    assert healths(OLDER) == [
        "gpu=0 check=pcie status=warning: Detected more than 8 PCIe replays per minute for GPU 0: 13"
    ]


DIAG = """Successfully ran diagnostic for group.
+---------------------------+------------------------------------------------+
| Diagnostic                | Result                                         |
+===========================+================================================+
|-----  Deployment  --------+------------------------------------------------|
| Denylist                  | Pass                                           |
+-----  Integration  -------+------------------------------------------------+
| PCIe                      | Fail - GPUs: 1, 3                              |
| Warning                   | The bandwidth of GPU 1 is too low.             |
+-----  Hardware  ----------+------------------------------------------------+
| GPU Memory                | Pass - All                                     |
| Diagnostic                | Skip - All                                     |
+-----  Stress  ------------+------------------------------------------------+
"""
NEWER = """Successfully ran diagnostic for group.
+---------------------------+------------------------------------------------+
| Diagnostic                | Result                                         |
+===========================+================================================+
| software                  | Pass                                           |
|                           | GPU0: Pass                                     |
+-----  Hardware  ----------+------------------------------------------------+
| memory                    | Fail                                           |
|                           | GPU0: Pass                                     |
|                           | GPU2: Fail                                     |
| Warning: GPU2             | A test wrote one thing and read another.       |
+---------------------------+------------------------------------------------+
"""


def test_a_diagnosis_of_dcgmi_is_a_line_for_each_gpu_that_fails_a_test() -> None:
    assert healths(DIAG) == [f"gpu={gpu} check=pcie status=fail: The bandwidth of GPU 1 is too low." for gpu in (1, 3)]
    assert healths(NEWER) == ["gpu=2 check=memory status=fail: A test wrote one thing and read another."]


def test_a_log_around_a_box_stays_as_it_is() -> None:
    log = "+ python train.py\n+---+---+\n| a | Fail |\nTraceback (most recent call last):\n"
    assert lines_of(DIAG + log)[-4:] == log.splitlines()
    assert lines_of(DIAG)[0] == "Successfully ran diagnostic for group."


def test_a_row_of_dcgmis_columns_is_a_gpu() -> None:
    head = "#Entity   TMPTR    POWER        GPUTL       FBUSD   EDVTL\nID                 W\n"
    rows = (
        "GPU 0     61       612.450      98          61000   0\nGPU 1     88       N/A          97          61000   2\n"
    )
    first = "gpu_utilization=0.98 gpu_temperature_c=61 gpu_power_w=612.45 gpu_ecc_uncorrected_total=0"
    second = "gpu_utilization=0.97 gpu_temperature_c=88 gpu_ecc_uncorrected_total=2"
    told = [f"metric of=gpu gpu={gpu} gpu_memory_used_bytes=63963136000 {t}" for gpu, t in enumerate((first, second))]
    assert lines_of((head + rows) * 2 + "^C\n") == [*told, *told, "^C"]


DCGM = f"""# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="{UUID}",pci_bus_id="00000000:18:00.0",Hostname="node07"}} 61
DCGM_FI_DEV_GPU_TEMP{{gpu="1",Hostname="node07"}} 88
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{{gpu="0",UUID="{UUID}",pci_bus_id="00000000:18:00.0",Hostname="node07"}} 61000
DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL{{gpu="1",Hostname="node07"}} 3
DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL{{gpu="1",Hostname="node07"}} 4
"""
NODE = """# HELP node_load1 1m load average.
node_load1 3.5
node_cpu_seconds_total{cpu="0",mode="idle"} 1.2e+09
node_filesystem_avail_bytes{device="/dev/sda1",fstype="ext4",mountpoint="/my data"} 1.2e+09
node_network_receive_errs_total{device="eth0"} 3
node_network_transmit_errs_total{device="eth0"} 2
node_memory_MemAvailable_bytes 1.5e+11 1738555506123
"""


def test_a_scrape_of_dcgms_exporter_is_a_line_for_each_gpu_and_parts_of_a_total_add_up() -> None:
    told = [
        f"metric of=gpu host=node07 gpu=0 gpu_uuid={UUID} pci=00000000:18:00.0 "
        "gpu_memory_used_bytes=63963136000 gpu_temperature_c=61",
        "metric of=gpu host=node07 gpu=1 gpu_temperature_c=88 gpu_nvlink_errors_total=7",
    ]
    assert lines_of(DCGM) == told
    assert lines_of(DCGM + DCGM) == told + told


def test_a_scrape_of_the_node_exporter_is_lines_of_the_host_its_disks_and_its_interfaces() -> None:
    time = "2025-02-03T04:05:06.123Z metric of="
    assert lines_of(NODE) == [
        f"{time}host host_memory_available_bytes=150000000000 host_load=3.5",
        f"{time}disk disk=/my%20data disk_free_bytes=1200000000",
        f"{time}nic nic=eth0 nic_errors_total=5",
    ]


def test_what_is_no_sample_stays_as_it_is_a_broken_one_too() -> None:
    log, half = "curl: (7) Failed to connect", 'DCGM_FI_DEV_FB_USED{gpu="1'
    assert lines_of(f"{DCGM}{log}\n{DCGM}") == [*lines_of(DCGM), log, *lines_of(DCGM)]
    assert sorted(lines_of(DCGM + half)) == sorted([half, *lines_of(DCGM)])


def test_things_without_number_are_told_in_portions() -> None:
    samples = "".join(f'node_filesystem_size_bytes{{mountpoint="/{n}"}} 1\n' for n in range(9000))
    assert len(lines_of("# HELP x\n" + samples)) == 9000


@pytest.mark.parametrize(
    ("text", "rendering"),
    [
        (REPORT, SmiReport),
        (HEALTH, DcgmBoxes),
        (OLDER, DcgmBoxes),
        (DIAG, DcgmBoxes),
        ("# Entity  TMPTR\nGPU 0 1\n", DcgmColumns),
        (DCGM, Exposition),
        ("2025-02-03 04:05:06 Health Monitor Report is next\n", type(None)),
        ("# HELP me\nplease\n", Exposition),
        ("# a comment\nstep: 1\n", type(None)),
        ("Starting\n" + "x\n" * 200 + REPORT, type(None)),
    ],
)
def test_a_dump_is_known_by_how_it_begins(text: str, rendering: type[Rendering]) -> None:
    assert type(rendering_of("dump.txt", text.encode())) is rendering


@pytest.mark.parametrize("rendering", [SmiReport(), DcgmBoxes(), DcgmColumns(), Exposition()])
@given(lines=st.lists(st.one_of(st.text(max_size=60), st.sampled_from((REPORT + HEALTH + DIAG + DCGM).splitlines()))))
def test_any_lines_are_told_or_stay(rendering: Rendering, lines: list[str]) -> None:
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in rendering.render(File(text)))
