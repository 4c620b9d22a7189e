"""Living through a simulation: what is told, at which tick, and what counts as soon enough."""

from functools import cache

import pytest

from relight.sim.living import TICK_S, Telling
from relight.sim.living_score import LiveScore, live_scores
from relight.sim.summary import shown, summed
from relight.sim.telling import told
from relight.sim.trials import Outcome, lived
from relight.sim.world import Options, World, simulated


@cache
def story(seed: int, scenario: str | None) -> tuple[World, list[Telling]]:
    world = simulated(Options(seed=seed, hosts=4, days=0.05, scenario=scenario, incidents=1 if scenario else 0))
    return world, lived(world)


def scored(seed: int, scenario: str | None) -> tuple[list[LiveScore], list[str]]:
    world, tellings = story(seed, scenario)
    scores, alarms = live_scores(world, told(world, [], 0, 0), tellings, "alone")
    return scores, [alarm.fault for alarm in alarms]


def test_what_a_kernel_says_is_told_at_the_next_tick_with_the_true_fault() -> None:
    (score,), alarms = scored(1, "gpu-off-bus")
    assert score.named_s is not None
    assert 0 <= score.named_s <= 3 * TICK_S
    assert alarms == []


def test_a_hang_is_told_long_before_the_collectives_time_out() -> None:
    (score,), _ = scored(2, "collective-deadlock")
    assert score.within_gap_goal


def test_nothing_is_told_of_a_healthy_run() -> None:
    assert scored(4, None) == ([], [])


def test_the_same_simulation_is_told_the_same() -> None:
    world, tellings = story(1, "gpu-off-bus")
    assert lived(world) == tellings


@pytest.mark.parametrize(
    ("opened_s", "within", "of_lines"), [(89.0, True, True), (91.0, False, True), (None, False, False)]
)
def test_a_hang_has_three_steps_and_a_minute(opened_s: float | None, within: bool, of_lines: bool) -> None:
    score = LiveScore(
        seed=1, scenario="s", variant="alone", fault="training.hang", opened_s=opened_s, hangs=True, step_s=10, gap_s=50
    )
    assert (score.within_goal, score.within_gap_goal) == (within, of_lines)


def test_what_was_never_told_is_shown() -> None:
    score = LiveScore(seed=7, scenario="gpu-off-bus", variant="alone", fault="gpu.fallen_off_bus")
    outcome = Outcome(seed=7, node_days=1, healthy=False, bytes=1, live=(score,))
    assert any("seed 7" in line and "not told" in line for line in shown(summed([outcome], live=True)))
