"""`relight incidents show` and `report`: one incident in full, and documents about some."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.incidents.account import account_of
from relight.incidents.around import LIMIT, around, lines_around
from relight.incidents.drawing import FLAGS, LANES, drawing
from relight.incidents.reading import NoIncident, named
from relight.incidents.text import as_text
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import LINES
from tests.relight import incident_stories as stories

LOST = "863dc87e-7841-52ce-aeff-0ee6cbef93cb"
HOSTILE = "863dc999-0000-52ce-aeff-0ee6cbef93cb"
VAST = "11111111-0000-52ce-aeff-0ee6cbef93cb"
UNKNOWN = "22222222-0000-52ce-aeff-0ee6cbef93cb"
TOLD = {
    LOST: stories.lost_gpu(),
    HOSTILE: stories.hostile(),
    VAST: stories.vast(),
    UNKNOWN: stories.undiagnosed(),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(path, durable=False) as store:
        stories.fill(store, [stories.folded(name, told) for name, told in TOLD.items()])
        yield store


def relight(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["incidents", *words, "--embedded", str(path)], catch_exceptions=False)


def shown(name: str, width: int = 100) -> str:
    return as_text(account_of(stories.folded(name, TOLD[name])), None, width=width, colour=False)


# Which one


def test_the_beginning_of_an_id_is_enough_and_so_is_a_whole_one(store: EmbeddedStore, path: Path) -> None:
    assert named(store, "863dc8").id == LOST
    assert named(store, f" {LOST} ").id == LOST
    assert LOST in relight(path, "show", "863dc8").stdout


def test_a_beginning_of_several_ids_is_answered_with_what_tells_them_apart(store: EmbeddedStore, path: Path) -> None:
    result = relight(path, "show", "863dc")
    assert result.exit_code == 2
    assert result.stderr == "relight: '863dc' is the beginning of 2 incidents: type more, one of 863dc87e, 863dc999\n"


def test_ids_that_differ_late_are_told_so_far_that_they_differ(store: EmbeddedStore) -> None:
    alike = [f"863dc999-0000-52ce-aeff-0ee6cbef93c{end}" for end in "01"]
    stories.fill(store, [stories.folded(name, stories.undiagnosed()) for name in alike])
    with pytest.raises(NoIncident, match=f"{alike[0]}, {alike[1]}"):
        named(store, "863dc999")


def test_an_id_that_is_the_beginning_of_another_can_be_shown(store: EmbeddedStore) -> None:
    stories.fill(store, [stories.folded("863dc999", stories.undiagnosed())])
    assert named(store, "863dc999").id == "863dc999"


@pytest.mark.parametrize("beginning", ["zz", "", "\x1b[2Jzz"])
def test_an_id_that_nothing_has_is_answered_with_where_they_are(
    store: EmbeddedStore, path: Path, beginning: str
) -> None:
    result = relight(path, "show", beginning)
    assert result.exit_code == 2
    assert "`relight incidents list` tells them" in result.stderr
    assert "\x1b" not in result.stderr


# What is shown


def test_everything_that_is_known_of_an_incident_is_shown() -> None:
    told = " ".join(shown(LOST).split())
    for said in (
        "GPU 0000:3b:00 on node03 has fallen off the bus (Xid 79); job 48211 failed",
        f"incident {LOST}",
        "resolved, critical; the diagnosis is settled",
        "2026-05-12 03:12:31 UTC, 27 s after the first line of the cause",
        "high (0.98) - it explains 3 kinds of symptoms - the timeout of 600 s points back",
        "31 ranks on 4 hosts",
        "2026-05-12 03:12:04 node03:/var/log/kern.log:164",
        "163 EXT4-fs (nvme0n1p2): re-mounted 164 > 2026-05-12T03:12:04",
        "31 ranks: A collective did not finish in time",
        "+620 s the diagnosis is settled",
        "Commands none issued",
        "PCIe link error, confidence low (0.21)",
        "it was corrected 40 min earlier",
        "starting again with nothing changed may get past it",
        "restart_job_excluding_hosts then reboot_node",
        "21.3 GPU hours at least",
    ):
        assert said in told, said


def test_an_incident_without_a_diagnosis_says_so_and_shows_its_evidence() -> None:
    told = " ".join(shown(UNKNOWN).split())
    assert told.startswith("Not diagnosed yet: node09")
    assert "there is no diagnosis yet" in told
    assert "worker stopped" in told
    assert "Confidence" not in told
    assert "Playbook" not in told


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert max(map(len, shown(name, width).splitlines())) <= width


def test_a_time_line_tells_the_day_once_and_every_moment(store: EmbeddedStore, path: Path) -> None:
    told = relight(path, "show", VAST).stdout
    timeline = told.partition("\nTimeline\n")[2].partition("\nCommands\n")[0]
    assert len(re.findall(r"\+[\d,.]+ s  ", timeline)) == 300
    assert timeline.count("2026-05-12") == 1


@pytest.mark.parametrize("form", ["text", "json", "markdown", "html"])
def test_no_escape_and_no_secret_comes_out_in_any_format(store: EmbeddedStore, path: Path, form: str) -> None:
    told = relight(path, "show", HOSTILE, "--format", form).output
    for bad in ("\x1b", "\u202e", "\x07", "hunter2secret"):
        assert bad not in told
    if form == "html":
        assert "<script" not in told
        assert "<img" not in told


def test_json_holds_the_document_and_lines_only_where_they_are_asked_for(store: EmbeddedStore, path: Path) -> None:
    plain = json.loads(relight(path, "show", LOST, "-f", "json").stdout)
    assert plain["history"]["diagnosed"]["diagnosis"]["culprit"]["host"] == "node03"
    assert "lines" not in plain
    assert json.loads(relight(path, "show", LOST, "-f", "json", "--lines").stdout)["lines"]


# Log lines


def test_lines_around_are_those_of_the_incident_from_a_minute_before_its_cause(
    store: EmbeddedStore, path: Path
) -> None:
    store.put_lines(stories.lines_around_the_lost_gpu())
    told = " ".join(relight(path, "show", LOST, "--lines").stdout.partition("Log lines around it")[2].split())
    assert "03:11:34 node03:/var/log/kern.log:163 EXT4-fs (nvme0n1p2): re-mounted" in told
    assert "kern.log:164" in told
    assert "long before it" not in told
    assert "of another host" not in told


def test_a_store_without_lines_says_that_it_keeps_none(store: EmbeddedStore) -> None:
    (said,) = lines_around(store, stories.folded(LOST, TOLD[LOST]))
    assert "keeps no line around it" in said


def test_more_lines_than_are_shown_are_told(store: EmbeddedStore) -> None:
    many = [stories.record(f"{n}", stories.KERNEL, n + 1, "again", stories.FELL, "node03") for n in range(LIMIT + 5)]
    store.put_lines(many)
    lines = lines_around(store, stories.folded(LOST, TOLD[LOST]))
    assert len(lines) == LIMIT + 1
    assert "there are more" in lines[-1]


@pytest.mark.parametrize("before_s", [0, 0.001, 0.05, 0.5, 5, 50])
def test_the_lines_around_the_cause_are_there_whatever_else_was_written(store: EmbeddedStore, before_s: float) -> None:
    at = stories.FELL - timedelta(seconds=before_s)
    near = [
        stories.record(f"near {n}", stories.KERNEL, n, f"kernel line {n}", stories.FELL, "node03")
        for n in range(161, 168)
    ]
    noise = [
        stories.record(f"{n}", "node03:/a.log", n + 1, "step", at + timedelta(microseconds=n // 10), "node03")
        for n in range(LINES + 5)
    ]
    store.put_lines([*near, *noise])
    lines = lines_around(store, stories.folded(LOST, TOLD[LOST]))
    assert [n for n in range(161, 168) if not any(said.endswith(f"kernel line {n}") for said in lines)] == []
    assert len(lines) <= LIMIT + 1
    assert "those nearest to the cause; there are more" in lines[-1]


@pytest.mark.parametrize("before_s", [2, 30])
def test_a_flood_of_lines_before_the_cause_does_not_hide_those_after_the_flood(
    store: EmbeddedStore, before_s: int
) -> None:
    at = stories.FELL - timedelta(seconds=before_s)
    flood = [stories.record(f"{n}", "node03:/a.log", n + 1, "step", at, "node03") for n in range(LINES)]
    last = stories.record("last", "node03:/b.log", 1, "link is down", at + timedelta(seconds=1), "node03")
    store.put_lines([*flood, last])
    lines = lines_around(store, stories.folded(LOST, TOLD[LOST]))
    assert any("link is down" in said for said in lines)
    assert "there are more" in lines[-1]


def test_of_the_lines_before_the_cause_the_last_ones_are_shown(store: EmbeddedStore) -> None:
    before = [
        stories.record(
            f"{n}", stories.KERNEL, n, f"before {n}", stories.FELL - timedelta(seconds=(600 - n) / 20), "node03"
        )
        for n in range(1, 600)
    ]
    later = stories.record("later", stories.KERNEL, 900, "later", stories.FELL + timedelta(seconds=2), "node03")
    store.put_lines([later, *before])
    lines = lines_around(store, stories.folded(LOST, TOLD[LOST]))
    shown = [said.rpartition(" ")[2] for said in lines[:-1]]
    assert shown == [*map(str, range(600 - len(shown) + 1, 600)), "later"]
    assert len(shown) > 100


def test_lines_are_asked_for_from_the_opening_where_no_evidence_has_a_time() -> None:
    query = around(stories.folded(UNKNOWN, TOLD[UNKNOWN]))
    assert query is not None
    opened_ms = round(stories.FELL.timestamp() * 1000)
    assert (query.since_ms, query.until_ms) == (opened_ms - 60_000, opened_ms + 1)
    assert query.hosts == ("node09",)


# Drawings and reports


def test_a_drawing_has_the_cause_first_and_what_became_of_the_incident() -> None:
    drawn = drawing(stories.folded(LOST, TOLD[LOST]))
    assert drawn is not None
    assert [lane.role for lane in drawn.lanes] == ["cause", "symptom"]
    assert [flag.label for flag in drawn.flags] == ["opened", "settled", "resolved"]
    assert drawn.lanes[0].span.x == 0
    assert drawn.flags[-1].x == 100


def test_a_drawing_of_much_is_no_larger_than_it_may_be_and_says_what_is_missing() -> None:
    drawn = drawing(stories.folded(VAST, TOLD[VAST]))
    assert drawn is not None
    assert len(drawn.lanes) == LANES
    assert len(drawn.flags) == FLAGS
    assert drawn.folded == "40 more evidences not drawn"
    assert all(0 <= lane.span.x <= lane.span.x + lane.span.width <= 100.01 for lane in drawn.lanes)


def test_labels_of_moments_on_one_level_do_not_touch() -> None:
    drawn = drawing(stories.folded(VAST, TOLD[VAST]))
    assert drawn is not None
    for level in range(drawn.levels):
        places = [flag.x if flag.x <= 74 else flag.x - 26 for flag in drawn.flags if flag.level == level]
        assert all(later - earlier >= 26 for earlier, later in pairwise(places))


def test_what_happened_in_one_moment_is_not_drawn() -> None:
    assert drawing(stories.folded(UNKNOWN, TOLD[UNKNOWN])) is None


def test_a_report_of_several_begins_with_an_overview_of_them(store: EmbeddedStore, path: Path, tmp_path: Path) -> None:
    written = tmp_path / "report.html"
    result = relight(path, "report", "863dc8", UNKNOWN, LOST, "-o", str(written))
    assert (result.exit_code, result.stdout) == (0, "")
    page = written.read_text(encoding="utf-8")
    assert "<h1>2 incidents</h1>" in page
    assert page.index('href="#incident-1"') < page.index('id="incident-1"')
    assert page.count("<article") == 2


def test_a_report_is_chosen_by_filters_as_well_and_not_by_both(store: EmbeddedStore, path: Path) -> None:
    assert f"Incident `{LOST}`" in relight(path, "report", "--job", "48211", "-f", "markdown").stdout
    for words in (("report",), ("report", LOST, "--job", "48211")):
        result = relight(path, *words)
        assert result.exit_code == 2
        assert "IDs" in result.stderr
    assert "nothing to report" in relight(path, "report", "--job", "none").stderr


def test_a_report_that_was_cut_says_so(store: EmbeddedStore, path: Path) -> None:
    result = relight(path, "report", "--in-cluster", "lab", "--limit", "2", "-f", "markdown")
    assert "2 of 4 incidents; --limit all takes all of them" in result.stderr
