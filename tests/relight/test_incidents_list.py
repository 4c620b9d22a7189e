"""`relight incidents list` and `search`: what is listed in which format, and what a terminal may see of it."""

import csv
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from relight.cli import main
from relight.commands.incident_options import SORTS, STATES
from relight.incidents.formats import COLUMNS
from relight.incidents.reading import PAGE, found
from relight.incidents.rows import row_of
from relight.incidents.table import table
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query, Sort
from schemas.document import IncidentDocument
from schemas.history import State
from tests.relight import incident_stories as stories

LOST = "863dc87e-7841-52ce-aeff-0ee6cbef93cb"
HOSTILE = "863dc999-0000-52ce-aeff-0ee6cbef93cb"
UNKNOWN = "22222222-0000-52ce-aeff-0ee6cbef93cb"
MERGED = "33333333-0000-52ce-aeff-0ee6cbef93cb"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a lost GPU, one that is hostile, one without a diagnosis, a merged one, and a fleet's."""
    path = tmp_path_factory.mktemp("store") / "relight.db"
    told = {
        LOST: stories.lost_gpu(),
        HOSTILE: stories.hostile(),
        UNKNOWN: stories.undiagnosed(),
        MERGED: stories.merged(),
    }
    with EmbeddedStore(path, durable=False) as store:
        stories.fill(store, [*(stories.folded(name, one) for name, one in told.items()), *stories.fleet(60)])
    return path


def relight(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["incidents", *words, "--embedded", str(path)], catch_exceptions=False)


def on_a_terminal(path: Path, columns: int, *words: str) -> str:
    """Return what the command prints on a terminal so many columns wide."""
    own, theirs = pty.openpty()
    ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [str(Path(sys.executable).parent / "relight"), "incidents", *words, "--embedded", str(path)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(own, 65_536)
            except OSError:  # how a terminal on Linux says that the other side is gone
                break
            if not part:
                break
            said += part
        process.wait(timeout=20)
    os.close(own)
    return said.decode().replace("\r\n", "\n")


def ids(result: Result) -> list[str]:
    return [line.split("\t")[0] for line in result.stdout.splitlines()]


# What is listed


def test_the_newest_fifty_that_stand_for_themselves_are_listed(path: Path) -> None:
    listed = ids(relight(path, "list"))
    assert len(listed) == 50
    assert listed[0] == LOST
    assert MERGED not in listed


def test_all_are_listed_where_all_are_asked_for(path: Path) -> None:
    assert len(ids(relight(path, "list", "--limit", "all"))) == 63
    assert len(ids(relight(path, "list", "--limit", "0"))) == 63
    assert ids(relight(path, "list", "--state", "merged")) == [MERGED]


def test_filters_and_orders_reach_the_store(path: Path) -> None:
    assert ids(relight(path, "list", "--fault", "gpu.fallen*", "--host", "node04", "--limit", "all")) == [LOST]
    assert ids(relight(path, "list", "--job", "48211", "--in-cluster", "l?b", "--state", "resolved")) == [LOST]
    assert ids(relight(path, "list", "--sort", "lost", "--limit", "1")) == [LOST]
    assert ids(relight(path, "list", "--sort", "severity", "--ascending", "--limit", "1")) == [UNKNOWN]
    assert relight(path, "list", "--since", "1m").stdout == ""


def test_more_than_a_page_is_read_page_by_page_and_each_once(tmp_path: Path) -> None:
    count = 2 * PAGE + 1
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, stories.fleet(count))
        for limit in (1, PAGE, PAGE + 1, None):
            result = found(store, Query(), "opened", ascending=False, limit=limit)
            names = [document.id for document in result.documents]
            assert result.total == count
            assert len(names) == len(set(names)) == (count if limit is None else limit)


def test_a_search_finds_words_phrases_beginnings_and_leaves_out(path: Path) -> None:
    assert ids(relight(path, "search", "watchdog", "nccl*")) == []
    assert ids(relight(path, "search", "watchdog", "collective")) == [LOST]
    assert ids(relight(path, "search", '"fallen off the bus"', "--job", "48211")) == [LOST]
    assert LOST in ids(relight(path, "search", "fallen"))
    assert LOST not in ids(relight(path, "search", "fallen -watchdog"))
    assert LOST not in ids(relight(path, "search", "--limit", "all", "--", "xid", "-watchdog"))
    assert ids(relight(path, "search", "48211 -node99")) == [LOST]


def test_the_command_line_knows_all_states_and_orders() -> None:
    assert set(STATES) == {state.value for state in State}
    assert set(SORTS) == set(get_args(Sort))


# Formats


def test_tabs_are_between_columns_that_nothing_cuts_where_the_output_is_a_pipe(path: Path) -> None:
    line = relight(path, "list", "--job", "48211").stdout
    assert line == (
        f"{LOST}\t2026-05-12 03:12:31\tresolved\tcritical\tgpu.fallen_off_bus\tGPU 0000:3b:00 on node03\t48211\t"
        "GPU has fallen off the bus (Xid 79)\n"
    )


def test_json_holds_the_documents_in_full_and_what_is_computed_of_them(path: Path) -> None:
    listed = json.loads(relight(path, "list", "--limit", "all", "--format", "json").stdout)
    assert len(listed) == 63
    one = next(item for item in listed if item["id"] == LOST)
    assert one["computed"]["detection_s"] == 27
    assert one["computed"]["lost_gpu_h_at_least"] == pytest.approx(32 * 2400 / 3600, abs=0.01)
    document = {name: value for name, value in one.items() if name not in ("id", "version", "computed")}
    assert IncidentDocument.model_validate(document) == stories.folded(LOST, stories.lost_gpu())


def test_jsonl_is_one_document_a_line_and_json_of_nothing_is_an_empty_array(path: Path) -> None:
    lines = relight(path, "list", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids(relight(path, "list"))
    assert json.loads(relight(path, "list", "--since", "1m", "--format", "json").stdout) == []


def test_csv_has_units_in_its_header_and_no_formula_in_its_cells(path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(relight(path, "list", "--limit", "all", "--format", "csv").stdout)))
    assert list(rows[0]) == list(COLUMNS)
    one = next(row for row in rows if row["id"] == LOST)
    assert (one["opened_utc"], one["detection_s"], one["ranks"]) == ("2026-05-12T03:12:31Z", "27.0", "32")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_a_cell_that_a_spreadsheet_would_run_gets_an_apostrophe(tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, [stories.folded("a", stories.ordinary("comm.dns", stories.FELL, "=1+1", job="@SUM(A1)"))])
    (row,) = csv.DictReader(io.StringIO(relight(tmp_path / "relight.db", "list", "--format", "csv").stdout))
    assert (row["culprit"], row["job"]) == ("'=1+1", "'@SUM(A1)")


def test_markdown_shows_hostile_names_as_they_are(path: Path) -> None:
    told = relight(path, "list", "--format", "markdown", "--limit", "all").stdout
    assert "<script>" not in told
    assert "\\*bold\\*" in told
    assert {line.count(" | ") for line in told.splitlines() if "\\|" not in line and "---" not in line} == {7}


# Terminals


@pytest.mark.parametrize("columns", [80, 100, 120, 200])
def test_the_table_fits_the_terminal_whatever_is_in_it(path: Path, columns: int) -> None:
    said = on_a_terminal(path, columns, "list", "--limit", "all")
    lines = ESCAPE.sub("", said).splitlines()
    assert len(lines) == 1 + 63 + 1, said
    assert max(map(cell_len, lines)) <= columns
    assert "\x1b" in said, "there is no colour on a terminal"
    assert "63 incidents" in lines[-1]


def test_eighty_columns_show_who_is_to_blame_and_more_show_the_title(path: Path) -> None:
    narrow = ESCAPE.sub("", on_a_terminal(path, 80, "list", "--job", "48211"))
    wide = ESCAPE.sub("", on_a_terminal(path, 140, "list", "--job", "48211"))
    assert re.search(r"863dc87e 05-12 03:12 resolved critical gpu.fallen_off_bus GPU .*node03", narrow)
    assert "48211 GPU has fallen off the bus (Xid 79)" in wide


def test_a_list_that_was_cut_says_of_how_many_and_how_to_see_more(path: Path) -> None:
    last = ESCAPE.sub("", on_a_terminal(path, 80, "list", "--limit", "3")).splitlines()[-1]
    assert last == "3 of 63 incidents, the newest first; `--limit all` shows all."


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv", "html", "markdown"])
def test_no_escape_and_no_secret_of_a_document_comes_out_in_any_format(path: Path, form: str) -> None:
    told = relight(path, "list", "--limit", "all", "--format", form).output
    for bad in ("\x1b", "\u202e", "\x07", "hunter2secret"):
        assert bad not in told
    if form == "html":
        assert "<script" not in told
        assert "<img" not in told


def test_wide_characters_are_counted_as_the_terminal_shows_them() -> None:
    told = stories.ordinary("comm.dns", stories.FELL, "主机" * 40, job="作业" * 20)
    drawn = table([row_of(stories.folded("a", told))] * 3, 80, colour=False)
    assert {cell_len(line) for line in drawn.splitlines()} <= set(range(81))


# Mistakes, and nothing at all


def test_where_there_is_no_store_none_is_made(tmp_path: Path) -> None:
    result = relight(tmp_path / "relight.db", "list")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"relight: there is no store at {tmp_path / 'relight.db'}: `relight run`")
    assert not (tmp_path / "relight.db").exists()


def test_an_empty_store_is_said_to_be_empty(tmp_path: Path) -> None:
    EmbeddedStore(tmp_path / "relight.db").close()
    result = relight(tmp_path / "relight.db", "list")
    assert result.stdout == ""
    assert result.stderr == f"relight: There are no incidents in the embedded store {tmp_path / 'relight.db'}.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("list", "--fault", "gpu.fallen_of_bus"), "did you mean gpu.fallen_off_bus?"),
        (("list", "--since", "3x"), "write 45m, 2h or 7d"),
        (("list", "--limit", "many"), "write 50, or all"),
        (("lst",), "list"),
        (("list", "--fromat", "json"), "--format"),
        (("search",), "Missing argument"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_type_instead(path: Path, words: tuple[str, ...], said: str) -> None:
    result = relight(path, *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "relight.db"
    broken.write_bytes(b"this is no database" * 1000)
    result = relight(broken, "list")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
