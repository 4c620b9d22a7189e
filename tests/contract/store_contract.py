"""What every store of incidents does. Each adapter's tests inherit this class and give it a store."""

import random
from dataclasses import replace
from itertools import product

import pytest

from relight.learning.figures import playbook_figures, rule_figures
from relight.learning.similar import similar_in
from relight.stores.port import BUCKETS, LIMIT, IncidentStore, LineQuery, Page, Query, Sort
from relight.stores.projection import Projection
from relight.stores.words import MOST
from schemas.document import IncidentDocument
from schemas.history import State
from schemas.vocabulary import Impact, Severity
from tests.contract.store_stories import (
    START_S,
    commanded,
    document,
    events,
    folded,
    judged,
    line,
    merged,
    reopened,
    resolved,
    settled,
    widespread,
)

HOUR_S = 3600.0
XID_LINE = "NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus."
SORTS: tuple[Sort, ...] = ("opened", "updated", "severity", "confidence", "lost")

FILTERS: tuple[tuple[Query, set[int]], ...] = (
    (Query(), {1, 2, 3, 4}),
    (Query(faults=("gpu.*",)), {1, 4}),
    (Query(faults=("gpu.fallen_off_bus",)), {1}),
    (Query(faults=("gpu.fallen_off_bus", "comm*")), {1, 2}),
    (Query(faults=("gpu.e??_uncorrectable",)), {4}),
    (Query(faults=("gpu.[ef]*",)), set()),
    (Query(hosts=("node0*",)), {1, 2}),
    (Query(hosts=("node*",)), {1, 2, 4}),
    (Query(hosts=("NODE01",)), set()),
    (Query(jobs=("100",)), {1, 2}),
    (Query(jobs=("*",)), {1, 2, 4}),
    (Query(clusters=("c2",)), {3}),
    (Query(states=(State.OPEN,)), {1, 3}),
    (Query(states=(State.RESOLVED, State.MERGED)), {2, 4}),
    (Query(severity=Severity.ERROR), {1, 2}),
    (Query(severity=Severity.CRITICAL), {1}),
    (Query(severity=Severity.INFO), {1, 2, 3, 4}),
    (Query(since_ms=round((START_S + 2 * HOUR_S) * 1000)), {2, 3, 4}),
    (Query(until_ms=round((START_S + 2 * HOUR_S) * 1000)), {1}),
    (Query(since_ms=round((START_S + 2 * HOUR_S) * 1000), until_ms=round((START_S + 3 * HOUR_S) * 1000)), {2}),
    (Query(hosts=("node*",), faults=("gpu.*",), states=(State.OPEN,)), {1}),
)
WORDS: tuple[tuple[str, set[int]], ...] = (
    ("fallen", {1, 2}),
    ("FALLEN bus", {1, 2}),
    ("bus fallen", {1, 2}),
    ("fallen asleep", set()),
    ('"fallen off the bus"', {1, 2}),
    ('"off fallen"', set()),
    ("nccl*", {1, 2, 3}),
    ("ncc", set()),
    ("node03", {1}),
    ("node03:/var/log/kern.log", {1}),
    ("0000:3b:00", {1, 2, 3}),
    ("fallen -node03", {2}),
    ('-"fallen off"', {3}),
    ("gpu.fallen_off_bus", {1, 2}),
    ("ib_mad_rec*", {3}),
    ("größe", {3}),
    ('"unclosed', set()),
    ("AND OR NOT", set()),
    ("' \" * - ( ) : ^ ~ \\", {1, 2, 3}),
    ("", {1, 2, 3}),
)


def ids(page: Page) -> list[str]:
    return [found.id for found in page.documents]


def some(number: int) -> list[IncidentDocument]:
    """Return incidents of many kinds, always the same ones."""
    dice = random.Random(7)
    faults = ("gpu.fallen_off_bus", "gpu.ecc_uncorrectable", "comm.ib_link", "storage.disk_full", "unknown")
    return [
        document(
            index,
            cluster=dice.choice(("c1", "c2")),
            fault=dice.choice(faults),
            host=dice.choice(("node01", "node02", "node11", None)),
            job=dice.choice(("100", "200", None)),
            severity=dice.choice(list(Severity)),
            impact=dice.choice(list(Impact)),
            opened_s=START_S + dice.randrange(40) * 12 * HOUR_S,
            began_s=dice.choice((None, START_S - 60)),
            ranks=dice.choice((0, 8, 512)),
            confidence=dice.choice((0.2, 0.5, 0.98)),
            more=dice.choice(((), (settled(),), (settled(), resolved(START_S + 41 * 12 * HOUR_S)))),
        )
        for index in range(number)
    ]


class StoreContract:
    """The contract."""

    @pytest.fixture
    def store(self) -> IncidentStore:
        raise NotImplementedError

    def put(self, store: IncidentStore, *documents: IncidentDocument) -> None:
        assert not store.put_incidents(documents)
        store.refresh()

    def test_what_is_put_is_found_as_it_was(self, store: IncidentStore) -> None:
        whole = document(1, more=(settled(), resolved(), reopened()))
        self.put(store, whole)
        assert store.known([whole.id, "another"]) == {whole.id: whole}
        assert store.search(Query()).documents == (whole,)

    def test_the_commands_for_an_incident_are_a_part_of_it(self, store: IncidentStore) -> None:
        said = events(1)
        (before,) = folded(said)
        (after,) = folded([*said, *commanded(said)])
        assert after.version == before.version + 5
        store.put_incidents([before])
        store.put_incidents([after])
        store.refresh()
        assert store.known([after.id]) == {after.id: after}
        assert [command.state for command in store.get(after.id)[0].commands.values()] == ["effective"]

    def test_the_verdicts_on_an_incident_are_a_part_of_it_and_it_is_found_by_them(self, store: IncidentStore) -> None:
        said = events(1)
        (after,) = folded([*said, *commanded(said), *judged(said, "wrong", "gpu.pcie_error")])
        self.put(store, after, document(2))
        assert store.known([after.id]) == {after.id: after}
        assert ids(store.search(Query(text="judged wrong"))) == [after.id]
        assert ids(store.search(Query(text="command restart_job effective"))) == [after.id]

    def test_figures_of_signatures_and_actions_are_those_of_verdicts_and_commands(self, store: IncidentStore) -> None:
        one, two, three = events(1), events(2, opened_s=START_S + HOUR_S), events(3, opened_s=START_S + 2 * HOUR_S)
        told = [
            *one,
            *judged(one, "correct"),
            *two,
            *commanded(two),
            *judged(two, "correct", at_s=1),
            *judged(two, "wrong"),
        ]
        self.put(store, *folded([*told, *three, *judged(three, "wrong")]))
        (figures,) = rule_figures(store, Query()).signatures
        assert (figures.signature, figures.incidents, figures.correct, figures.wrong) == ("nvrm.xid.79", 3, 1, 2)
        assert (figures.precision, figures.low, figures.high) == (0.3333, 0.0615, 0.7923)
        assert (figures.trust, figures.last_seen) == (0.8462, "2026-05-12T05:00:00Z")
        done = playbook_figures(store, Query())
        assert [(a.name, a.planned, a.issued, a.proved, a.success_rate, a.recovery_s) for a in done.actions] == [
            ("restart_job", 1, 1, 1, 1.0, 95.0)
        ]
        assert [rung.name for rung in done.rungs] == ["gpu.fallen-off-bus 1 restart_job"]

    def test_what_was_like_an_incident_before_it_is_found_with_what_helped(self, store: IncidentStore) -> None:
        first, other = events(1, opened_s=START_S), events(2, host="node07", opened_s=START_S + HOUR_S)
        last, later = events(3, opened_s=START_S + 2 * HOUR_S), events(4, opened_s=START_S + 3 * HOUR_S)
        another = events(5, fault="gpu.pcie_error", opened_s=START_S)
        documents = folded([*first, *commanded(first), *other, *last, *later, *another])
        self.put(store, *documents)
        (asked,) = (one for one in documents if one.id == last[0].subject)
        found = similar_in(store, asked)
        assert [one.document.id for one in found] == [other[0].subject, first[0].subject]
        assert [one.part for one in found] == [None, "node03/0000:3b:00"]
        assert "restart_job job/48211 helped after 1 min 35 s" in str(found[1])

    def test_it_is_known_before_any_search_sees_it(self, store: IncidentStore) -> None:
        store.put_incidents([document(1)])
        assert store.known([document(1).id])

    def test_an_older_state_never_replaces_a_newer_one(self, store: IncidentStore) -> None:
        told = events(1, more=(settled(), resolved()))
        newer, older = folded(told)[0], folded(told[:4])[0]
        self.put(store, newer)
        self.put(store, older)
        assert store.search(Query()).documents == (newer,)

    def test_of_several_states_put_at_once_the_newest_stays(self, store: IncidentStore) -> None:
        told = events(1, more=(settled(), resolved(), reopened()))
        states = [folded(told[:count])[0] for count in range(1, len(told) + 1)]
        self.put(store, *states[:3], *reversed(states[3:]))
        assert store.search(Query()).documents == (states[-1],)

    def test_a_newer_state_replaces_an_older_one(self, store: IncidentStore) -> None:
        told = events(1, host="node03", more=(settled(), resolved()))
        self.put(store, folded(told[:2])[0])
        self.put(store, folded(told)[0])
        assert ids(store.search(Query(states=(State.RESOLVED,)))) == [folded(told)[0].id]
        assert not store.search(Query(states=(State.OPEN,))).total
        assert store.search(Query(hosts=("node03",))).total == 1

    def test_what_is_put_twice_is_there_once(self, store: IncidentStore) -> None:
        lines = [line("one"), line("two")]
        self.put(store, document(1), document(1))
        self.put(store, document(1))
        store.put_lines(lines)
        store.put_lines(lines)
        store.refresh()
        assert store.search(Query()).total == 1
        assert store.lines(LineQuery()) == lines

    def test_a_line_with_a_time_is_there_once_whenever_it_was_read(self, store: IncidentStore) -> None:
        first = line("read twice")
        again = first.model_copy(update={"observed_ms": first.observed_ms + 2 * 86_400_000})
        store.put_lines([first])
        store.put_lines([again])
        store.refresh()
        assert store.lines(LineQuery()) == [first]

    def test_an_incident_is_got_by_the_beginning_of_its_id(self, store: IncidentStore) -> None:
        several = [document(number) for number in range(20)]
        self.put(store, *several)
        one = several[3]
        assert store.get(one.id) == [one]
        assert store.get(one.id[:8]) == [one]
        assert store.get("no such") == []
        assert [found.id for found in store.get("")] == sorted(d.id for d in several)[:10]

    def test_filters_find(self, store: IncidentStore) -> None:
        found = {
            1: document(1, host="node01", job="100"),
            2: document(2, fault="comm.ib_link", host="node02", job="100", severity=Severity.ERROR,
                        opened_s=START_S + 2 * HOUR_S, more=(resolved(START_S + 3 * HOUR_S),)),
            3: document(3, "c2", fault="storage.disk_full", host=None, job=None, severity=Severity.INFO,
                        opened_s=START_S + 3 * HOUR_S),
            4: document(4, fault="gpu.ecc_uncorrectable", host="node11", job="a\\b", severity=Severity.WARNING,
                        opened_s=START_S + 4 * HOUR_S, more=(merged("x"),)),
        }  # fmt: skip
        self.put(store, *found.values())
        for query, expected in FILTERS:
            page = store.search(query)
            assert ({n for n, one in found.items() if one.id in ids(page)}, page.total) == (expected, len(expected)), (
                query
            )

    def test_words_find(self, store: IncidentStore) -> None:
        found = {
            1: document(1, host="node03"),
            2: document(2, host="node04"),
            3: document(3, host="node05", fault="comm.ib_link", text="ib_mad_receive: GRÖSSE größe nccl_net 0x1f"),
        }
        plain = found[3].model_dump_json().replace("has fallen off the bus", "is down")
        found[3] = IncidentDocument.model_validate_json(plain)
        self.put(store, *found.values())
        for text, expected in WORDS:
            page = store.search(Query(text=text))
            assert {n for n, one in found.items() if one.id in ids(page)} == expected, text

    @pytest.mark.parametrize("each", ["fallen ", "-absent ", "fal* ", "fallen,", '"off the" '])
    def test_a_search_of_very_many_words_is_one_of_its_first_words(self, store: IncidentStore, each: str) -> None:
        repeated = "fallen " * MOST
        self.put(store, document(1, text=repeated, host="node03"), document(2, text=repeated, host="node04"))
        assert store.search(Query(text=each * 20_000)).total == 2
        store.put_lines([line(repeated + "off the")])
        store.refresh()
        assert len(store.lines(LineQuery(text=each * 20_000))) == 1
        assert store.search(Query(text="node03 " + each * (MOST - 1) + "absent")).total == 1

    def test_a_search_returns_no_more_than_its_limit_at_once_and_goes_on_behind_it(self, store: IncidentStore) -> None:
        self.put(store, *(document(number) for number in range(LIMIT + 1)))
        page = store.search(Query(), limit=2 * LIMIT)
        assert (len(page.documents), page.total) == (LIMIT, LIMIT + 1)
        rest = store.search(Query(), limit=2 * LIMIT, after=page.after)
        assert (len(rest.documents), rest.after) == (1, None)

    def test_of_very_many_buckets_the_largest_are_returned(self, store: IncidentStore) -> None:
        hosts = tuple(f"n{number:05}" for number in range(BUCKETS + 1))
        self.put(store, widespread(document(1), hosts), document(2, host=hosts[-1]))
        found = store.aggregate(Query(), "host")
        assert len(found) == BUCKETS
        assert (found[0].key, found[0].count) == (hosts[-1], 2)
        assert hosts[BUCKETS - 1] not in {bucket.key for bucket in found}

    def test_a_name_is_found_and_counted_by_its_beginning_however_long_it_is(self, store: IncidentStore) -> None:
        for number, letter in enumerate(("x", "\U0001d54f")):
            whole = document(number, cluster=letter * 2000, host=letter * 2000, job=letter * 2000)
            self.put(store, whole)
            begins = (f"{letter * 500}*",)
            for query in (Query(clusters=begins), Query(hosts=begins), Query(jobs=begins)):
                assert store.search(query).documents == (whole,)
        for by in ("cluster", "host", "blamed", "job"):
            assert [bucket.key for bucket in store.aggregate(Query(), by)] == ["x" * 1024, "\U0001d54f" * 512]

    def test_pages_follow_each_other_without_gap_or_overlap(self, store: IncidentStore) -> None:
        self.put(store, *some(37))
        for sort, ascending in product(SORTS, (True, False)):
            self.page_through(store, sort, ascending)

    def page_through(self, store: IncidentStore, sort: Sort, ascending: bool) -> None:
        whole = ids(store.search(Query(), sort, ascending=ascending, limit=100))
        assert len(set(whole)) == 37
        seen: list[str] = []
        page = store.search(Query(), sort, ascending=ascending, limit=7)
        while True:
            assert page.total == 37
            seen += ids(page)
            if page.after is None:
                break
            page = store.search(Query(), sort, ascending=ascending, limit=7, after=page.after)
        assert seen == whole

    def test_the_worst_and_the_latest_come_first(self, store: IncidentStore) -> None:
        early = document(1, severity=Severity.CRITICAL, ranks=8, more=(resolved(START_S + HOUR_S),), confidence=0.3)
        late = document(2, severity=Severity.INFO, opened_s=START_S + 60, began_s=START_S, ranks=512)
        self.put(store, early, late)
        assert ids(store.search(Query(), "opened")) == [late.id, early.id]
        assert ids(store.search(Query(), "updated")) == [early.id, late.id]
        assert ids(store.search(Query(), "severity")) == [early.id, late.id]
        assert ids(store.search(Query(), "confidence")) == [late.id, early.id]
        assert ids(store.search(Query(), "lost")) == [late.id, early.id]

    def test_incidents_are_counted_and_summed_up(self, store: IncidentStore) -> None:
        self.put(
            store,
            document(1, ranks=8, began_s=START_S - 20, more=(resolved(START_S + 100),)),
            document(2, ranks=16, opened_s=START_S + 50, began_s=START_S + 10, more=(resolved(START_S + 70),)),
            document(3, fault="comm.ib_link", impact=Impact.DEGRADED, began_s=None, ranks=4),
        )
        (whole,) = store.aggregate(Query())
        assert (whole.count, whole.failed) == (3, 2)
        assert (whole.first_ms, whole.last_ms) == (round(START_S * 1000), round(START_S * 1000) + 50_000)
        assert (whole.detection_ms, whole.detected) == (20_000 + 40_000, 2)
        assert (whole.recovery_ms, whole.recovered) == (120_000 + 60_000, 2)
        assert (whole.lost_gpu_ms, whole.with_ranks) == (8 * 120_000 + 16 * 60_000, 2)
        by_fault = store.aggregate(Query(), "fault")
        assert [(b.key, b.count, b.failed) for b in by_fault] == [
            ("gpu.fallen_off_bus", 2, 2),
            ("comm.ib_link", 1, 0),
        ]

    def test_each_facet_counts_what_has_it(self, store: IncidentStore) -> None:
        incidents = some(40)
        self.put(store, *incidents)
        counts = {
            by: {b.key: b.count for b in store.aggregate(Query(), by)} for by in ("host", "job", "severity", "week")
        }
        assert set(counts["host"]) == {"node01", "node02", "node11"}
        assert set(counts["job"]) == {"100", "200"}
        assert set(counts["severity"]) == {"info", "warning", "error", "critical"}
        assert sum(counts["severity"].values()) == sum(counts["week"].values()) == 40
        assert min(counts["week"]) == "2026-W20"
        rows = store.aggregate(Query(), "host")
        assert rows == sorted(rows, key=lambda b: (-b.count, b.key))
        assert (
            sum(b.count for b in store.aggregate(Query(faults=("gpu.*",)), "fault"))
            == store.search(Query(faults=("gpu.*",))).total
        )

    def test_of_nothing_there_is_no_bucket(self, store: IncidentStore) -> None:
        assert list(store.aggregate(Query())) == []
        assert list(store.aggregate(Query(), "host")) == []
        assert store.search(Query()) == Page((), 0, None)
        assert store.lines(LineQuery()) == []

    def test_lines_are_found_by_source_or_host_time_and_words(self, store: IncidentStore) -> None:
        at_ms = round(START_S * 1000)
        first = line(XID_LINE, time_ms=at_ms)
        later = line(
            "step 40,820 loss 2.31",
            time_ms=at_ms + 5000,
            source="node04:/train.log",
            stream="/train.log",
            host="node04",
        )
        untimed = line("no time", time_ms=None, observed_ms=at_ms + 9000, host=None, rank=None, job=None, level=None)
        store.put_lines([later, untimed, first])
        store.refresh()
        assert store.lines(LineQuery()) == [first, later, untimed]
        assert store.lines(LineQuery(hosts=("node04",))) == [later]
        assert store.lines(LineQuery(hosts=("node04",), sources=("node03:/var/log/kern.log",))) == [
            first,
            later,
            untimed,
        ]
        assert store.lines(LineQuery(since_ms=at_ms + 1, until_ms=at_ms + 9000)) == [later]
        assert store.lines(LineQuery(text="xid 79")) == [first]
        assert store.lines(LineQuery(text="Xid -79")) == []
        assert store.lines(LineQuery(cluster="c2")) == []
        assert store.lines(LineQuery(limit=1)) == [first]

    def test_changes_are_told_once_they_are_made(self, store: IncidentStore) -> None:
        self.put(store, document(1))
        none, after = store.changes(None)
        assert none == []
        told = events(2, more=(settled(), resolved()))
        self.put(store, folded(told[:3])[0])
        found, after = store.changes(after)
        assert folded(told[:3])[0] in found
        self.put(store, folded(told)[0])
        found, after = store.changes(after)
        assert folded(told)[0] in found
        assert store.changes(after)[1] == after

    def test_a_cleared_store_is_empty_and_takes_all_again(self, store: IncidentStore) -> None:
        self.put(store, document(1))
        store.put_lines([line("one")])
        store.refresh()
        store.clear()
        assert store.search(Query()).total == 0
        assert store.lines(LineQuery()) == []
        self.put(store, document(1))
        assert store.search(Query()).documents == (document(1),)

    def test_a_fold_goes_on_from_what_the_store_has(self, store: IncidentStore) -> None:
        told = events(1, more=(settled(), resolved(), reopened()))
        store.put_incidents(Projection(store.known, lambda names: []).after(told[:3]))
        documents = Projection(store.known, lambda names: []).after(told[2:])
        assert documents == folded(told)

    def test_hostile_text_is_kept_and_found_as_it_is(self, store: IncidentStore) -> None:
        text = "\x1b[31m<script>alert(1)</script> ' or 1=1; -- %s {{7*7}} \u202e \ud7ff " + "x" * 3000
        hostile = document(1, text=text, job='"; drop table incidents; --', host="a*b?[c]")
        self.put(store, hostile)
        store.put_lines([line(text)])
        store.refresh()
        assert store.search(Query(jobs=('"; drop table incidents; --',))).documents == (hostile,)
        assert store.search(Query(text="script alert")).total == 1
        assert store.search(Query(hosts=("a*[c]",))).total == 1
        assert store.lines(LineQuery(text="script"))[0].text == text

    def test_an_incident_without_a_diagnosis_is_unknown(self, store: IncidentStore) -> None:
        (bare,) = folded(events(1)[:1])
        self.put(store, bare)
        assert store.search(Query(faults=("unknown",))).documents == (bare,)
        assert replace(store.aggregate(Query(), "fault")[0], first_ms=0, last_ms=0).key == "unknown"
