"""`relight incidents unknown` and `relight learn`: unexplained failures are recognised, named, and become a draft."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from diagnose.benign import benign_lines
from diagnose.learning.drafting import NoDraft, benign, pattern_of
from diagnose.matching.dialect import confirming
from diagnose.rules import Catalogue, read_rules
from relight.catalogue import catalogue
from relight.cli import main
from relight.learning.drafts import drafted
from relight.learning.unknowns import Unknown, unknown_of, unknowns
from relight.stores.embedded import EmbeddedStore
from relight.stores.port import Query
from schemas.document import IncidentDocument
from schemas.incident import Surprise
from schemas.verdict import IncidentJudged, Judged, Judgement
from schemas.vocabulary import Kind
from tests.relight import incident_stories as stories
from tests.relight import unknown_stories as told
from tests.relight.unknown_stories import RING, STARVED

RULE = "storage.shard-checksum"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relight.db"


@pytest.fixture
def store(path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(path, durable=False) as store:
        yield store


@pytest.fixture
def incidents(store: EmbeddedStore) -> list[IncidentDocument]:
    """Three failures of one kind, two of another, and one that is explained."""
    stories.fill(store, [stories.folded("a0000000", stories.lost_gpu())])
    return told.fill(store, (STARVED, RING, STARVED, RING, STARVED))


def relight(path: Path, *words: str) -> Result:
    return CliRunner().invoke(
        main, [*words, "--embedded", str(path)], env={"RELIGHT_CONFIG": ""}, catch_exceptions=False
    )


def kinds(path: Path, *words: str) -> list[dict[str, object]]:
    done = relight(path, "incidents", "unknown", *words, "--format", "json")
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout)["kinds"])


# Kinds


def test_failures_that_say_the_same_are_one_kind_and_the_most_frequent_comes_first(
    path: Path, incidents: list[IncidentDocument]
) -> None:
    first, second = kinds(path)
    ids = [document.id for document in incidents]
    assert (first["incidents"], second["incidents"]) == (ids[::2], ids[1::2])
    assert first["hosts"] == ["node01", "node03", "node05"]
    assert first["seen_as"] == {"launcher.worker_exit": 3}
    lines = [line["text"] for line in first["lines"]]  # type: ignore[attr-defined]
    assert len(lines) == 3
    assert "prefetch: shard 115 of /data/web/part-00115.tar has checksum 0x9f115, wanted 0x77aa" in lines


def test_a_kind_is_shown_with_its_lines_and_why_and_how_to_name_it(
    path: Path, incidents: list[IncidentDocument]
) -> None:
    done = relight(path, "incidents", "unknown")
    name = kinds(path)[0]["kind"]
    assert f"{name}  3 times, 2026-05-13 03:12:09 to 2026-05-17 03:12:09 UTC" in done.stdout
    assert "new in this run" in done.stdout
    assert "speaks of a failure" in done.stdout
    assert f"relight learn NAME --from {name}" in done.stdout
    one = relight(path, "incidents", "unknown", str(name)[:4])
    assert incidents[0].id in one.stdout
    assert "torn" not in one.stdout


def test_what_people_said_that_it_was_is_told_of_its_kind(
    path: Path, store: EmbeddedStore, incidents: list[IncidentDocument]
) -> None:
    stories.fill(store, [judged(incidents[0])])
    assert kinds(path)[0]["people_say"] == {"storage.io_error": 1}


def judged(document: IncidentDocument) -> IncidentDocument:
    about = Judged(fault="launcher.worker_exit", signature="launcher.torchrun-failure")
    verdict = IncidentJudged(
        incident=document.id, judgement=Judgement.WRONG, about=about, actual="storage.io_error", by="ann", at_s=1.0
    )
    return document.model_copy(update={"verdicts": {"v": verdict}})


def test_incidents_of_which_no_line_is_kept_are_counted_and_of_no_kind(path: Path, store: EmbeddedStore) -> None:
    told.fill(store, (STARVED, STARVED), keep_lines=False)
    assert kinds(path) == []
    assert "2 of no kind: the store keeps no line of them" in relight(path, "incidents", "unknown").stdout


def test_where_nothing_is_unexplained_that_is_said(path: Path, store: EmbeddedStore) -> None:
    assert relight(path, "incidents", "unknown").stdout == "Nothing that happened is unexplained.\n"


def test_a_name_of_no_kind_is_refused_in_one_line(path: Path, incidents: list[IncidentDocument]) -> None:
    done = relight(path, "incidents", "unknown", "zzz")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "relight: there are no kinds whose names begin with 'zzz': `relight incidents unknown`"
    ]


def test_what_earlier_jobs_on_the_same_host_said_as_well_is_no_surprise(store: EmbeddedStore) -> None:
    usual = "closing: could not flush {n} buffers"
    at, host = stories.FELL, "node01"
    for number in range(1, 4):
        store.put_lines([*told.lines(number, (usual,), host, at - timedelta(days=number))])
    document = told.told(4, (*STARVED, usual), host, at)
    store.put_lines([*told.lines(4, (*STARVED, usual), host, at)])
    found = {one.place.text: one.why for one in unknown_of(store, document).surprises}
    assert [text.split()[0] for text in found] == ["prefetch:", "feeder", "loader:"]
    assert set(found.values()) == {"new in this run; never in 3 earlier runs"}


# Drafts


def test_a_kind_becomes_a_draft_that_passes_the_checks_of_rules(
    path: Path, tmp_path: Path, incidents: list[IncidentDocument]
) -> None:
    draft, name = tmp_path / "draft.yaml", str(kinds(path)[0]["kind"])
    done = relight(path, "learn", RULE, "--from", name, "--fault", "storage.io_error", "-o", str(draft))
    assert done.exit_code == 0, done.output
    (rule,) = read_rules(draft)
    assert (rule.signature.id, rule.signature.fault) == (RULE, "storage.io_error")
    assert len(rule.signature.match) == 3
    for word in ("check", "test"):
        assert CliRunner().invoke(main, ["rules", word, str(draft)]).exit_code == 0


def test_the_draft_matches_the_next_one_and_no_line_of_a_healthy_part(
    store: EmbeddedStore, incidents: list[IncidentDocument]
) -> None:
    found = unknowns(store, Query())
    text = drafted(RULE, found.of(found.kinds[0]), catalogue(), fault=None)
    (fields,) = yaml.safe_load(text)["signatures"]
    pattern = confirming(fields["pattern"][0])
    wanted = [line.format(n=999, rank=7, host="node99") for line in STARVED]
    assert any(pattern.search(line.encode()) for line in wanted)
    healthy = [line.format(n=999, rank=7) for line in told.HEALTHY]
    assert not any(pattern.search(line.encode()) for line in (*healthy, *benign(catalogue())))
    assert set(fields["not_match"]) <= {line.text for line in told.lines(5, STARVED, "node05", stories.FELL)} | {
        line.text for n in (1, 3) for line in told.lines(n, STARVED, f"node{n:02}", stories.FELL)
    }
    assert fields["fault"] == "unknown"


def test_a_rank_and_a_host_in_the_line_are_captured(store: EmbeddedStore, incidents: list[IncidentDocument]) -> None:
    one = unknown_of(store, incidents[0])
    by_text = {s.place.text.split()[0]: at for at, s in enumerate(one.surprises, 1)}
    feeder = drafted("a.feeder", [one], catalogue(), fault=None, line=by_text["feeder"])
    assert r"feeder of rank (?P<rank>\d+) gives up after \d+ tries" in feeder
    loader = drafted("a.loader", [one], catalogue(), fault=None, line=by_text["loader:"])
    assert r"nothing to feed on (?P<host>[\w.-]+)" in loader


def test_what_people_said_that_it_was_is_the_fault_of_the_draft(
    path: Path, store: EmbeddedStore, incidents: list[IncidentDocument]
) -> None:
    stories.fill(store, [judged(incidents[2])])
    done = relight(path, "learn", RULE, "--from", incidents[0].id)
    assert yaml.safe_load(done.stdout)["signatures"][0]["fault"] == "storage.io_error"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("No Such Id",), "is no id"),
        (("nvrm.xid",), "there is a signature nvrm.xid already"),
        ((RULE, "--line", "9"), "there is no line 9: 3 lines stand out"),
        ((RULE, "--fault", "storage.nonsense"), "there is no fault class"),
    ],
)
def test_what_cannot_be_drafted_is_refused_in_one_line(
    path: Path, incidents: list[IncidentDocument], words: tuple[str, ...], reason: str
) -> None:
    done = relight(path, "learn", *words, "--from", incidents[0].id)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert reason in line


def stands_out(document: IncidentDocument, text: str) -> Unknown:
    place = stories.place("node01:train.log", 7, text)
    return Unknown(document, (Surprise(template=text, why="new in this run", score=1.0, place=place),), {}, ())


def test_a_draft_that_would_match_a_harmless_line_is_refused(incidents: list[IncidentDocument]) -> None:
    known = catalogue()
    harmless = next(s.match[0] for s in known.signatures if s.kind is Kind.NOISE)
    with pytest.raises(NoDraft, match="would match a line that is known to be harmless"):
        drafted(RULE, [stands_out(incidents[0], harmless)], known, fault=None)


def test_a_line_that_a_signature_knows_already_makes_no_draft(incidents: list[IncidentDocument]) -> None:
    seen_by = catalogue().by_id["launcher.torchrun-failure"].match[0]
    with pytest.raises(NoDraft, match=r"is known to launcher\.torchrun-failure already"):
        drafted(RULE, [stands_out(incidents[0], seen_by)], catalogue(), fault=None)


@given(st.sampled_from([line.text for line in benign_lines()]))
def test_no_draft_matches_a_benign_line(text: str) -> None:
    document = told.told(1, STARVED, "node01", stories.FELL)
    with pytest.raises(NoDraft):
        drafted(RULE, [stands_out(document, text)], catalogue(), fault=None)


def test_a_draft_that_would_not_pass_the_checks_is_refused(incidents: list[IncidentDocument]) -> None:
    told_short = stands_out(incidents[0], "sharding")
    with pytest.raises(NoDraft, match="take another line with --line"):
        drafted(RULE, [replace(told_short, healthy=("training finished",))], Catalogue(()), fault="no.such")


# Patterns


@pytest.mark.parametrize(
    ("messages", "pattern"),
    [
        (["slot 17 of 0x9f was lost in /a/b/c"], r"slot \d+ of 0x[0-9a-fA-F]+ was lost in"),
        (
            ["cuda:3 ring was torn (twice)", "cuda:5 ring was torn (twice)"],
            r"cuda:(?P<gpu>\d+) ring was torn \(twice\)",
        ),
        (["ring was torn by alpha today", "ring was torn by beta today"], r"ring was torn by \S+ today"),
        (["key [masked] was turned down"], r"key \S+ was turned down"),
        (["too   many\tspaces of kind 3"], r"too[ \t]+many[ \t]+spaces of kind"),
        (["caf\u00e9 is closed for ever"], r"caf\S+ is closed for ever"),
    ],
)
def test_a_pattern_keeps_what_is_fixed_and_skips_what_varies(messages: list[str], pattern: str) -> None:
    assert pattern_of(messages) == pattern
    assert all(confirming(pattern).search(message.encode()) for message in messages if "[masked]" not in message)


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60), min_size=1, max_size=3))
def test_a_pattern_that_is_made_matches_the_message_it_is_made_of(messages: list[str]) -> None:
    spoken = [f"{text} the ring of rank 3 was torn {text}" for text in messages]
    try:
        pattern = pattern_of(spoken, messages)
    except NoDraft:
        return
    assert confirming(pattern).search(spoken[0].encode())


@pytest.mark.parametrize("message", ["12 34 0x56", "", "a b c d", "=== 17 ==="])
def test_of_a_line_without_words_no_pattern_is_made(message: str) -> None:
    with pytest.raises(NoDraft, match="fixed characters in a row"):
        pattern_of([message])


# What is shown of one incident


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_an_unexplained_incident_is_shown_with_the_lines_that_stand_out_and_what_was_like_it(
    path: Path, incidents: list[IncidentDocument], form: str
) -> None:
    shown = relight(path, "incidents", "show", incidents[4].id, "--format", form).stdout
    assert "Lines that stand out" in shown
    assert "gives up after 115 tries" in shown
    assert "Seen before" in shown
    assert incidents[2].id[:8] in shown
    assert incidents[0].id[:8] in shown
    assert incidents[1].id[:8] not in shown, "its lines are others"


def test_as_json_it_has_them_too(path: Path, incidents: list[IncidentDocument]) -> None:
    told_of = json.loads(relight(path, "incidents", "show", incidents[4].id, "--format", "json").stdout)
    assert [one["id"] for one in told_of["similar"]] == [incidents[2].id, incidents[0].id]
    assert [one["lines_alike"] for one in told_of["similar"]] == [1.0, 1.0]
    assert len(told_of["surprises"]) == 3


def test_an_incident_that_is_explained_has_no_lines_that_stand_out(path: Path, store: EmbeddedStore) -> None:
    stories.fill(store, [stories.folded("a0000000", stories.lost_gpu())])
    shown = relight(path, "incidents", "show", "a0000000").stdout
    assert "stand out" not in shown
    assert "Seen before" not in shown


# Figures


def test_figures_of_signatures_are_a_table_and_what_a_scan_reads(
    path: Path, tmp_path: Path, store: EmbeddedStore
) -> None:
    about = Judged(fault="gpu.fallen_off_bus", signature="nvrm.xid.79")
    for number in range(10):
        document = stories.folded(f"a000000{number}", stories.lost_gpu())
        verdict = IncidentJudged(
            incident=document.id, judgement=Judgement.WRONG, about=about, by="ann", at_s=float(number)
        )
        stories.fill(store, [document.model_copy(update={"verdicts": {f"v{number}": verdict}})])
    done = relight(path, "rules", "stats")
    assert done.stdout == "nvrm.xid.79\t10\t0\t10\t0%\t0% to 28%\t0.50\t2026-05-12 03:12\n"
    file = tmp_path / "verdicts.json"
    file.write_text(relight(path, "rules", "stats", "--format", "json").stdout)
    logs = str(Path(__file__).parents[2] / "docs" / "example-run" / "logs")
    plain, doubted = (
        json.loads(CliRunner().invoke(main, ["scan", logs, "-f", "json", *more]).stdout)["incidents"][0]
        for more in ((), ("--verdicts", str(file)))
    )
    assert plain["signature"] == doubted["signature"] == "nvrm.xid.79"
    assert doubted["confidence"] == pytest.approx(plain["confidence"] / 2, abs=0.006)
    assert "people found this diagnosis wrong in 10 of 10 incidents" in doubted["reasons"]


@pytest.mark.parametrize("content", ["", "[]", '{"signatures": [{"signature": 1}]}', "\x00"])
def test_a_file_that_holds_no_verdicts_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    file = tmp_path / "verdicts.json"
    file.write_text(content)
    done = CliRunner().invoke(main, ["scan", str(tmp_path), "--verdicts", str(file)])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("`relight rules stats --format json` writes such a file")


def test_where_nothing_was_done_or_diagnosed_that_is_said(path: Path, store: EmbeddedStore) -> None:
    assert relight(path, "rules", "stats").stdout == "No incident has been diagnosed or judged.\n"
    assert relight(path, "playbooks", "stats").stdout == "No command was planned.\n"
