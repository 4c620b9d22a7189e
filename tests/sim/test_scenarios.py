"""Every scenario, played: its telling lines are there, its culprit too, and only what ought to ends the run."""

import re
from pathlib import Path

import pytest

from relight.sim.layouts import LAYOUTS
from relight.sim.noise import noises
from relight.sim.scenario import BadScenarios, Scenario, UnknownScenario, scenario, scenarios
from relight.sim.telling import write
from relight.sim.truth import Truth, read
from relight.sim.world import VARIANTS, Impossible, Options, simulated
from schemas.faults import fault_classes

each_scenario = pytest.mark.parametrize("one", scenarios().values(), ids=lambda one: str(one.name))


def played(out: Path, **options: object) -> Truth:
    return write(simulated(Options(**{"seed": 11, "hosts": 3, "days": 0.05, **options})), out)  # type: ignore[arg-type]


def shown(out: Path, truth: Truth, index: int = 0) -> list[str]:
    """Return the lines of the logs that the truth says tell of an incident."""
    incident = truth.incidents[index]
    lines = (incident.first_line, *incident.lines, *incident.survived)
    return [(out / "logs" / line.file).read_text().split("\n")[line.line - 1] for line in lines if line is not None]


Played = tuple[Scenario, Path, Truth]


@pytest.fixture(scope="module", params=scenarios().values(), ids=lambda one: str(one.name))
def play(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Played:
    out = tmp_path_factory.mktemp(request.param.name)
    return request.param, out, played(out, scenario=request.param.name, variant="precursor")


def test_the_truth_points_at_the_lines_that_tell_of_it(play: Played) -> None:
    one, out, truth = play
    (incident,) = truth.incidents
    told = [line.text for line in (incident.first_line, *incident.lines, *incident.survived) if line is not None]
    assert [text[:2000] for text in shown(out, truth)] == told
    assert (incident.first_line is None) == incident.silent == one.silent
    assert all(earlier.said <= later.said for earlier, later in zip(incident.lines, incident.lines[1:], strict=False))


def test_a_run_ends_as_its_scenario_says(play: Played) -> None:
    one, _, truth = play
    run = next(run for run in truth.runs if run.job == truth.incidents[0].run)
    expected = "cancelled" if one.cancels else "failed" if one.ends_run else "running"
    assert run.outcome == expected
    assert (run.ended is None) == (not one.ends_run)
    assert (truth.incidents[0].host is not None) == one.names_host
    assert truth.incidents[0].host in (None, *run.hosts)


def test_no_placeholder_is_left_and_no_line_is_broken(play: Played) -> None:
    _, out, _ = play
    text = "".join(path.read_text() for path in sorted((out / "logs").rglob("*")) if path.is_file())
    assert re.findall(r"\{[a-z_]+(?::[^{}\n ]*)?\}", text.replace("{mwait_idle_with_hints", "")) == []
    assert "\0" not in text


def test_another_faults_lines_that_did_no_harm_stand_before_the_fault(tmp_path: Path) -> None:
    (incident,) = played(tmp_path, scenario="gpu-off-bus", variant="distraction", days=0.3).incidents
    assert incident.survived
    assert {line.text for line in incident.survived}.isdisjoint(line.text for line in incident.lines)


@each_scenario
def test_a_scenario_names_known_faults_and_where_it_is_documented(one: Scenario) -> None:
    assert {one.fault, *one.also} <= set(fault_classes())
    assert one.fault not in one.also
    assert all(source.strip() for source in one.sources)
    assert one.special


def test_there_are_more_than_fifty_scenarios_of_more_than_thirty_faults() -> None:
    assert len(scenarios()) > 50
    assert len({one.fault for one in scenarios().values()}) > 30


def test_a_name_that_is_almost_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(UnknownScenario, match="Did you mean gpu-off-bus"):
        scenario("gpu-of-bus")


def test_more_incidents_than_hosts_are_refused() -> None:
    with pytest.raises(Impossible, match="ask for more --hosts"):
        simulated(Options(seed=1, hosts=2, incidents=3))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_comes_up(name: str, tmp_path: Path) -> None:
    found = set()
    for seed in range(40):
        found.add(simulated(Options(seed=seed, hosts=1, days=0.02, incidents=0, noise=0)).layout.name)
    assert name in found


def test_noise_that_nobody_would_call_a_fault_is_there_everywhere() -> None:
    assert set(noises()) == {"host", "site", "start", "job"}
    assert all(noise.per_day > 0 for each in noises().values() for noise in each)


def test_a_healthy_site_has_no_incident_and_its_runs_end_well_or_go_on(tmp_path: Path) -> None:
    truth = played(tmp_path, incidents=0, hosts=16)
    assert truth.incidents == ()
    assert {run.outcome for run in truth.runs} <= {"succeeded", "running"}


def test_two_incidents_befall_two_jobs(tmp_path: Path) -> None:
    truth = played(tmp_path, incidents=2, hosts=8)
    assert len({incident.run for incident in truth.incidents}) == len(truth.runs) == 2


def test_a_precursor_is_survived_well_before_the_fault(tmp_path: Path) -> None:
    truth = played(tmp_path, scenario="gpu-off-bus", variant="precursor", days=0.3)
    (incident,) = truth.incidents
    assert incident.survived
    assert all(line.said < incident.happened for line in incident.survived)


def test_the_truth_can_be_read_back(tmp_path: Path) -> None:
    assert played(tmp_path, scenario="gpu-off-bus") == read(tmp_path / "truth.json")


def test_the_variants_are_those_that_the_command_offers() -> None:
    from relight.commands.sim import write as command

    (option,) = (option for option in command.params if option.name == "variant")
    assert tuple(option.type.choices) == VARIANTS  # type: ignore[attr-defined]


def test_a_folder_of_scenarios_is_played_instead_of_relights_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    truth = played(tmp_path / "out", scenarios=tmp_path, hosts=2)
    assert [one.scenario for one in truth.incidents] == ["fan-stopped"]
    assert "Fan 3 stopped" in (truth.incidents[0].first_line or pytest.fail("it was said")).text


@pytest.mark.parametrize("text", ["", "- {name: x}\n", "{", "- 7\n"])
def test_a_folder_without_readable_scenarios_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadScenarios, match="holds no scenarios") as raised:
        scenarios(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


OWN = """
- name: fan-stopped
  fault: gpu.thermal_power
  culprit: host
  special: a fan
  sources: [the manual]
  lines:
    - {by: kernel, says: true, level: 3, text: "Fan 3 stopped"}
  spread: {kind: crash}
"""
