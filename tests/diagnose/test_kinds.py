"""Kinds of unknown failures: what is recognised as the same again, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnose.learning.kinds import ALIKE, Member, fingerprint, kind_of, kinds, shape, shapes, similarity

TENSOR = (
    "2026-05-12T03:12:04Z node07 prefetch: shard 118 of /data/web/part-00118.tar has checksum 0x9f31, wanted 0x77aa",
    "[rank3]: prefetch worker 5 gives up after 4 tries",
    "loader: queue of rank 3 is empty since 61.5s",
    "loader: nothing to feed, leaving the loop at step 40820",
    "node07 trainer[4711]: leaving with status 'STARVED'",
)
FABRIC = (
    "subnet sweep found 2 ports that flap on switch sw-11",
    "verbs: completion with status 12 on qp 0x4f2",
    "allreduce ring broken between node07 and node09",
    "giving up the ring after 7 tries",
)


def again(lines: tuple[str, ...], number: int, host: str) -> list[str]:
    """Return what the same failure says another time: other numbers, another host."""
    said = [line.replace("node07", host) for line in lines]
    return ["".join(str((int(c) + number) % 10) if c.isdigit() else c for c in line) for line in said]


def member(name: str, at_s: float, lines: list[str] | tuple[str, ...], hosts: tuple[str, ...] = ()) -> Member:
    return Member(name, at_s, shapes(lines, hosts))


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("May 12 03:12:04 node07 app: lost 3 of 4 shards", "Jun  1 11:00:59 node113 app: lost 12 of 64 shards"),
        ("open('/data/a/b.idx') gave errno 5", "open('/scratch/x.idx') gave errno 116"),
        ("peer 10.0.4.17:4242 went away", "peer fd00::17 went away"),
        ("job 9f8b6a10-1111-2222-3333-444455556666 ended", "job 00000000-aaaa-bbbb-cccc-ddddeeeeffff ended"),
    ],
)
def test_a_line_has_the_same_shape_whatever_its_numbers_are(line: str, other: str) -> None:
    assert shape(line) == shape(other)


def test_a_host_without_a_number_is_taken_out_where_it_is_known_and_only_as_a_word() -> None:
    assert shape("alpha has lost its scratch", ("alpha",)) == shape("omega has lost its scratch", ("omega", "alpha"))
    assert shape("alphabet of 3", ("alpha",)) == "alphabet of"


@given(
    st.integers(0, 9),
    st.sampled_from(["node1", "gpu-a-17", "dgx007.cluster.local"]),
    st.permutations(range(len(TENSOR))),
)
def test_numbers_hosts_and_order_make_no_other_fingerprint(number: int, host: str, order: list[int]) -> None:
    said = again(TENSOR, number, host)
    assert fingerprint(shapes(said[at] for at in order)) == fingerprint(shapes(TENSOR))


@given(st.sets(st.integers(0, len(TENSOR) - 1), max_size=2), st.integers(0, 9))
def test_a_few_missing_lines_make_no_other_kind(missing: set[int], number: int) -> None:
    said = [line for at, line in enumerate(again(TENSOR, number, "node09")) if at not in missing]
    (kind,) = kinds([member("a", 1, TENSOR), member("b", 2, said)])
    assert [one.id for one in kind.members] == ["a", "b"]
    assert kind.id == fingerprint(shapes(TENSOR))


@given(st.permutations(range(6)))
def test_kinds_are_the_same_in_whatever_order_incidents_are_read(order: list[int]) -> None:
    told = [member(f"t{n}", n, again(TENSOR, n, f"node{n}")) for n in range(4)]
    told += [member(f"f{n}", 10 + n, again(FABRIC, n, f"node{n}")) for n in range(2)]
    found = kinds(told[at] for at in order)
    assert [[one.id for one in kind.members] for kind in found] == [["t0", "t1", "t2", "t3"], ["f0", "f1"]]


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    assert fingerprint(shapes((*TENSOR, *FABRIC))) == "bddf54d8e7"


def test_other_failures_and_those_without_a_line_are_of_no_kind_that_is_known() -> None:
    known = kinds([member("a", 1, TENSOR), member("silent", 2, [])])
    assert len(known) == 1
    assert kind_of(shapes(FABRIC), known) is None
    assert kind_of(shapes(TENSOR[1:]), known) is known[0]
    assert kind_of(frozenset(), known) is None


@given(st.lists(st.text(max_size=80), max_size=8), st.lists(st.text(max_size=80), max_size=8))
def test_similarity_is_a_share_the_same_both_ways_and_whole_for_the_same(one: list[str], other: list[str]) -> None:
    left, right = shapes(one), shapes(other)
    assert similarity(left, right) == similarity(right, left)
    assert 0 <= similarity(left, right) <= 1
    assert similarity(left, left) == (1 if left else 0)
    assert ALIKE <= 1


def test_a_hostile_line_costs_no_time_and_no_host_is_an_expression() -> None:
    assert shape("('" * 100_000 + "/a" * 100_000) is not None
    assert shape("lost (.*) here", ("(.*)", "[")) == "lost here"
