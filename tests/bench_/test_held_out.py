"""The scenarios of `bench/scenarios`: they load, are of many sorts, and their truths point at lines that are there."""

import re
from pathlib import Path

import pytest

from relight.sim.scenario import scenarios
from relight.sim.telling import write
from relight.sim.truth import TrueLine, Truth
from relight.sim.world import Options, simulated

FOLDER = Path(__file__).parents[2] / "bench" / "scenarios"
NAMES = sorted(scenarios(FOLDER))
PLACEHOLDER = re.compile(r"\{[a-z_]+(?::[^}{\"]*)?\}")


def played(name: str, out: Path, variant: str = "precursor") -> Truth:
    """Play a scenario on three hosts for two hours and a half, and return its truth."""
    options = Options(seed=11, hosts=3, days=0.1, scenario=name, scenarios=FOLDER, variant=variant, noise=0.2)
    return write(simulated(options), out)


def there(out: Path, line: TrueLine) -> bool:
    """Tell whether a line stands where the truth says."""
    lines = (out / "logs" / line.file).read_text("utf-8").split("\n")
    return lines[line.line - 1][: len(line.text)] == line.text


def test_there_are_at_least_fifty_of_at_least_thirty_five_fault_classes() -> None:
    assert len(NAMES) >= 50
    assert len({scenario.fault for scenario in scenarios(FOLDER).values()}) >= 35


def test_a_class_that_can_be_defended_is_another_than_the_right_one() -> None:
    assert all(scenario.fault not in scenario.also for scenario in scenarios(FOLDER).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_truth_points_at_lines_that_are_there(name: str, tmp_path: Path) -> None:
    (incident,) = played(name, tmp_path).incidents
    known = scenarios(FOLDER)[name]
    assert (incident.fault, incident.silent) == (known.fault, known.silent)
    assert bool(incident.lines) is not known.silent
    assert bool(incident.survived) is any(said.says for said in known.precursor)
    assert (incident.host is not None) is known.names_host
    for line in (*incident.lines, *incident.survived):
        assert there(tmp_path, line)
        assert not PLACEHOLDER.search(line.text)


def test_a_scenario_plays_the_same_again(tmp_path: Path) -> None:
    first, second = (played(NAMES[0], tmp_path / name, "alone") for name in ("one", "two"))
    assert first == second
