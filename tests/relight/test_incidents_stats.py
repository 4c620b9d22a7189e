"""`relight incidents stats`: figures from buckets, what they are of, and that nothing is divided by zero."""

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relight.cli import main
from relight.incidents import figures
from relight.incidents.definitions import DEFINITIONS
from relight.incidents.plots import WEEKS, bars, weeks
from relight.incidents.stats import Figures, stats_of
from relight.incidents.stats import figures as figures_of
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Bucket, Query
from schemas.vocabulary import Impact
from tests.relight import incident_stories as stories

DAY = timedelta(days=1)
BEGUN = datetime(2026, 5, 4, tzinfo=UTC)
NOW_MS = round((BEGUN + 10 * DAY).timestamp() * 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with four incidents of ten days: three ended a run, two of them are over, two were on one host."""
    told = (
        stories.ordinary("comm.ib_link", BEGUN, "node07", over_s=588),
        stories.ordinary("comm.ib_link", BEGUN + 2 * DAY, "node07", over_s=1188),
        stories.ordinary("comm.dns", BEGUN + 8 * DAY, "node01"),
        stories.ordinary("comm.dns", BEGUN + 9 * DAY, "node02", impact=Impact.DEGRADED, job=None),
    )
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, [stories.folded(f"{n}", one) for n, one in enumerate(told)])
    return tmp_path / "relight.db"


def relight(path: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["incidents", *words, "--embedded", str(path)], catch_exceptions=False)


def test_figures_are_means_of_the_incidents_that_have_a_value(path: Path) -> None:
    with EmbeddedStore(path, durable=False) as store:
        found = stats_of(store, Query(since_ms=round(BEGUN.timestamp() * 1000)), NOW_MS)
    whole = found.whole
    assert whole is not None
    assert (whole.incidents, whole.ended_a_run) == (4, 3)
    assert whole.mtbf_s == 10 * 86_400 / 3
    assert (whole.mttd_s, whole.detected) == (12, 4)
    assert (whole.mttr_s, whole.recovered) == ((600 + 1200) / 2, 2)
    assert whole.lost_gpu_h_at_least == pytest.approx(8 * (600 + 1200 + 12) / 3600, abs=0.01)
    assert whole.ranks_known == 3


def test_the_span_begins_with_the_first_opening_where_none_is_given(path: Path) -> None:
    with EmbeddedStore(path, durable=False) as store:
        found = stats_of(store, Query(until_ms=NOW_MS), NOW_MS + 10**9)
    assert found.since_s == BEGUN.timestamp() + 12
    assert found.until_s == NOW_MS / 1000


def test_hosts_come_by_the_runs_that_ended_and_weeks_in_their_order(path: Path) -> None:
    with EmbeddedStore(path, durable=False) as store:
        found = stats_of(store, Query(), NOW_MS)
    assert [(row.key, row.ended_a_run, row.share_percent) for row in found.by["blamed"]] == [
        ("node07", 2, 50),
        ("node01", 1, 25),
        ("node02", 0, 25),
    ]
    assert [row.key for row in found.by["week"]] == ["2026-W19", "2026-W20"]
    assert [(row.key, row.incidents) for row in found.by["fault"]] == [("comm.dns", 2), ("comm.ib_link", 2)]


def test_a_host_that_ended_one_run_is_worse_than_one_with_many_harmless_incidents(tmp_path: Path) -> None:
    told = [stories.ordinary("comm.dns", BEGUN + n * DAY, "node05", impact=Impact.NONE) for n in range(3)]
    told.append(stories.ordinary("comm.dns", BEGUN, "node06"))
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, [stories.folded(f"{n}", one) for n, one in enumerate(told)])
        assert [row.key for row in stats_of(store, Query(), NOW_MS).by["blamed"]] == ["node06", "node05"]


def test_what_nothing_is_known_of_is_not_known_rather_than_zero() -> None:
    row = figures_of(Bucket("all", 3, 0, 0, 0), 3, 1000)
    assert (row.mtbf_s, row.mttd_s, row.mttr_s, row.lost_gpu_h_at_least) == (None, None, None, None)


@pytest.mark.parametrize("form", ["table", "json", "csv", "html", "markdown"])
def test_zero_incidents_are_a_sentence_and_no_division(tmp_path: Path, form: str) -> None:
    EmbeddedStore(tmp_path / "relight.db").close()
    result = relight(tmp_path / "relight.db", "stats", "--format", form, "--since", "7d")
    assert result.exit_code == 0
    if form == "json":
        assert json.loads(result.stdout)["all"] is None
    elif form == "csv":
        assert list(csv.DictReader(io.StringIO(result.stdout))) == []
    else:
        assert "there is nothing to count" in result.stdout


def test_the_formats_tell_the_same_figures(path: Path) -> None:
    given = ("--until", "2026-05-14")
    told = json.loads(relight(path, "stats", "-f", "json", *given).stdout)
    rows = list(csv.DictReader(io.StringIO(relight(path, "stats", "-f", "csv", *given).stdout)))
    tabs = [line.split("\t") for line in relight(path, "stats", *given).stdout.splitlines()]
    assert list(rows[0]) == list(figures.COLUMNS)
    assert told["all"]["incidents"] == int(rows[0]["incidents"]) == int(tabs[0][2]) == 4
    by_host = [(row["key"], row["incidents"]) for row in rows if row["by"] == "blamed"]
    assert by_host == [(row["key"], str(row["incidents"])) for row in told["by"]["blamed"]]
    assert by_host == [(key, count) for by, key, count, *_ in tabs if by == "blamed"]
    assert told["all"]["first_opened_utc"] == "2026-05-04T00:00:12Z"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(width: int, tmp_path: Path) -> None:
    with EmbeddedStore(tmp_path / "relight.db", durable=False) as store:
        stories.fill(store, [stories.folded("a", stories.hostile()), *stories.fleet(40)])
        found = stats_of(store, Query(), NOW_MS)
    drawn = figures.as_table(found, width, colour=False)
    assert max(map(len, drawn.splitlines())) <= width
    assert "MTBF" in drawn


def test_every_definition_stands_in_the_help_the_page_and_the_json(path: Path) -> None:
    shown = " ".join(relight(path, "stats", "--help").stdout.split())
    page = " ".join(relight(path, "stats", "-f", "html").stdout.split())
    told = json.loads(relight(path, "stats", "-f", "json").stdout)["definitions"]
    for name, sentence in DEFINITIONS:
        assert f"{name}: {sentence}" in shown
        assert f"<dt>{name}</dt><dd>{sentence.replace(chr(39), '&#39;')}</dd>" in page
        assert told[name] == sentence


def row(key: str, incidents: int = 1, ended: int = 0) -> Figures:
    return figures_of(Bucket(key, incidents, ended, 0, 0), 10, 0)


def test_weeks_without_an_incident_are_drawn_as_well_across_years() -> None:
    drawn = weeks([row("2025-W52", 4, 1), row("2026-W02", 2)])
    assert [column.told.partition(":")[0] for column in drawn.columns] == [
        "2025-W52",
        "2026-W01",
        "2026-W02",
    ]
    assert drawn.columns[1].ended == drawn.columns[1].other == 0
    assert drawn.most == 4


def test_many_years_are_drawn_as_the_last_of_their_weeks() -> None:
    drawn = weeks([row("1970-W01"), row("2026-W20")])
    assert len(drawn.columns) == WEEKS
    assert drawn.columns[-1].told.startswith("2026-W20")
    assert drawn.columns[-1].x + drawn.columns[-1].width <= 100


def test_bars_are_shares_of_the_longest() -> None:
    (longest, half) = bars([row("a", 8, 2), row("b", 4, 4)])
    assert (longest.ended, longest.other) == (25, 75)
    assert (half.ended, half.other) == (50, 0)
    assert math.isclose(longest.ended + longest.other, 100)
    assert bars([]) == ()
