"""Strangers: who differs from the peers of its job is named, by numbers that no line calls a fault."""

import io

import pytest
from living import Living
from made import BEGIN_S, START, STEP, concluded, read, said
from reading import SOURCE, folded
from test_silence import stepping

from diagnose.matching.scanner import Scanner
from ingest.chunks import chunks
from ingest.decode import decoder_for
from schemas.events import decoded
from schemas.history import IncidentResolved
from schemas.incident import Incident
from schemas.signal import Level, SourceRead


def level(value: float, at: float = 200, detector: str = "detect.straggler", **place: object) -> Level:
    metric = "gpu_sm_clock_hz" if detector == "detect.slow-gpu" else "step_time_s"
    return Level.model_validate(
        {"detector": detector, "metric": metric, "value": value, "time_s": BEGIN_S + at, "points": 16} | place
    )


def ranks(values: list[float], at: float = 200) -> tuple[list[SourceRead], list[object]]:
    """Return ranks that train, each on a host of its own, with how long their steps take."""
    sources, signals = [], []
    for number, value in enumerate(values):
        name = f"node{number:02}:train.log"
        own = stepping(200, name, rank=number)
        signals += own
        sources.append(read(name, own, rank=number, levels=(level(value, at, rank=number, host=f"node{number:02}"),)))
    return sources, signals


def degraded(values: list[float], at: float = 200) -> list[Incident]:
    sources, signals = ranks(values, at)
    found = concluded(*signals, sources=sources).incidents  # type: ignore[arg-type]
    return [i for i in found if i.impact == "degraded" and i.signature]


def test_a_rank_that_takes_twice_as_long_as_its_peers_holds_them_back() -> None:
    (found,) = degraded([1.0, 1.01, 0.99, 1.02, 2.1, 0.98, 1.0, 1.01])
    assert (found.fault, found.culprit.host) == ("training.straggler", "node04")
    assert found.first_cause is not None
    assert found.first_cause.text == "step_time_s is 2.1, where the median of 7 peers is 1.005"


def test_peers_that_are_alike_are_left_alone() -> None:
    assert degraded([1.0, 1.1, 0.9, 1.05, 1.15, 0.95]) == []
    assert degraded([1.0, 1.0, 9.0]) == [], "too few to know what is usual"


def test_what_was_measured_long_ago_says_nothing_of_now() -> None:
    sources, signals = ranks([1.0, 1.01, 0.99, 1.02, 1.0, 0.98])
    old = sources[0].model_copy(update={"levels": (level(5.0, at=-1000, rank=0, host="node00"),)})
    found = concluded(*signals, sources=[old, *sources[1:]]).incidents  # type: ignore[arg-type]
    assert [i for i in found if i.signature] == []


def waiting(loading: list[float], step_s: float) -> list[str]:
    """Return what is found where ranks wait for their batches for some times, and all compute for the same time."""
    sources, signals = ranks([step_s] * len(loading))
    for at, (source, wait_s) in enumerate(zip(sources, loading, strict=True)):
        wait = source.levels[0].model_copy(update={"metric": "data_time_s", "value": wait_s})
        sources[at] = source.model_copy(update={"levels": (*source.levels, wait)})
    return [i.fault for i in concluded(*signals, sources=sources).incidents if i.signature]  # type: ignore[arg-type]


def test_a_rank_that_waits_for_its_batches_holds_the_others_back_only_if_it_is_long_for_a_step() -> None:
    loading = [0.0001, 0.0001, 0.0001, 0.0001, 0.0009]
    assert waiting(loading, step_s=0.1) == []
    assert waiting([1000 * wait_s for wait_s in loading], step_s=0.1) == ["training.straggler"]


def test_what_was_measured_a_few_times_only_is_not_compared() -> None:
    sources, signals = ranks([1.0, 1.01, 0.99, 1.02, 2.1])
    few = [s.model_copy(update={"levels": (s.levels[0].model_copy(update={"points": 7}),)}) for s in sources]
    found = concluded(*signals, sources=few).incidents  # type: ignore[arg-type]
    assert [i for i in found if i.signature] == []


def test_a_rank_that_stays_slow_is_said_once_and_when_it_is_no_more() -> None:
    living = Living()
    told: list[list[str]] = []
    for at, slow in ((100, 2.0), (101, 2.1), (102, 2.2), (140, 2.3), (141, 2.4), (142, 1.0)):
        for number, value in enumerate([1.0, 1.01, 0.99, slow]):
            name = f"node{number:02}:train.log"
            own = said(STEP, 1, until=at, count=at, source=name, host=f"node{number:02}", rank=number, job="7")
            levels = (level(value, at, rank=number, host=f"node{number:02}"),)
            living.learn(own, read(name, [own], rank=number, job="7", levels=levels))
        told.append(living.tick(at))
    assert told[0] == ["incident.opened", "evidence.added", "diagnosis.revised"]
    assert told[1:3] == [[], []]
    assert told[3][-1] == "diagnosis.settled"
    assert told[4:] == [[], ["incident.resolved"]]
    data = decoded(living.said[-1]).data
    assert isinstance(data, IncidentResolved)
    assert data.reason == "its numbers are those of its peers again"


def test_a_gpu_that_runs_slower_than_all_others_of_its_job_is_named() -> None:
    own = stepping(200)
    gpus = tuple(
        level(0.345e9 if gpu == 5 else 1.755e9 + gpu * 1e6, detector="detect.slow-gpu", host="gpu-03", gpu=gpu)
        for gpu in range(8)
    )
    sources = [read("gpu-03:train.log", own), read("gpu-03:smi.csv", host="gpu-03", levels=gpus, lines=9)]
    found = concluded(*own, sources=sources).incidents
    assert [(i.fault, i.culprit.kind, i.culprit.gpu) for i in found if i.signature] == [
        ("gpu.thermal_power", "gpu", "5")
    ]


def test_numbers_without_a_word_go_to_the_run_that_was_on_their_host_then() -> None:
    living = Living()
    own = [said(START, 0, source="gpu-03:train.log", host="gpu-03", job="7")]
    own.append(said(STEP, 10, until=400, count=20, source="gpu-03:train.log", host="gpu-03", job="7"))
    gpus = tuple(
        level(0.3e9 if n == 5 else 1.7e9, 390, detector="detect.slow-gpu", host="gpu-03", gpu=n) for n in range(8)
    )
    living.learn(read("gpu-03:smi.csv", host="gpu-03", levels=gpus, lines=9, last_s=BEGIN_S + 390))
    living.story(*own, at=400)
    (found,) = [i for i in living.incidents() if i.diagnosed]
    assert found.opened is not None
    assert found.opened.job == "7"
    assert found.diagnosed is not None
    assert (found.diagnosed.diagnosis.fault, found.diagnosed.impact) == ("gpu.thermal_power", "degraded")


@pytest.mark.parametrize("slow", [3, None])
def test_the_levels_of_a_source_are_the_medians_of_its_last_points(scanner: Scanner, slow: int | None) -> None:
    lines = [
        f"2026-05-12T03:{at // 60:02}:{at % 60:02}.000Z metric of=gpu host=node07 gpu={gpu} "
        f"gpu_sm_clock_hz={345000000 if gpu == slow else 1755000000}\n"
        for at in range(0, 1800, 10)
        for gpu in range(8)
    ]
    data = "".join(lines).encode()
    decoder = decoder_for(SOURCE, data[:65536])
    fold, _ = folded(scanner, chunks(io.BytesIO(data)), decoder)
    fold.measure()
    told = {one.gpu: one.value for one in fold.measuring.levels() if one.detector == "detect.slow-gpu"}
    assert {gpu for gpu, value in told.items() if value < 1e9} == ({slow} if slow is not None else set())
