"""Collectives: who did not arrive, who is stuck, and who called something else, by what ranks say of themselves."""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnose.correlation.collectives import Arrivals, arrivals
from diagnose.correlation.moments import in_order
from diagnose.matching.signals import IDENTITIES
from schemas.signal import Signal
from schemas.vocabulary import Culprit, Outcome
from tests.diagnose.made import FELL_OFF, START, STEP, concluded, evidence, failure, outcomes, said, timeout

WAITS, IDLE, PEER = "flight-recorder.waits", "flight-recorder.waits-for-nothing", "flight-recorder.waits-for-peer"
PROGRESS, DUMPS, STACK = "c10d.watchdog-progress", "c10d.dump-signal", "stacks.main-thread"
ALL = {"pg": "0", "pg_desc": "default_pg"}


def recorded(
    rank: int, seq: int | None, at: float = 100, *, done: int = 19, ranks: str = "0-63", **told: str
) -> Signal:
    """Return what a dump tells of a rank in a group: it waits at `seq`, or it waits for nothing."""
    group = {"members": ranks, "enqueued": str(done if seq is None else seq), "completed": str(done)} | ALL
    waits = {} if seq is None else {"seq": str(seq), "collective": "ALLREDUCE"}
    place = {
        "source": told.pop("source", f"nccl_trace_rank_{rank}"),
        "rank": rank,
        "line": 1 + 10 * int(told.get("pg", "0")),
    }
    return said(IDLE if seq is None else WAITS, at, **place, **(group | waits | told))


def watchdog(rank: int, seq: int, *, enqueued: int | None = None, at: float = 1500, **told: Any) -> list[Signal]:
    """Return the two lines of a rank whose watchdog fires: only the second one names the group."""
    counts = {"seq": str(seq), "enqueued": str(enqueued or seq), "completed": str(seq - 1)} | ALL
    own = {"source": f"rank{rank}.log", "rank": rank} | told
    first = timeout(at, rank, source=own["source"], seq=str(seq), collective="ALLREDUCE")
    return [first, said(PROGRESS, at + 0.1, line=5000, **(counts | own))]


def arrived(*signals: Signal, world: Iterable[int] = ()) -> Arrivals:
    return arrivals(in_order(signals), world)


# ---- by dumps


@given(st.sets(st.integers(0, 63), max_size=31))
def test_whoever_did_not_arrive_is_named_as_long_as_they_are_fewer_than_half(absent: set[int]) -> None:
    found = arrived(*(recorded(rank, None if rank in absent else 20) for rank in range(64)))
    assert found.culprits == tuple(sorted(absent))


@given(st.sets(st.integers(0, 63), max_size=31))
def test_ranks_of_which_there_is_no_dump_are_absent_too(absent: set[int]) -> None:
    found = arrived(*(recorded(rank, 20) for rank in range(64) if rank not in absent))
    assert found.culprits == found.stalls[0].silent == tuple(sorted(absent))


def test_nobody_is_named_for_silence_alone_where_half_are_silent() -> None:
    assert arrived(*(recorded(rank, 20) for rank in range(32))).culprits == ()


@given(st.permutations(range(16)))
def test_the_order_in_which_ranks_speak_does_not_matter(order: list[int]) -> None:
    told = [recorded(rank, None if rank in (3, 9) else 20, ranks="0-15") for rank in order]
    assert arrived(*told) == arrived(*sorted(told, key=lambda signal: signal.rank or 0))


def test_those_few_that_called_it_alone_are_named_where_most_did_not() -> None:
    found = arrived(*(recorded(rank, 20 if rank == 5 else None) for rank in range(64)))
    assert found.stalls[0].alone == found.culprits == (5,)


def test_a_rank_that_is_in_a_collective_which_the_others_have_left_is_stuck() -> None:
    found = arrived(*(recorded(rank, 20 if rank == 5 else 22, done=19 if rank == 5 else 21) for rank in range(64)))
    assert found.stalls[0].stuck == found.culprits == (5,)


def test_who_is_further_on_than_most_is_no_reason_to_blame_the_others() -> None:
    """The root of a broadcast is done before the others are."""
    found = arrived(*(recorded(rank, 21 if rank == 0 else 20, done=20 if rank == 0 else 19) for rank in range(64)))
    assert found.culprits == ()


def test_a_victim_in_one_group_is_no_culprit_in_another() -> None:
    """Ranks 0 to 7 wait for rank 3 in their own group; the other hosts wait for all of them in the group of all."""
    inner = [recorded(r, None if r == 3 else 7, done=6, ranks="0-7", pg="1", pg_desc="tp") for r in range(8)]
    outer = [recorded(rank, None if rank < 8 else 20) for rank in range(64)]
    found = arrived(*inner, *outer)
    assert found.culprits == (3,)
    assert {stall.group: stall.absent for stall in found.stalls} == {"0": (3,), "1": (3,)}


def test_groups_that_stall_for_different_ranks_name_all_of_them() -> None:
    def tp(rank: int, first: int) -> Signal:
        absent = rank in (3, 12)
        group = {"ranks": f"{first}-{first + 7}", "pg": str(1 + first // 8), "pg_desc": "tp"}
        return recorded(rank, None if absent else 7, done=6, **group)

    assert arrived(*(tp(rank, 0) for rank in range(8)), *(tp(rank, 8) for rank in range(8, 16))).culprits == (3, 12)


def test_a_receive_points_at_its_sender_and_on_to_whom_that_one_waits_for() -> None:
    chain = [
        said(PEER, 100 + n, source=f"r{n}", rank=n, pg="7", pg_desc="pp", peer=str(n - 1), collective="RECV", seq="77")
        for n in (3, 2, 1)
    ]
    assert arrived(*chain).culprits == (0,)


# ---- by the watchdog's lines


@given(st.sets(st.integers(0, 31), max_size=15))
def test_the_watchdogs_of_those_who_waited_name_those_who_did_not(absent: set[int]) -> None:
    told = [signal for rank in range(32) if rank not in absent for signal in watchdog(rank, 4711)]
    assert arrived(*told, world=range(32)).culprits == tuple(sorted(absent))


def test_an_absent_rank_says_itself_how_far_it_had_come() -> None:
    told = [signal for rank in range(4) for signal in watchdog(rank, 4711)]
    late = said(DUMPS, 1500.5, source="rank4.log", rank=4, enqueued="4710", completed="4710", **ALL)
    found = arrived(*told, late)
    assert found.culprits == (4,)
    assert found.stalls[0].silent == ()


def test_a_rank_that_had_called_it_and_only_passes_the_dump_on_is_not_absent() -> None:
    told = [signal for rank in range(3) for signal in watchdog(rank, 4711)]
    came = said(DUMPS, 1500.5, source="rank3.log", rank=3, enqueued="4711", completed="4710", **ALL)
    assert arrived(*told, came, world=range(5)).culprits == (4,)


def test_a_counter_that_was_never_set_proves_nothing() -> None:
    counts = {"enqueued": "4711", "completed": "3452013982"} | ALL
    junk = [said(DUMPS, 1500, source=f"rank{rank}.log", rank=rank, **counts) for rank in (1, 2, 3)]
    assert arrived(*watchdog(0, 4711), *junk, world=range(4)).culprits == ()


def test_numbers_of_groups_that_have_no_name_are_not_compared() -> None:
    """Some versions count each rank's own groups: two ranks' group 1 may be two groups."""
    told = [timeout(1500, rank, source=f"rank{rank}.log", seq=str(5 + (rank > 0))) for rank in range(4)]
    assert arrived(*told, world=range(4)).culprits == ()
    assert arrived(*told, world=range(5)).culprits == (4,)


def test_silence_proves_nothing_where_a_source_said_more_than_is_kept_apart() -> None:
    one = [said("c10d.watchdog-timeout", 1500, rank=r, seq="20", line=1 + r) for r in range(IDENTITIES)]
    assert arrived(*one, world=range(IDENTITIES + 10)).culprits == ()
    assert arrived(*one[:-1], world=range(IDENTITIES)).culprits == (IDENTITIES - 1,)


def test_who_waits_nowhere_is_named_where_it_is_not_known_who_belongs_to_which_group() -> None:
    def pair(rank: int) -> list[Signal]:
        group = {"pg": str(1 + rank // 2), "pg_desc": "tp"}
        return [s.model_copy(update={"captures": s.captures | group}) for s in watchdog(rank, 9 + rank // 2)]

    told = [signal for rank in range(15) for signal in pair(rank)]
    assert arrived(*told, world=range(16)).culprits == (15,)
    came = said(DUMPS, 1500, source="rank15.log", rank=15, enqueued="16", completed="15", pg="8", pg_desc="tp")
    assert arrived(*told, came, world=range(16)).culprits == ()


def test_a_dump_that_an_earlier_run_has_left_behind_does_not_count() -> None:
    told = [recorded(rank, 20, 9000, ranks="0-3") for rank in range(4) if rank != 2]
    assert arrived(*told, recorded(3, 5, 100, ranks="0-3", source="old/nccl_trace_rank_3")).culprits == (2,)
    assert arrived(*told, recorded(2, None, 8990, ranks="0-3")).stalls[0].silent == ()


# ---- what differs


def calls(*told: str) -> dict[str, str]:
    return {"called": " ".join(told)}


@pytest.mark.parametrize(
    ("odd", "usual"),
    [
        ("20=ALLGATHER:4>16:Float", "20=ALLREDUCE:4>4:Float"),
        ("20=ALLREDUCE:8>8:Float", "20=ALLREDUCE:4>4:Float"),
        ("20=ALLREDUCE:4>4:BFloat16", "20=ALLREDUCE:4>4:Float"),
        ("20=_ALLGATHER_BASE:4>256:Float", "20=_ALLGATHER_BASE:5>320:Float"),
    ],
)
def test_who_called_something_else_at_one_place_is_named(odd: str, usual: str) -> None:
    told = [recorded(rank, 20, **calls("19=ALLREDUCE:4>4:Float", odd if rank == 7 else usual)) for rank in range(64)]
    mismatch = arrived(*told).mismatch
    assert mismatch
    assert (mismatch.ranks, mismatch.seq, mismatch.usual_ranks) == ((7,), 20, 63)


@pytest.mark.parametrize("op", ["ALLTOALL_BASE", "GATHER", "SCATTER", "ALLGATHER", "COALESCED"])
def test_operations_in_which_ranks_may_differ_in_size_may_differ_in_size(op: str) -> None:
    told = [recorded(rank, 20, **calls(f"20={op}:{rank}>64:Float")) for rank in range(64)]
    assert arrived(*told).mismatch is None


def test_the_watchdogs_lines_show_a_mismatch_as_well() -> None:
    def line(rank: int) -> list[Signal]:
        first, second = watchdog(rank, 20)
        sizes = {"numel_in": "8" if rank == 2 else "4", "numel_out": "4"}
        return [first.model_copy(update={"captures": first.captures | sizes}), second]

    mismatch = arrived(*(signal for rank in range(8) for signal in line(rank))).mismatch
    assert mismatch
    assert (mismatch.ranks, mismatch.odd.elements_in, mismatch.usual.elements_in) == ((2,), 8, 4)


def test_a_timeout_that_may_be_of_either_of_two_groups_is_of_neither() -> None:
    def both(rank: int) -> list[Signal]:
        first, second = watchdog(rank, 20)
        sizes = {"numel_in": str(4 * (1 + rank % 2)), "numel_out": "4"}
        other = second.captures | {"pg": str(1 + rank), "pg_desc": "tp"}
        third = said(PROGRESS, 1500.2, line=5001, source=f"rank{rank}.log", rank=rank, **other)
        return [first.model_copy(update={"captures": first.captures | sizes}), second, third]

    assert arrived(*(signal for rank in range(4) for signal in both(rank))).mismatch is None


def test_the_same_number_in_different_groups_is_no_mismatch() -> None:
    tp = [recorded(r, 20, pg=str(1 + r), pg_desc="tp", ranks=str(r), **calls(f"20=OP{r}:1>1:Float")) for r in range(4)]
    assert arrived(*tp).mismatch is None


def test_a_mismatch_is_the_cause_and_the_timeouts_follow_from_it() -> None:
    usual, odd = "20=ALLREDUCE:4>4:Float", "20=ALLGATHER:4>16:Float"
    dumps = [recorded(rank, 20, 900, ranks="0-3", **calls(odd if rank == 3 else usual)) for rank in range(4)]
    timeouts = [signal for rank in range(4) for signal in watchdog(rank, 20)]
    found = failure(said(START, 0), said(STEP, 60, until=890), *dumps, *timeouts)
    assert (found.fault, found.culprit.rank) == ("software.user_code", 3)
    assert found.reasons[0] == (
        "rank 3 called ALLGATHER (4 elements in, 16 out, Float) as #20 of group default_pg, "
        "3 others ALLREDUCE (4 elements in, 4 out, Float)"
    )
    assert "comm.collective_timeout" in {symptom.fault for symptom in found.symptoms}


# ---- what a person reads


def run(absent: Collection[int], hosts: int = 4) -> list[Signal]:
    """Return the logs of ranks, eight on a host, that wait for others in vain."""
    world = 8 * hosts
    begun = [said(STEP, 60, until=890, source=f"rank{r}.log", rank=r, host=f"node{r // 8:02}") for r in range(world)]
    waiting = [rank for rank in range(world) if rank not in absent]
    told = [signal for rank in waiting for signal in watchdog(rank, 4711, at=1500)]
    return [said(START, 0), *begun, *told]


def test_ranks_of_one_host_are_blamed_on_the_host_in_words() -> None:
    found = failure(*run({12, 13}))
    assert (found.culprit.kind, found.culprit.host) == (Culprit.HOST, "node01")
    assert found.culprit.name == "ranks 12 and 13 on node01"
    assert found.reasons[0] == (
        "ranks 12 and 13 on node01 did not arrive at ALLREDUCE #4711 of group default_pg; "
        "30 others waited since 16:15:00 UTC"
    )


def test_ranks_that_wait_in_different_collectives_are_one_evidence() -> None:
    told = [signal for rank in range(8) for signal in watchdog(rank, 4711 + rank)]
    found = failure(said(START, 0), said(STEP, 60, until=890), *told)
    assert evidence(found, "c10d.watchdog-timeout").ranks == tuple(range(8))


def test_one_rank_is_blamed_as_a_rank() -> None:
    found = failure(*run({12}))
    assert (found.culprit.kind, found.culprit.rank, found.culprit.host) == (Culprit.RANK, 12, "node01")


def test_ranks_of_several_hosts_are_blamed_without_a_host() -> None:
    found = failure(*run({2, 12, 13}))
    assert (found.culprit.kind, found.culprit.rank, found.culprit.host) == (Culprit.RANK, None, None)
    assert found.culprit.name == "ranks 2, 12 and 13 on node00 and node01"


def test_a_cause_on_the_host_says_whom_the_others_waited_for() -> None:
    found = failure(*run({12}), said(FELL_OFF, 910, source="node01.kern", host="node01", pci="3b"))
    assert found.fault == "gpu.fallen_off_bus"
    assert "rank 12 on node01 did not arrive at ALLREDUCE #4711 of group default_pg" in found.reasons[0]


def test_dumps_alone_are_a_failure_with_a_culprit() -> None:
    found = failure(*(recorded(rank, None if rank == 12 else 20) for rank in range(64)))
    assert (found.fault, found.culprit.rank, found.severity) == ("comm.collective_timeout", 12, "error")


def test_dumps_do_not_change_why_a_run_failed() -> None:
    dumps = [recorded(rank, None if rank == 2 else 20, 905) for rank in range(64)]
    found = failure(said(START, 0), said(STEP, 60, until=900), *dumps, said("python.value-error", 910, rank=2))
    assert found.fault == "software.user_code"


def test_dumps_of_a_run_that_went_on_tell_of_no_failure() -> None:
    dumps = [recorded(rank, None if rank == 2 else 20, 300, ranks="0-3") for rank in range(4)]
    assert outcomes(said(START, 0), said(STEP, 60, until=2000), *dumps) == [Outcome.INCOMPLETE]


# ---- stacks


def stack(rank: int, *frames: str) -> Signal:
    return said(STACK, source=f"stacks/rank_{rank}.txt", rank=rank, stack=" < ".join(frames), line=1)


WAITING = ("all_reduce (c10d.py:2500)", "train_step (train.py:88)", "<module> (train.py:140)")
READING = ("read (data.py:31)", "train_step (train.py:70)", "<module> (train.py:140)")


@settings(max_examples=30)
@given(st.sets(st.integers(0, 15), min_size=1, max_size=7))
def test_the_few_whose_stacks_differ_are_the_suspects_of_a_hang(odd: set[int]) -> None:
    found = failure(*(stack(rank, *(READING if rank in odd else WAITING)) for rank in range(16)))
    assert (found.fault, found.signature) == ("training.hang", STACK)
    assert found.scope.ranks == tuple(sorted(odd))
    assert (
        f"were in read (data.py), {16 - len(odd)} others in all_reduce (c10d.py)" in found.reasons[0] or len(odd) == 1
    )


def test_stacks_name_the_culprit_of_a_timeout_in_which_nobody_stands_out() -> None:
    timeouts = [signal for rank in range(4) for signal in watchdog(rank, 4711)]
    stacks = [stack(rank, *(READING if rank == 2 else WAITING)) for rank in range(4)]
    found = failure(said(START, 0), said(STEP, 60, until=890), *timeouts, *stacks)
    assert (found.fault, found.culprit.rank) == ("comm.collective_timeout", 2)
    assert "rank 2 was in read (data.py), 3 others in all_reduce (c10d.py)" in found.reasons


def test_other_lines_of_the_same_code_are_the_same_place() -> None:
    assert not concluded(*(stack(rank, f"step (train.py:{rank})") for rank in range(16))).incidents


@pytest.mark.parametrize("odd", [0, 8])
def test_nobody_is_suspected_where_all_stacks_are_alike_or_half_of_them_differ(odd: int) -> None:
    told = [stack(rank, *(READING if rank < odd else WAITING)) for rank in range(16)]
    assert not concluded(*told).incidents
