"""The closed loop, with nothing made up: a training program, faults injected from outside, relight as it is started.

The job has to come to exactly the weights of a run that nothing interrupts.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from demo.faults import FAULTS, Fault, NotHere, disk
from demo.loop import Told, tried
from demo.stand import STAGE_BY_STAGE, Stand
from schemas.history import State
from schemas.remedy import CommandState
from tests.servers.kafka_server import KafkaServer

BY_NAME = {fault.name: fault for fault in FAULTS}


def mended(fault: Fault, folder: Path, kafka: str | None = None) -> tuple[Told, Stand]:
    told = tried(fault, folder, kafka)
    assert told.mended, told
    return told, Stand(folder / fault.name, kafka, STAGE_BY_STAGE)


def steps_done_again(stand: Stand) -> int:
    """Return how many steps were logged by an attempt and again by a later one."""
    logged = [[step.number for step in stand.steps(number)] for number in range(1, stand.attempts + 1)]
    began = [steps for steps in logged if steps]
    return sum(max(0, before[-1] - (after[0] - 1)) for before, after in pairwise(began))


@pytest.mark.parametrize("name", ["kill", "nan", "corrupt"])
def test_a_fault_is_mended_on_the_embedded_log(name: str, tmp_path: Path) -> None:
    told, stand = mended(BY_NAME[name], tmp_path)
    assert told.lost_steps == steps_done_again(stand)
    cases = stand.happened()
    assert {case.history.state for case in cases.cases.values()} == {State.RESOLVED}
    (*_, last) = [one for one in cases.commands.values() if one.plan and one.plan.action.kind != "notify"]
    assert last.state is CommandState.EFFECTIVE
    assert last.recovery_s is not None


@pytest.mark.kafka
@pytest.mark.parametrize("name", ["kill", "nan"])
def test_a_fault_is_mended_on_kafka_with_keys_of_ones_own(name: str, fresh_kafka: KafkaServer, tmp_path: Path) -> None:
    told, stand = mended(BY_NAME[name], tmp_path, fresh_kafka.address)
    assert told.lost_steps == steps_done_again(stand)
    assert {path.stat().st_mode & 0o777 for path in (stand.folder / "keys").iterdir()} == {0o600}


def test_a_disk_that_cannot_be_mounted_is_not_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NotHere, match="only root"), disk(tmp_path / "disk"):
        pass
    told = tried(BY_NAME["disk"], tmp_path)
    assert (told.skipped, told.mended) == (True, False)
    assert "only root" in told.why
