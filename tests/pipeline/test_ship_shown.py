"""A directory of files that are no logs: what is shipped comes to the diagnosis that a scan of it comes to."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fleet import records, until
from lab import Lab

from relight.cli import main
from relight.deadletters import read
from relight.topics import LOGS
from schemas.history import IncidentHistory
from tests.dumps import stacks, stalled

REMAP = (
    "timestamp, index, uuid, pci.bus_id, temperature.gpu, remapped_rows.pending, remapped_rows.failure\n"
    + "".join(
        f"2026/03/01 03:02:{n:02}.000, 3, GPU-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0, 00000000:18:00.0, 61, No, {told}\n"
        for n, told in enumerate(["No"] * 10 + ["Yes"] * 5)
    )
)  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab = Lab(tmp_path)
    yield lab
    lab.log.close()


def traces(folder: Path) -> None:
    """Write the dumps of a job of 64 ranks on 8 hosts, of which two never came to a collective."""
    for rank in range(64):
        told = stalled(rank, {12, 13})
        host = folder / f"node{rank // 8:02}"
        host.mkdir(exist_ok=True)
        data = json.dumps(told).encode() if rank % 2 else pickle.dumps(told)
        (host / f"nccl_trace_rank_{rank}").write_bytes(data)


def rows(folder: Path) -> None:
    """Write what `nvidia-smi` told of a GPU on which the remapping of a row failed in the end."""
    (folder / "node03").mkdir()
    (folder / "node03" / "smi.csv").write_text(REMAP)


def scanned(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return fault and culprit that a scan names."""
    answer = CliRunner().invoke(main, ["scan", str(folder), "-f", "json"], prog_name="relight")
    (found, *_) = json.loads(answer.stdout)["incidents"]
    return found["fault"], found["culprit"]


@pytest.mark.parametrize("made", [traces, rows, stacks])
def test_what_is_shipped_is_diagnosed_as_what_is_scanned(
    made: Callable[[Path], None], lab: Lab, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    made(folder)
    fault, culprit = scanned(folder)

    def diagnosed() -> list[IncidentHistory]:
        return [one for one in lab.incidents() if one.diagnosed is not None and one.settled]

    for file in folder.rglob("*"):
        os.utime(file, (1_772_334_300, 1_772_334_300))
    with lab.shipping(folder, job="4711"), lab.running("match", "correlate"):
        assert until(diagnosed, 20), lab.incidents()
    (incident, *_) = diagnosed()
    assert incident.diagnosed is not None
    found = incident.diagnosed.diagnosis
    assert found.fault == fault, (culprit, found)
    for name in ("kind", "host", "rank", "gpu"):
        assert culprit.get(name) in (None, getattr(found.culprit, name)), name


def test_what_a_file_holds_that_cannot_be_read_is_a_dead_letter_with_its_reason(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    traces(folder)
    broken = folder / "node00" / "nccl_trace_rank_0"
    broken.write_bytes(broken.read_bytes()[:-100])
    for file in folder.rglob("*"):
        os.utime(file, (1_772_334_300, 1_772_334_300))
    lab.ship(folder, host="node99")
    lab.ship(folder, host="node99")
    (letter,) = read(lab.log).letters
    assert (letter.stage, letter.place) == ("ship", f"node99:{broken}")
    assert letter.reason.startswith("a flight recorder dump that cannot be read")
    sent = {header for record in records(lab.log, LOGS) if record.value for header in record.headers}
    assert len({value for name, value in sent if name == "relight-stream"}) == 63
