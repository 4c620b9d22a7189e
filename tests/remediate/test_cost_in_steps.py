"""What a failure has cost in steps goes from the incident's resolution to the command that brought it about."""

from schemas.history import IncidentResolved
from schemas.remedy import CommandState
from tests.remediate.stories import notify, rung
from tests.remediate.world import world


def test_a_command_that_has_helped_tells_how_many_steps_were_lost() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.happen("one", IncidentResolved(reason="attempt 2 made progress", lost_steps=8))
    w.tick(10)
    assert w.cases.cases["one"].history.lost_steps == 8
    assert (w.last().state, w.last().lost_steps) == (CommandState.EFFECTIVE, 8)


def test_where_nobody_knows_the_steps_nothing_is_told() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.resolves("one")
    w.tick(10)
    assert (w.last().state, w.last().lost_steps) == (CommandState.EFFECTIVE, None)
