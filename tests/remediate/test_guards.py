"""Guards: each holds commands back for a reason that is recorded, and lets them go when that is over."""

from datetime import UTC, datetime, time

import pytest

from schemas.command import Matcher, OutcomeStatus, RequestKind
from schemas.policy import Maintenance, Policy
from schemas.remedy import BreakerClosed, BreakerOpened, CommandState, Guard
from tests.remediate.stories import START_S, notify, rung
from tests.remediate.world import FREE, World, world

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
RESTART = (rung("restart_job", timeout="30m"), notify())
CORDON = (rung("cordon_node", timeout="30m"), notify())
DRAIN = (rung("drain_node", timeout="30m"), notify())


def allowing(**changes: object) -> Policy:
    return FREE.model_copy(update=changes)


def cordons(w: World, hosts: int, first: int = 0, *, succeed: bool = True) -> None:
    """So many hosts without a job fail, each with a fault of its own."""
    for number in range(first, first + hosts):
        w.fails(f"n{number}", job=None, host=f"node{number:03d}")
    w.tick()
    for command in w.commands if succeed else ():
        if command.state is CommandState.ISSUED:
            w.succeed(command.id)
    w.tick()


def test_dry_run_is_the_default_plans_everything_and_issues_nothing() -> None:
    w = world(*RESTART, policy=Policy())
    w.fails()
    w.tick(times=3)
    assert w.guard() is Guard.DRY_RUN
    assert w.actions() == []
    w.adopt(dry_run=False)
    w.tick()
    assert w.actions() == ["restart_job"]


def test_a_pause_holds_everything_back_but_what_people_are_told() -> None:
    w = world(*RESTART)
    w.ask(RequestKind.PAUSE, reason="an upgrade")
    w.fails()
    w.tick(HOUR_S)
    assert w.guard() is Guard.PAUSE
    assert w.last().blocked is not None
    assert w.last().blocked.reason == "ann has paused remediation: an upgrade"
    w.ask(RequestKind.RESUME)
    w.tick()
    assert w.actions() == ["restart_job"]


def test_a_pause_of_all_clusters_holds_and_ends_by_itself() -> None:
    w = world(*RESTART)
    w.ask(RequestKind.PAUSE, cluster=None, until_s=w.now_s + HOUR_S)
    w.fails()
    w.tick(59 * MINUTE_S)
    assert w.guard() is Guard.PAUSE
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job"]


def test_a_silence_holds_back_what_matches_all_of_it() -> None:
    w = world(*RESTART)
    matchers = (Matcher(label="job", value="48211"), Matcher(label="fault", operator="=~", value="gpu[.].*"))
    name = w.ask(RequestKind.SILENCE, matchers=matchers)
    w.fails("one")
    w.fails("two", job="other")
    w.tick()
    assert w.actions("one") == []
    assert w.actions("two") == ["restart_job"]
    assert Guard.SILENCE in w.blocks()
    w.ask(RequestKind.UNSILENCE, silence=name)
    w.tick()
    assert w.actions("one") == ["restart_job"]


def test_maintenance_holds_back_what_is_done_to_its_hosts_until_it_is_over() -> None:
    begins = datetime.fromtimestamp(START_S, UTC)
    once = Maintenance(
        name="cooling", begins=begins, ends=datetime.fromtimestamp(START_S + HOUR_S, UTC), hosts=("node03",)
    )
    w = world(*CORDON, policy=allowing(maintenance=(once,)))
    w.fails("one", job=None)
    w.fails("two", job=None, host="node09")
    w.tick()
    assert w.actions("one") == []
    assert w.actions("two") == ["cordon_node"]
    w.tick(HOUR_S)
    assert w.actions("one") == ["cordon_node"]


def test_weekly_maintenance_lasts_into_the_next_day() -> None:
    monday = Maintenance(name="weekly", days=(0,), since=time(23), until=time(1))
    w = world(*CORDON, policy=allowing(maintenance=(monday,)))
    w.now_s = datetime(2026, 5, 12, 0, 30, tzinfo=UTC).timestamp()  # Tuesday
    w.fails("one", job=None, opened_s=w.now_s)
    w.tick()
    assert w.guard() is Guard.MAINTENANCE
    w.tick(HOUR_S / 2)
    assert w.actions() == ["cordon_node"]


def test_an_approval_is_asked_for_once_and_waited_for() -> None:
    w = world(*DRAIN)
    w.fails(job=None)
    w.tick()
    w.succeed(w.last("collect_diagnostics").id)
    w.tick(HOUR_S, times=5)
    drain = w.last("drain_node")
    assert drain.blocked is not None
    assert drain.blocked.guard is Guard.APPROVAL
    assert w.actions().count("notify") == 1
    assert f"relight commands approve {drain.id}" in (w.last("notify").plan.why if w.last("notify").plan else "")
    w.ask(RequestKind.APPROVE, command=drain.id)
    w.tick()
    assert w.actions()[-1] == "drain_node"
    assert w.cases.commands[drain.id].approved_by == "ann"


def test_an_approval_is_for_one_command_and_not_for_what_a_revised_diagnosis_asks_for() -> None:
    w = world(*DRAIN)
    w.fails(job=None)
    w.tick()
    w.succeed(w.last("collect_diagnostics").id)
    w.tick()
    first = w.last("drain_node").id
    w.ask(RequestKind.APPROVE, command=first)
    w.revises("one", job=None, host="node09")
    w.tick()
    assert w.cases.commands[first].state is CommandState.CANCELLED
    assert w.last("drain_node").state is CommandState.PLANNED
    assert "drain_node" not in w.actions()


def test_one_command_is_in_flight_for_a_target_and_the_others_wait_for_it() -> None:
    w = world(rung("restart_job_excluding_hosts", timeout="30m"), notify())
    w.fails("one")
    w.fails("two", host="node09")
    w.tick()
    assert len(w.actions()) == 1
    assert Guard.IN_FLIGHT in w.blocks()
    first = next(c.id for c in w.commands if c.state is CommandState.ISSUED)
    w.report(first, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick(MINUTE_S)
    assert len(w.actions()) == 1
    w.report(first, OutcomeStatus.FAILED)
    w.tick()
    assert w.actions()[:2] == ["restart_job_excluding_hosts"] * 2


def test_a_job_that_was_started_again_is_not_started_once_more_for_what_happened_before() -> None:
    w = world(rung("restart_job_excluding_hosts", timeout="30m"), notify())
    w.fails("one")
    w.fails("two", host="node09")
    w.tick()
    w.succeed(next(c.id for c in w.commands if c.state is CommandState.ISSUED))
    w.tick(10 * MINUTE_S)
    assert w.actions() == ["restart_job_excluding_hosts"]
    assert Guard.COOLDOWN in w.blocks()
    w.resolves("one")
    w.resolves("two")
    w.tick(HOUR_S)
    assert w.deeds() == ["restart_job_excluding_hosts"]


def test_a_target_is_left_alone_for_the_time_of_cooling_down() -> None:
    w = world(
        rung("restart_job", timeout="1h"),
        rung("restart_process", timeout="1h"),
        notify(),
        policy=allowing(cooldown_s=600),
    )
    w.fails()
    w.tick()
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.FAILED)
    w.tick()
    w.tick(30)
    assert w.guard() is Guard.COOLDOWN
    w.tick(569)
    assert w.actions() == ["restart_job"]
    w.tick(1)
    assert w.actions() == ["restart_job", "restart_process"]


def test_a_job_is_started_again_only_so_often_within_the_window() -> None:
    w = world(*RESTART, policy=allowing(restarts=3, restarts_s=DAY_S, heal_s=1))
    for number in range(1, 6):
        w.fails(f"n{number}", attempt=number, opened_s=w.now_s)
        w.tick(10)
        if w.last("restart_job").state is CommandState.ISSUED:
            w.succeed(w.last("restart_job").id)
            w.tick()
            w.resolves(f"n{number}")
            w.tick()
            w.tick(HOUR_S)
    assert w.deeds() == ["restart_job"] * 3
    assert w.actions().count("notify") == 2, "people are told that the budget is spent"
    held = w.last("restart_job").blocked
    assert held is not None
    assert held.guard is Guard.BUDGET
    w.tick(DAY_S)
    assert w.deeds() == ["restart_job"] * 4, "of the two that were held back the later one speaks for the job"


def test_a_diagnosis_that_is_not_sure_enough_causes_nothing() -> None:
    w = world(*RESTART, policy=allowing(confidence=0.8))
    w.fails(confidence=0.7)
    w.tick()
    assert w.guard() is Guard.CONFIDENCE
    w.revises("one", confidence=0.9)
    w.tick()
    assert w.actions() == ["restart_job"]


def test_old_logs_cause_nothing() -> None:
    w = world(*RESTART)
    w.fails()
    w.case().happened_s = w.now_s - 2 * HOUR_S if w.drain() else None
    w.tick()
    assert w.guard() is Guard.STALE
    assert w.actions() == []


def test_the_breaker_holds_at_its_limit_and_opens() -> None:
    w = world(*CORDON, policy=allowing(hosts_out=3))
    cordons(w, 10)
    assert w.deeds() == ["cordon_node"] * 3
    assert w.actions().count("notify") == 1, "people are told that the breaker has opened"
    assert Guard.BREAKER in w.blocks()
    assert sum(isinstance(e.data, BreakerOpened) for e in w.topic) == 1


def test_the_breaker_holds_a_share_of_the_cluster_too() -> None:
    w = world(*CORDON, policy=allowing(hosts_out=50, percent_out=10, hosts=48))
    cordons(w, 20)
    assert w.deeds() == ["cordon_node"] * 4


def test_a_half_open_breaker_tries_one_host_and_drops_stale_requests_when_it_closes() -> None:
    w = world(*CORDON, policy=allowing(hosts_out=3, probe_s=900, stale_s=HOUR_S))
    cordons(w, 10)
    held = [c.id for c in w.commands if c.state is CommandState.PLANNED]
    assert len(held) == 7
    for case in w.cases.cases.values():
        case.happened_s = w.now_s
    w.tick(2 * HOUR_S)
    for host in list(w.cases.ledger.out):
        w.ask(RequestKind.RESTORE, host=host)
    w.tick()
    assert len(w.deeds()) == 4, "a single one is tried"
    w.tick(HOUR_S / 60)
    assert len(w.deeds()) == 4
    probe = next(c for c in w.commands if c.state is CommandState.ISSUED)
    w.succeed(probe.id)
    w.tick()
    assert sum(isinstance(e.data, BreakerClosed) for e in w.topic) == 1
    w.tick(MINUTE_S, times=10)
    assert len(w.deeds()) == 4, "what was held back rests on something that happened long ago"
    assert {w.cases.commands[name].state for name in held if name != probe.id} == {CommandState.CANCELLED}
    assert Guard.STALE in w.blocks()


def test_a_probe_that_fails_keeps_the_breaker_open() -> None:
    w = world(*CORDON, policy=allowing(hosts_out=1, probe_s=900, hosts_out_s=HOUR_S))
    cordons(w, 3)
    w.tick(HOUR_S)
    probe = next(c for c in w.commands if c.state is CommandState.ISSUED)
    w.report(probe.id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.FAILED)
    w.tick(MINUTE_S)
    assert w.cases.breaker_s is not None
    assert w.actions().count("cordon_node") == 2


@pytest.mark.parametrize("action", ["drain_node", "reboot_node", "replace_node"])
def test_what_nobody_vouches_for_is_never_answered_with_a_destructive_step(action: str) -> None:
    w = world(rung(action, timeout="1h", approval="never"), notify())
    w.fails(verified=False)
    w.tick(HOUR_S, times=30)
    assert w.actions() == ["notify"]


def test_what_nobody_could_be_told_is_not_told_once_it_is_over() -> None:
    w = world(notify())
    name = w.ask(RequestKind.SILENCE, matchers=(Matcher(label="job", value="48211"),))
    w.fails("one")
    w.tick()
    assert w.guard() is Guard.SILENCE
    w.resolves("one")
    w.ask(RequestKind.UNSILENCE, silence=name)
    w.tick()
    assert w.actions() == []
    assert w.last().state is CommandState.CANCELLED


def test_a_message_that_nobody_takes_does_not_stay_on_its_way_for_ever() -> None:
    w = world(notify())
    w.fails("one")
    w.tick()
    w.tick(w.policy.start_s + 2 * MINUTE_S)
    assert w.last().state is CommandState.EXPIRED
