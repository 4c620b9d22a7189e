"""The folder that series are fetched into: whatever moment the fetching is killed at, each line is there once."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.series import queries_of
from relight.fetched_folder import POSITION, FetchedFolder, PositionDamaged
from relight.fetching import Fetching
from relight.prometheus import Prometheus
from relight.settings.monitoring import Prometheus as Settings
from tests.servers.listening import Quiet, listening

ROOT = Path(__file__).parents[2]
BEGIN = 1_738_555_200  # 2025-02-03T04:00:00Z
STEPS = 25
MOMENTS = 11
"""So often the first of two steps reaches the disk, and the second begins to."""
NOW_S = BEGIN + 15 * STEPS + 30.0
QUERIES = "queries: [{metric: host_load, of: host, query: node_load1}]"
KILLED = f"""
import itertools, os, sys, time
from pathlib import Path
from tests.relight.test_fetched_folder import follow

left = itertools.count(int(sys.argv[3]), -1)

def until_death(real):
    def call(*arguments):
        if next(left) == 0:
            os._exit(9)
        return real(*arguments)
    return call

os.fsync, os.replace = until_death(os.fsync), until_death(os.replace)
time.time = lambda: {NOW_S}
follow(sys.argv[1], Path(sys.argv[2]))
"""


def follow(url: str, folder: Path) -> None:
    """Follow for a round."""
    with Prometheus(Settings(url=url)) as source:
        Fetching(source, queries_of(QUERIES, "q"), FetchedFolder(folder), 15).follow(BEGIN, 1, lambda wait_s: True)


class Load(Quiet):
    """A Prometheus that has a load of two hosts for all times."""

    def do_POST(self) -> None:  # noqa: N802 - so is it called
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        times = range(int(float(asked["start"][0])), int(float(asked["end"][0])) + 1, 15)
        series = [
            {"metric": {"instance": f"node{host}:9100"}, "values": [[at, str(at % 7 + host)] for at in times]}
            for host in (7, 8)
        ]
        body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": series}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def killed(url: str, folder: Path, moments: int) -> int:
    """Follow for a round in a process of its own that is killed when the disk is reached for the so-manieth time."""
    return subprocess.run(
        [sys.executable, "-c", KILLED, url, str(folder), str(moments)], cwd=ROOT, check=False
    ).returncode


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.log")}


def test_whenever_it_is_killed_each_line_is_there_once_and_none_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relight.fetching.time.time", lambda: NOW_S)
    with listening(Load) as url:
        (tmp_path / "whole").mkdir()
        follow(url, tmp_path / "whole")
        whole = content(tmp_path / "whole")
        assert [data.count(b"\n") for data in whole.values()] == [STEPS + 1] * 2
        for moment in range(MOMENTS):
            folder = tmp_path / str(moment)
            folder.mkdir()
            assert killed(url, folder, moment) == 9
            before = content(folder)
            follow(url, folder)
            after = content(folder)
            assert after == whole
            assert all(after[path].startswith(data) for path, data in before.items()), "a follower reads it again"
            assert json.loads((folder / POSITION).read_bytes()) == {"until_s": BEGIN + 15 * STEPS}


LINES = [(float(BEGIN + 15 * n), b"metric of=host host=node08 host_load=%d\n" % n) for n in range(5)]


@given(there=st.integers(0, 200), before=st.binary(max_size=20))
def test_a_step_that_was_written_in_part_is_finished(
    there: int, before: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("f")
    text = b"".join(line for _, line in LINES)
    file = folder / "node08" / "metrics-2025-02-03.log"
    file.parent.mkdir()
    file.write_bytes(before + text[:there])
    append = {"path": "node08/metrics-2025-02-03.log", "offset_bytes": len(before), "lines": text.decode()}
    (folder / POSITION).write_text(json.dumps({"until_s": BEGIN + 60, "appends": [append]}))
    opened = FetchedFolder(folder)
    assert (file.read_bytes(), opened.until_s) == (before + text, BEGIN + 60)
    assert FetchedFolder(folder).until_s == BEGIN + 60
    assert file.read_bytes() == before + text


def test_a_disk_that_is_full_for_a_while_loses_and_doubles_nothing(tmp_path: Path) -> None:
    folder = FetchedFolder(tmp_path)
    file = tmp_path / "node08" / "metrics-2025-02-03.log"
    file.parent.mkdir()
    file.write_bytes(b"x" * 4095 + b"\n")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4100, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            folder.append([("node08", LINES[:4])], LINES[3][0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert file.stat().st_size == 4100
    folder.append([("node08", LINES[4:])], LINES[4][0])
    assert file.read_bytes()[4096:] == b"".join(line for _, line in LINES)


def test_a_position_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / POSITION).write_text("{")
    with pytest.raises(PositionDamaged, match=r"damaged\. Name another folder, or delete the file"):
        FetchedFolder(tmp_path)
