"""An attempt may fail before it is known how the command that began it ended: the ladder is climbed all the same."""

from remediate.keeping import kept, restored
from schemas.command import OutcomeStatus
from tests.remediate.stories import notify, rung
from tests.remediate.world import World, world


def failing_again_at_once(*, attempt: int) -> World:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    command = w.last().id
    w.report(command, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick(1)
    w.resolves("one")
    w.fails("two", attempt=attempt, settled=False, opened_s=w.now_s)
    w.tick()
    w.report(command, OutcomeStatus.FAILED, reason="it ended at once")
    w.tick(1)
    return w


def test_an_attempt_that_fails_before_its_command_has_ended_gets_the_next_rung() -> None:
    w = failing_again_at_once(attempt=2)
    w.revises("two")
    w.tick(1)
    assert w.actions() == ["restart_job", "restart_process"]


def test_so_it_is_after_a_crash() -> None:
    w = failing_again_at_once(attempt=2)
    w.cases = restored(kept(w.cases))
    w.cases.look_at_all()
    w.revises("two")
    w.tick(1)
    assert w.actions() == ["restart_job", "restart_process"]


def test_what_happened_to_the_same_attempt_has_used_up_nothing() -> None:
    w = failing_again_at_once(attempt=1)
    w.revises("two")
    w.tick(1)
    assert w.actions() == ["restart_job", "restart_job"]
