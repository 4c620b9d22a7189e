"""Jobs: which sources tell of one run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import BEGIN_S, FELL_OFF, START, STEP, USER_ERROR, WORKER_FAILED, concluded, read, said

from diagnose.correlation.grouping import Grouping
from schemas.signal import Signal, SourceRead


def run_in(source: str, begin: float = 0, **fields: str) -> list[Signal]:
    """Return a run that starts, advances and breaks within 500 s, as one source tells it."""
    return [
        said(START, begin, source=source, **fields),
        said(STEP, begin + 60, until=begin + 400, source=source, **fields),
        said(USER_ERROR, begin + 500, source=source, **fields),
    ]


def grouped(*stories: list[Signal], more: tuple[SourceRead, ...] = (), by: Grouping = Grouping.AUTO) -> list[list[str]]:
    """Return the sources of each run."""
    signals = [signal for story in stories for signal in story]
    sources = [read(name, signals) for name in dict.fromkeys(s.source for s in signals)]
    return [
        [lane.source for lane in run.lanes] for run in concluded(*signals, sources=[*sources, *more], grouping=by).runs
    ]


def test_files_of_two_job_ids_are_two_runs() -> None:
    assert grouped(run_in("a.log", job="7"), run_in("b.log", job="8"), run_in("c.log", job="7")) == [
        ["a.log", "c.log"],
        ["b.log"],
    ]


def test_a_file_without_a_job_id_belongs_to_the_only_job_there_is() -> None:
    assert grouped(run_in("a.log", job="7"), run_in("notes.log")) == [["a.log", "notes.log"]]


def test_a_run_is_called_by_its_job_id() -> None:
    sources = [read("slurm-7.out", run_in("slurm-7.out"), job="7")]
    (run,) = concluded(*run_in("slurm-7.out"), sources=sources).runs
    assert run.name == "job 7"


@pytest.mark.parametrize(
    "names", [("gpu-01/app.log", "gpu-02/app.log"), ("rank0.log", "rank1.log"), ("0.log", "1.log")]
)
def test_files_of_hosts_or_ranks_at_the_same_time_are_one_run(names: tuple[str, str]) -> None:
    assert grouped(*(run_in(name) for name in names)) == [sorted(names)]


def test_runs_one_after_the_other_are_several_runs() -> None:
    results = [run_in(f"result_{n}.txt", begin=1000 * n) for n in range(10)]
    assert grouped(*results) == [[f"result_{n}.txt"] for n in range(10)]


def test_files_of_different_names_that_start_at_different_times_are_several_runs() -> None:
    assert grouped(run_in("pretrain.log"), run_in("evaluate.log", begin=9000)) == [["evaluate.log"], ["pretrain.log"]]


def test_a_log_of_the_kernel_belongs_to_the_run_it_shares_most_time_with() -> None:
    kernel = [said(FELL_OFF, 1450, source="kern.log", host="gpu-01", pci="3b")]
    assert grouped(run_in("result_0.txt"), run_in("result_1.txt", begin=1000), kernel) == [
        ["kern.log", "result_1.txt"],
        ["result_0.txt"],
    ]


def test_without_any_start_all_files_are_one_run() -> None:
    assert grouped([said(USER_ERROR, 0, source="a.log")], [said(WORKER_FAILED, 9000, source="b.log")]) == [
        ["a.log", "b.log"]
    ]


def test_every_file_is_a_run_if_a_person_says_so() -> None:
    assert grouped(run_in("rank0.log"), run_in("rank1.log"), by=Grouping.FILE) == [["rank0.log"], ["rank1.log"]]


def test_every_directory_is_a_run_if_a_person_says_so() -> None:
    stories = [run_in("one/a.log"), run_in("two/a.log"), run_in("one/b.log")]
    assert grouped(*stories, by=Grouping.DIR) == [["one/a.log", "one/b.log"], ["two/a.log"]]


def test_everything_is_one_run_if_a_person_says_so() -> None:
    assert grouped(run_in("a.log", job="7"), run_in("b.log", begin=9000, job="8"), by=Grouping.ALL) == [
        ["a.log", "b.log"]
    ]


@given(
    st.lists(
        st.sampled_from(["rank0.log", "result_1.txt", "gpu-01/kern.log", "x/notes.txt", "slurm-7.out"]), unique=True
    ),
    st.integers(0, 3),
    st.sampled_from(list(Grouping)),
)
def test_every_source_is_in_one_run_and_no_other(names: list[str], apart: int, by: Grouping) -> None:
    stories = [run_in(name, begin=500 * apart * n) for n, name in enumerate(names)]
    quiet = (read("empty.log"), read("other/quiet.log", first_s=BEGIN_S, last_s=BEGIN_S))
    runs = grouped(*stories, more=quiet, by=by)
    assert sorted(source for run in runs for source in run) == sorted([*names, "empty.log", "other/quiet.log"])
    assert all(run for run in runs)


def test_each_rank_of_a_run_has_a_lane_with_its_times() -> None:
    (run,) = concluded(*run_in("rank0.log", rank=0), *run_in("rank1.log", begin=1, rank=1)).runs
    assert [(lane.ended - lane.started).total_seconds() for lane in run.lanes] == [500, 500]
    assert all(lane.started < lane.progressed_from <= lane.progressed_to < lane.ended for lane in run.lanes)
    assert run.ranks == 2


LOST = "slurm.node-failure"


def test_what_a_schedulers_log_says_of_another_job_is_no_part_of_this_run() -> None:
    other = [said(LOST, 300, source="slurmctld.log", job="8"), said(START, 310, source="slurmctld.log", job="9")]
    runs = concluded(*run_in("slurm-7.out", job="7")[:2], *other).runs
    assert [(run.name, str(run.outcome)) for run in runs] == [
        ("slurm-7.out and 1 more", "incomplete"),
        ("job 8", "failed"),
    ]


def test_what_a_schedulers_log_says_of_a_job_is_part_of_its_run() -> None:
    told = [said(LOST, 450, source="slurmctld.log", job="7"), said(START, 310, source="slurmctld.log", job="9")]
    (run,) = concluded(*run_in("slurm-7.out", job="7")[:2], *told).runs
    assert run.outcome == "failed"


def test_a_run_stays_together_whichever_jobs_its_own_log_names() -> None:
    named = [said(START, 1, source="job.log", job="6"), said(LOST, 480, source="job.log", job="7")]
    (run,) = concluded(*run_in("job.log"), *named).runs
    assert run.outcome == "failed"


def test_where_several_jobs_run_the_log_of_a_host_belongs_to_the_one_that_was_there() -> None:
    here, there = run_in("slurm-7.out", job="7", host="gpu-01"), run_in("slurm-8.out", job="8", host="gpu-02")
    kernel = [said(FELL_OFF, 450, source="kern.log", host="gpu-02", pci="3b")]
    assert grouped(here, there, kernel) == [["slurm-7.out"], ["slurm-8.out", "kern.log"]]


def test_incidents_come_with_the_worst_impact_first() -> None:
    cut_off, failed = run_in("result_0.txt")[:2], run_in("result_1.txt", begin=1000)
    impacts = [i.impact.value for i in concluded(*cut_off, *failed).incidents]
    assert impacts == ["failed", "none"]
