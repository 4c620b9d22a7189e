"""What a scan found, as people and programs see it. Golden files: `RELIGHT_REGENERATE=1` writes them anew."""

import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import relight
from relight.reports import FORMATS, render
from relight.reports.markdown import code, fence, prose
from relight.reports.phrases import confidence, counted, duration, folded, listed, ranges, size
from relight.reports.story import ROWS
from relight.reports.timeline import LANES, timeline
from schemas.incident import Blamed, Incident, ScanReport, Surprise
from schemas.vocabulary import Culprit, Outcome
from tests.relight import sample

GOLDEN: Final = Path(__file__).parent / "golden"
ANSWER: Final = "GPU 0000:3b:00.0 on node17 fell off the PCIe bus (XID 79); run pretrain failed"
PEOPLE: Final = ("text", "markdown", "html")

HOSTILE: Final = {
    "a script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a hyperlink of the terminal": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "an unfinished escape": "\x1b]8;;https://evil.example",
    "the end of the style": "</style></title></desc></svg><b>",
    "an override of direction": "safe\u202egnp.exe",
    "two megabytes": "x" * 2_000_000,
    "a secret": "WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567",
    "fences": "``````\n```\n# heading\n| a | b |",
    "a tab": "a\tb\tc",
    "a template": "{{ 7 * 7 }}{% raw %}",
    "a lone surrogate": "\ud800",
    "markup of rich": "[bold red]x[/bold red][link=https://evil.example]y[/link]",
    "a mention": "@everyone <!-- &amp; --> ![x](https://evil.example/y.png)",
}


def golden(name: str, actual: str) -> None:
    """Hold a text against its golden file, or write that file."""
    path = GOLDEN / name
    if os.environ.get("RELIGHT_REGENERATE"):
        path.write_text(actual, encoding="utf-8")
    assert actual == path.read_text(encoding="utf-8"), f"{name} changed; RELIGHT_REGENERATE=1 writes it anew"


@pytest.mark.parametrize(
    ("name", "format_", "options"),
    [
        ("full.80.txt", "text", {"width": 80}),
        ("full.120.txt", "text", {"width": 120}),
        ("single.80.txt", "text", {"width": 80}),
        ("full.md", "markdown", {}),
        ("full.html", "html", {}),
    ],
)
def test_the_report_of_the_sample_is_the_golden_one(name: str, format_: str, options: dict[str, Any]) -> None:
    golden(name, render(getattr(sample, name.split(".")[0])(), format_, **options))


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_report_gives_the_same_bytes(format_: str) -> None:
    assert render(sample.full(), format_) == render(sample.full(), format_)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_ends_in_one_line_end(format_: str) -> None:
    said = render(sample.full(), format_)
    assert said.endswith("\n")
    assert not said.endswith("\n\n")


def test_an_unknown_format_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(ValueError, match="'pdf' is not a format of reports; there are text, markdown"):
        render(sample.single(), "pdf")


def test_the_first_line_of_the_text_is_the_answer() -> None:
    assert render(sample.full(), "text").splitlines()[0] == ANSWER


@pytest.mark.parametrize("format_", PEOPLE)
def test_every_format_for_people_gives_the_answer_the_line_and_what_to_do(format_: str) -> None:
    said = " ".join(render(sample.single(), format_, width=400).split())
    for part in (
        ANSWER,
        "node17/kern.log:8841",
        "Take node17 out of the job",
        "high (0.97)",
        "511 ranks",
        "not verified",
    ):
        assert part in said


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_text_of_an_ordinary_scan_fits_on_a_screen(width: int) -> None:
    lines = render(sample.single(), "text", width=width).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_is_lost_however_narrow_the_terminal_is(width: int) -> None:
    whole = re.sub(r"\s", "", render(sample.single(), "text", width=2_000))
    assert sorted(re.sub(r"\s", "", render(sample.single(), "text", width=width))) == sorted(whole)


def test_the_text_has_colours_only_when_asked() -> None:
    assert "\x1b" not in render(sample.full(), "text")
    coloured = render(sample.full(), "text", colour=True)
    assert "\x1b[1;31m" in coloured
    assert "\x1b]" not in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(sample.full(), "text")


def test_the_environment_does_not_change_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, coloured = render(sample.full(), "text"), render(sample.full(), "text", colour=True)
    for name, value in (("FORCE_COLOR", "1"), ("NO_COLOR", "1"), ("COLUMNS", "33"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        assert render(sample.full(), "text") == plain
        assert render(sample.full(), "text", colour=True) == coloured


def test_the_text_is_ascii_where_the_terminal_knows_no_more() -> None:
    report = with_text("naïve … 日本")
    assert "naïve … 日本" in render(report, "text", width=200)
    assert r"na\xefve ... \u65e5\u672c" in render(report, "text", width=200, unicode=False)
    assert render(report, "text", unicode=False).isascii()


def test_a_scan_in_which_nothing_broke_takes_two_lines() -> None:
    lines = render(sample.succeeded(), "text").splitlines()
    assert lines[0] == "Runs result_0, result_1 and result_2 succeeded; nothing broke"
    assert len(lines) == 2


def test_runs_that_failed_of_the_same_fault_are_told_once() -> None:
    lines = render(sample.many(), "text").splitlines()
    assert lines[0].endswith("/data/train/shard-0001.tar; 7 of 10 runs failed")
    assert sum(line.startswith("Do now") for line in lines) == 1
    assert sum(line.startswith("  result_") for line in lines) == 10


def test_runs_that_lost_different_gpus_are_told_without_naming_one() -> None:
    one, run = sample.fell_off_bus(), sample.pretrain()
    other = one.model_copy(update={"run": "b", "culprit": Blamed(kind=Culprit.GPU, name="GPU 0000:5e:00.0 on node02")})
    runs = (run, run.model_copy(update={"id": "b", "name": "b"}))
    report = sample.single().model_copy(update={"runs": runs, "incidents": (one, other)})
    said = render(report, "text")
    assert said.startswith("GPU fell off the PCIe bus (XID 79) on 2 GPUs; runs pretrain and b failed\n")


def test_a_failure_that_nothing_explains_starts_from_the_lines_that_stand_out() -> None:
    report = sample.full().model_copy(update={"incidents": (sample.unexplained(),)})
    said = render(report, "text")
    assert said.startswith("Run evaluate failed, and nothing in the catalogue explains it\n")
    assert "Stands out" in said
    assert "fused_rope: plan cache inconsistent" in said


def test_a_run_that_failed_without_an_incident_is_still_the_answer() -> None:
    report = sample.single().model_copy(update={"incidents": ()})
    assert render(report, "text").startswith("Run pretrain failed: every rank gave up after a collective timed out\n")


def test_a_run_whose_log_stops_did_not_finish() -> None:
    run = sample.pretrain().model_copy(update={"outcome": Outcome.INCOMPLETE, "reason": "the log stops"})
    report = sample.single().model_copy(update={"incidents": (), "runs": (run,)})
    assert render(report, "text").startswith("Run pretrain did not finish: the log stops\n")


def test_an_earlier_attempt_that_failed_is_told_as_such() -> None:
    run = sample.pretrain().model_copy(update={"outcome": Outcome.SUCCEEDED})
    incident = sample.fell_off_bus().model_copy(update={"attempt": 1})
    report = sample.single().model_copy(update={"incidents": (incident,), "runs": (run,)})
    assert (
        "; attempt 1 of run pretrain failed, attempt 2 succeeded" in render(report, "text", width=200).splitlines()[0]
    )


def moved(directory: str) -> ScanReport:
    """Return the scan of many runs with its sources and runs named by their paths in a directory."""
    report = sample.many().model_dump_json()
    report = re.sub(r'"(result_\d(?:\.\w+)?)"', lambda match: f'"{directory}{match[1]}"', report)
    return ScanReport.model_validate_json(report)


@pytest.mark.parametrize("format_", PEOPLE)
def test_a_directory_that_all_sources_share_is_said_once(format_: str) -> None:
    said = render(moved("/logs/of/cluster/"), format_, width=400)
    assert said.count("/logs/of/cluster/") == 1
    assert said.replace(" in /logs/of/cluster/", "") == render(sample.many(), format_, width=400)


def test_only_whole_paths_are_shortened() -> None:
    report = moved("/data/")
    blamed = Blamed(kind=Culprit.FILE, name="/mnt/data/shard.tar")
    incident = report.incidents[0].model_copy(update={"culprit": blamed})
    report = report.model_copy(update={"incidents": (incident,)})
    assert "missing: /mnt/data/shard.tar; run result_0 failed" in render(report, "text", width=200)


def test_paths_that_are_relative_stay_as_they_are() -> None:
    assert "logs/result_0.txt:210" in render(moved("logs/"), "text")


def test_programs_get_whole_paths() -> None:
    assert ScanReport.model_validate_json(render(moved("/logs/of/"), "json")) == moved("/logs/of/")


def test_a_scan_without_any_run_says_so() -> None:
    report = sample.single().model_copy(update={"incidents": (), "runs": ()})
    assert render(report, "text").startswith("No training run was found in 65 sources\n")


def test_a_table_of_very_many_runs_is_cut_and_says_how_many_are_left_out() -> None:
    runs = tuple(sample.pretrain().model_copy(update={"id": f"r{n}", "name": f"r{n}"}) for n in range(100))
    report = sample.single().model_copy(update={"runs": runs, "incidents": ()})
    for format_ in PEOPLE:
        assert f"and {100 - ROWS} more runs" in render(report, format_)


def test_provenance_is_spoken_of_only_where_it_was_not_verified() -> None:
    verified = sample.fell_off_bus().model_copy(update={"provenance_verified": True})
    report = sample.single().model_copy(update={"incidents": (verified,)})
    for format_ in PEOPLE:
        assert "provenance was not verified" not in render(report, format_)
        assert "provenance was not verified" in render(sample.single(), format_)


def test_json_reads_back_as_the_same_report() -> None:
    assert ScanReport.model_validate_json(render(sample.full(), "json")) == sample.full()
    assert list(json.loads(render(sample.full(), "json"))) == ["relight", "runs", "incidents", "scanned", "signatures"]


def test_jsonl_has_a_line_for_every_run_and_every_incident() -> None:
    rows = [json.loads(line) for line in render(sample.full(), "jsonl").splitlines()]
    assert [row["type"] for row in rows] == ["run"] * 4 + ["incident"] * 5
    assert all(next(iter(row)) == "type" for row in rows)


def with_text(text: str) -> ScanReport:
    """Return the full sample with a text in every field that a log can fill."""

    def replaced(value: Any, key: str = "") -> Any:
        kept = {"fault", "role", "severity", "kind", "impact", "outcome", "domain", "retry_outlook", "provenance", "id"}
        if isinstance(value, dict):
            return {name: replaced(item, name) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return tuple(replaced(item, key) for item in value)
        return text if type(value) is str and key not in kept else value

    return ScanReport.model_validate(replaced(sample.full().model_dump()))


class Page(HTMLParser):
    """Counts the elements of a page and collects their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_line_does_nothing_in_any_format(text: str) -> None:
    report = with_text(text if len(text) < 9_000 else text[:9_000])
    for format_ in FORMATS:
        said = render(report, format_)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", said)
        assert "0123456789abcdef0123" not in said
    assert_page_is_inert(render(report, "html"))


def assert_page_is_inert(said: str) -> None:
    page, plain = Page(said), Page(render(sample.full(), "html"))
    assert set(page.tags) <= set(plain.tags)
    assert not {"script", "img", "b", "iframe", "object", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in {"style", "src", "srcset"}]
    assert [value for name, value in page.attributes if name == "href"] == ["data:,"]


def test_a_line_of_two_megabytes_is_cut() -> None:
    report = sample.single()
    place = report.incidents[0].first_cause
    assert place
    long = place.model_copy(update={"text": HOSTILE["two megabytes"]})
    report = report.model_copy(update={"incidents": (report.incidents[0].model_copy(update={"first_cause": long}),)})
    for format_ in FORMATS:
        assert "x" * 1_000_000 not in re.sub(r"\s", "", render(report, format_))


@given(st.text(max_size=40))
@settings(max_examples=25, deadline=None)
def test_no_text_breaks_the_page_or_the_terminal(text: str) -> None:
    report = with_text(text)
    assert_page_is_inert(render(report, "html"))
    assert "\x1b" not in render(report, "text")
    render(report, "markdown")


def test_the_page_allows_its_own_style_and_nothing_else() -> None:
    said = render(sample.full(), "html")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', said)
    assert policy
    assert policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy[1]
    assert "http://" not in said.replace("http://www.w3.org", "")
    assert "https://" not in said


def test_the_headings_of_the_page_are_in_order() -> None:
    levels = [int(tag[1]) for tag in Page(render(sample.full(), "html")).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_of_the_page_are_unique_and_drawings_have_a_title_and_a_description() -> None:
    page = Page(render(sample.full(), "html"))
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    labelled = [value for name, value in page.attributes if name == "aria-labelledby" and value]
    assert labelled
    assert all(part in ids for value in labelled for part in value.split())


def test_lanes_are_grouped_by_host_with_the_culprit_first() -> None:
    drawn = timeline((sample.fell_off_bus(), sample.pretrain()))
    assert drawn
    assert len(drawn.rows) == LANES
    assert [row.label for row in drawn.rows[:3]] == ["node17", "node03", "node00"]
    assert [mark.role for mark in drawn.rows[0].marks].count("cause") == 1
    assert drawn.folded == "40 more hosts folded away"


def test_a_small_run_has_a_lane_for_every_rank() -> None:
    drawn = timeline((sample.out_of_memory(), sample.finetune()))
    assert drawn
    assert [row.label for row in drawn.rows][:2] == ["node00 rank 3", "node00 rank 0"]
    assert len(drawn.rows) == 8


def test_every_mark_and_span_lies_within_the_drawing() -> None:
    for incident, run in ((sample.fell_off_bus(), sample.pretrain()), (sample.out_of_memory(), sample.finetune())):
        drawn = timeline((incident, run))
        assert drawn
        spans = [row.alive for row in drawn.rows] + [mark.span for row in drawn.rows for mark in row.marks]
        spans += [row.progress for row in drawn.rows if row.progress]
        assert all(0 <= span.x <= span.x + span.width <= 100.01 for span in spans)
        assert all(0 <= x <= 100 for x, _ in drawn.ticks)


def test_a_run_without_times_has_no_timeline() -> None:
    bare = sample.finetune().model_copy(update={"lanes": ()})
    assert timeline((sample.out_of_memory(), bare)) is None
    assert timeline((sample.out_of_memory(), None)) is None
    report = sample.full().model_copy(update={"runs": (bare,), "incidents": (sample.out_of_memory(),)})
    assert "<figure>" not in render(report, "html")


@pytest.mark.parametrize("text", ["", "`", "``a`", "a```", " a ", "plain", "`````````"])
def test_code_cannot_be_ended_by_what_it_holds(text: str) -> None:
    span, block = code(text), fence(text)
    opening = block.split("text\n", 1)[0]
    assert opening not in text
    assert len(opening) >= 3
    runs = {len(run) for run in re.findall("`+", text)}
    assert not text or len(re.match("`+", span)[0]) not in runs  # type: ignore[index]  # it begins with backticks


def test_prose_in_markdown_is_not_markup() -> None:
    assert prose("**a** _b_ [c](d) <e> @f #1 | `g`") == (r"\*\*a\*\* \_b\_ \[c\](d) &lt;e&gt; &#64;f \#1 \| \`g\`")
    assert prose("node_1 XID 79, 0000:3b:00.0") == "node_1 XID 79, 0000:3b:00.0"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (lambda: counted(1, "rank"), "1 rank"),
        (lambda: counted(1_200, "rank"), "1,200 ranks"),
        (lambda: size(999), "999 bytes"),
        (lambda: size(1_234_567), "1.2 MB"),
        (lambda: size(211_482_904), "211 MB"),
        (lambda: confidence(0.9), "high (0.90)"),
        (lambda: confidence(0), "low (0.00)"),
        (lambda: duration(timedelta(hours=6, minutes=41, seconds=56)), "6 h 41 min"),
        (lambda: duration(timedelta(hours=6)), "6 h"),
        (lambda: duration(timedelta(seconds=0.2)), "less than a second"),
        (lambda: ranges([3, 1, 2, 7]), "1-3, 7"),
        (lambda: folded(["node00", "node01", "node03", "head", "n1-ib0"]), "head, n1-ib0, node[00-01,03]"),
        (lambda: listed(["a"]), "a"),
        (lambda: listed(["a", "b", "c"]), "a, b and c"),
        (lambda: listed(["a", "b", "c", "d", "e"]), "a, b, c and 2 more"),
        (lambda: listed([]), ""),
    ],
)
def test_values_read_in_english(said: Callable[[], str], expected: str) -> None:
    assert said() == expected


def titled(title: str, kind: Culprit, name: str) -> Incident:
    """Return the incident of `finetune` with another title and culprit."""
    return sample.out_of_memory().model_copy(update={"title": title, "culprit": Blamed(kind=kind, name=name)})


@pytest.mark.parametrize(
    ("title", "kind", "name", "answer"),
    [
        ("GPU fell off the PCIe bus", Culprit.GPU, "GPU 3 on a1", "GPU 3 on a1 fell off the PCIe bus"),
        ("GPU memory error", Culprit.GPU, "GPU 3 on a1", "GPU memory error on GPU 3 on a1"),
        ("Node rebooted", Culprit.HOST, "a1", "a1 rebooted"),
        ("A rank did not arrive", Culprit.RANK, "rank 3 on a1", "Rank 3 on a1 did not arrive"),
        ("Loss became NaN.", Culprit.JOB, "job x", "Loss became NaN"),
        ("Checkpoint cannot be read", Culprit.FILE, "/a/b.pt", "Checkpoint cannot be read: /a/b.pt"),
    ],
)
def test_the_answer_names_the_culprit_where_the_title_leaves_it_open(
    title: str, kind: Culprit, name: str, answer: str
) -> None:
    report = sample.full().model_copy(update={"incidents": (titled(title, kind, name),)})
    assert render(report, "text", width=200).splitlines()[0] == f"{answer}; run finetune failed"


def test_many_oddities_are_counted_in_the_text_and_whole_on_the_page() -> None:
    place = sample.place("a.log", 1, "odd line")
    odd = tuple(Surprise(template=f"odd line {n}", why="new", score=0.5, place=place) for n in range(14))
    report = sample.full().model_copy(
        update={"incidents": (sample.unexplained().model_copy(update={"surprises": odd}),)}
    )
    assert "and 4 more lines" in render(report, "text")
    assert render(report, "html").count("odd line</span>") == 14


def test_the_package_knows_its_version() -> None:
    assert re.fullmatch(r"\d+\.\d+.*", relight.__version__)
