"""What comes late, and what nobody has thought of: it is heard, and stops nothing."""

from schemas.command import Matcher, OutcomeStatus, RequestKind
from schemas.remedy import CommandState, Guard
from tests.remediate.stories import notify, rung
from tests.remediate.world import FREE, world

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
TWO = (rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())


def test_a_command_that_was_taken_for_lost_and_was_begun_is_under_way_again() -> None:
    w = world(*TWO)
    w.fails()
    w.tick()
    first = w.last().id
    w.now_s += w.policy.start_s + 10 * MINUTE_S
    w.report(first, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick()
    assert w.cases.commands[first].state is CommandState.STARTED
    assert w.actions() == ["restart_job"]


def test_what_is_heard_of_a_command_after_the_next_one_is_under_way_does_not_count_twice() -> None:
    w = world(*TWO)
    w.fails()
    w.tick()
    first = w.last().id
    w.tick(w.policy.start_s + 2 * MINUTE_S)
    assert w.actions() == ["restart_job", "restart_process"]
    w.report(first, OutcomeStatus.STARTED)
    w.tick()
    assert w.cases.commands[first].state is CommandState.INEFFECTIVE


def test_a_host_that_was_drained_late_counts_for_the_breaker() -> None:
    policy = FREE.model_copy(update={"hosts_out": 1})
    w = world(rung("cordon_node", timeout="30m"), notify(), policy=policy)
    w.fails("one", job=None, host="node1")
    w.tick()
    first = w.last().id
    w.tick(w.policy.start_s + 2 * MINUTE_S)
    assert w.cases.commands[first].state is CommandState.INEFFECTIVE
    w.report(first, OutcomeStatus.SUCCEEDED)
    w.tick()
    w.fails("two", job=None, host="node2")
    w.tick()
    assert list(w.cases.ledger.out) == ["node1"]
    assert w.deeds() == ["cordon_node"]


def test_who_has_not_taken_a_command_does_not_end_it() -> None:
    w = world(*TWO)
    w.fails()
    w.tick()
    first = w.last().id
    w.report(first, OutcomeStatus.REJECTED, reason="not my rack")
    w.tick(1)
    assert w.deeds() == ["restart_job"], "another may take it"
    w.report(first, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.SUCCEEDED)
    w.tick(1)
    assert w.cases.commands[first].state is CommandState.SUCCEEDED


def test_what_dry_run_held_back_for_days_is_not_issued_when_it_is_turned_off() -> None:
    w = world(*TWO, policy=FREE.model_copy(update={"dry_run": True}))
    w.fails()
    w.tick()
    w.tick(14 * DAY_S)
    w.adopt(dry_run=False)
    w.tick(times=3)
    assert w.actions() == []
    assert w.guard() is Guard.STALE


def test_an_approval_of_days_ago_is_asked_for_again() -> None:
    w = world(rung("restart_job", timeout="30m", approval="always"), notify())
    w.fails()
    w.tick()
    w.ask(RequestKind.PAUSE)
    w.ask(RequestKind.APPROVE, command=w.last("restart_job").id)
    w.tick()
    w.tick(5 * DAY_S)
    w.ask(RequestKind.RESUME)
    w.tick(times=3)
    assert "restart_job" not in w.actions()
    assert w.last("restart_job").approved_by is None


def test_later_steps_are_not_stale_because_the_first_ones_took_their_time() -> None:
    w = world(rung("restart_job", timeout="50m"), rung("restart_process", timeout="50m"), notify())
    w.fails()
    w.tick()
    for _ in range(2):
        w.succeed(w.last().id)
        w.tick()
        w.tick(50 * MINUTE_S)
    assert w.actions() == ["restart_job", "restart_process", "notify"]


def test_the_name_of_a_job_may_come_back_and_is_counted_from_one_again() -> None:
    w = world(*TWO)
    w.fails("old", job="llama", attempt=4, opened_s=w.now_s)
    w.tick()
    w.resolves("old")
    w.tick(20 * DAY_S)
    w.fails("new", job="llama", attempt=1, opened_s=w.now_s)
    w.tick(1)
    assert w.actions("new") == ["restart_job"]


def test_an_action_on_more_hosts_than_may_ever_be_out_is_passed_over() -> None:
    policy = FREE.model_copy(update={"hosts_out": 3})
    ladder = (
        rung("restart_job_excluding_hosts", timeout="30m", on="scope"),
        rung("restart_job", timeout="30m"),
        notify(),
    )
    w = world(*ladder, policy=policy)
    w.fails(hosts=("a", "b", "c", "d"))
    w.tick()
    assert w.actions() == ["restart_job"]
    assert w.cases.breaker_s is None


def test_the_longest_reason_that_a_person_may_give_stops_nothing() -> None:
    w = world(*TWO)
    w.ask(RequestKind.PAUSE, reason="x" * 2000)
    w.fails()
    w.tick()
    assert w.guard() is Guard.PAUSE


def test_a_silence_that_makes_no_sense_is_quiet() -> None:
    w = world(*TWO)
    w.ask(RequestKind.SILENCE, matchers=(Matcher(label="host", operator="=~", value="(?!node)"),))
    w.fails()
    w.tick()
    assert w.guard() is Guard.SILENCE


def test_a_name_that_no_command_may_hold_is_left_out_of_what_is_collected() -> None:
    w = world(rung("drain_node", timeout="30m", approval="never"), notify())
    w.fails(job="-x\n$(id)", host="-oProxyCommand=x")
    w.tick(times=3)
    assert w.deeds() == []


def test_a_silence_of_any_host_that_is_touched_holds() -> None:
    w = world(rung("restart_job_excluding_hosts", timeout="30m", on="scope"), notify())
    w.ask(RequestKind.SILENCE, matchers=(Matcher(label="host", value="node04"),))
    w.fails(hosts=("node03", "node04"))
    w.tick()
    assert w.guard() is Guard.SILENCE
