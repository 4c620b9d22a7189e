"""Planning: one step at a time for the present state, up the ladder and down again, nothing twice, nothing stranded."""

from schemas.command import OutcomeStatus, RequestKind
from schemas.remedy import CommandFailedToHelp, CommandProved, CommandState, Guard
from schemas.vocabulary import Culprit, Impact
from tests.remediate.stories import notify, rung
from tests.remediate.world import world

MINUTE_S = 60.0
HOUR_S = 3600.0


def test_a_settled_incident_gets_the_first_rung_of_its_ladder() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails()
    w.tick()
    assert w.actions() == ["restart_job"]
    assert w.last().state is CommandState.ISSUED
    assert w.last().deadline_s == w.now_s + 30 * MINUTE_S


def test_nothing_is_done_before_a_diagnosis_is_settled() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails(settled=False)
    w.tick(10 * MINUTE_S)
    assert w.commands == []


def test_a_command_has_helped_when_the_job_makes_progress_and_not_when_it_returns_success() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.tick(MINUTE_S)
    assert w.last().state is CommandState.SUCCEEDED
    w.resolves("one")
    w.tick(MINUTE_S)
    assert w.last().state is CommandState.EFFECTIVE
    assert w.last().recovery_s == MINUTE_S
    assert w.last().lost_gpu_s == 2 * MINUTE_S, "of two ranks"
    assert w.actions() == ["restart_job"]


def test_what_does_not_help_in_its_time_is_followed_by_the_next_rung() -> None:
    w = world(
        rung("restart_job", timeout="30m"), rung("rollback_checkpoint", timeout="30m", approval="never"), notify()
    )
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.tick(29 * MINUTE_S)
    assert w.actions() == ["restart_job"]
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job", "collect_diagnostics"]
    w.succeed(w.last().id)
    w.tick(MINUTE_S)
    assert w.actions()[-1] == "rollback_checkpoint"
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.FAILED)
    w.tick()
    w.tick(MINUTE_S)
    assert w.actions()[-1] == "notify", "a command that has failed is not waited for"
    assert w.last().plan is not None
    assert "Tried: restart_job job/48211 (succeeded)" in w.last().plan.why
    assert "Tried: rollback_checkpoint job/48211 (failed)" in w.last().plan.why
    w.tick(HOUR_S, times=30)
    assert w.actions().count("notify") == 1, "the ladder has come to its end, once"


def test_a_fault_that_recurs_after_an_action_climbs_the_ladder() -> None:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    w.succeed(w.last().id)
    w.resolves("one")
    w.tick(5 * MINUTE_S)
    w.fails("two", attempt=2)
    w.tick(5 * MINUTE_S)
    assert w.actions() == ["restart_job", "restart_process"]


def test_a_ladder_steps_down_when_the_fault_stays_away() -> None:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    w.succeed(w.last().id)
    w.resolves("one")
    w.tick()
    w.tick(HOUR_S + MINUTE_S)
    w.fails("two", attempt=2)
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job", "restart_job"]


def test_two_alternating_faults_do_not_reset_each_others_ladder() -> None:
    w = world(*(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify()))
    faults = ["comm.ib_link", "storage.io_error"] * 3
    for number, fault in enumerate(faults, 1):
        w.fails(f"n{number}", fault=fault, kind=Culprit.HOST, attempt=number)
        w.tick(MINUTE_S)
        if w.last().state is CommandState.ISSUED:
            w.succeed(w.last().id)
            w.tick()
            w.resolves(f"n{number}")
        w.tick(MINUTE_S)
    assert w.actions() == ["restart_job"] * 2 + ["restart_process"] * 2 + ["notify"] * 2


def test_the_same_command_for_several_incidents_is_done_once_for_all_of_them() -> None:
    w = world(rung("drain_node", timeout="30m", approval="never"), notify())
    for number in range(20):
        w.fails(f"n{number}", job=None, signature=f"nvrm.xid.{number}")
    w.tick()
    w.succeed(w.last("collect_diagnostics").id)
    w.tick()
    w.succeed(w.last("drain_node").id)
    w.tick(MINUTE_S)
    w.fails("late", job=None)
    w.tick(MINUTE_S, times=3)
    assert w.actions() == ["collect_diagnostics", "drain_node"]
    assert len(w.last("drain_node").incidents) == 21


def test_none_is_stranded_behind_an_equivalent_command_that_has_failed() -> None:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails("one")
    w.fails("two")
    w.tick()
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.REJECTED)
    w.tick()
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job", "restart_process"]
    assert set(w.last().incidents) == {"one", "two"}


def test_a_revised_diagnosis_withdraws_a_command_that_has_not_begun() -> None:
    w = world(rung("restart_job_excluding_hosts", timeout="30m"), notify())
    w.fails()
    w.tick()
    first = w.last().id
    w.report(first, OutcomeStatus.ACCEPTED)
    w.revises("one", host="node09")
    w.tick(MINUTE_S)
    assert w.cases.commands[first].state is CommandState.WITHDRAWN
    assert w.actions() == ["restart_job_excluding_hosts"], "the other is not issued before the first is out of the way"
    w.report(first, OutcomeStatus.REJECTED)
    w.tick(MINUTE_S)
    assert w.cases.commands[first].state is CommandState.CANCELLED
    assert w.last().plan is not None
    assert [str(r) for r in w.last().plan.affects] == ["job/48211", "host/node09"]
    assert w.last().state is CommandState.ISSUED


def test_a_command_that_has_begun_is_not_withdrawn() -> None:
    w = world(rung("restart_job_excluding_hosts", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick()
    w.revises("one", host="node09")
    w.tick(MINUTE_S)
    assert w.last().state is CommandState.STARTED
    assert len(w.commands) == 1


def test_what_has_healed_needs_no_command_any_more() -> None:
    w = world(rung("restart_job", timeout="30m", approval="always"), notify())
    w.fails()
    w.tick()
    assert w.last("restart_job").state is CommandState.PLANNED
    w.resolves("one")
    w.tick()
    assert w.last("restart_job").state is CommandState.CANCELLED
    assert "restart_job" not in w.actions()


def test_waiting_is_a_rung_that_ends_when_it_has_healed() -> None:
    w = world(rung("wait", seconds=300), rung("restart_job", timeout="30m"), notify())
    w.fails("one")
    w.fails("two", job="other")
    w.tick()
    w.tick(4 * MINUTE_S)
    assert w.actions() == []
    w.resolves("one")
    w.tick(MINUTE_S)
    assert w.actions("one") == []
    assert w.actions("two") == ["restart_job"]


def test_nothing_to_do_is_said_and_nothing_is_issued() -> None:
    w = world(rung("none"))
    w.fails(fault="scheduler.cancelled")
    w.tick(HOUR_S, times=3)
    assert w.actions() == []
    assert w.last().state is CommandState.EFFECTIVE
    assert len(w.commands) == 1


def test_a_machine_that_a_job_was_moved_away_from_is_mended_when_the_job_goes_on() -> None:
    w = world()
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.tick(MINUTE_S)
    w.resolves("one")
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job_excluding_hosts", "collect_diagnostics"]
    w.succeed(w.last().id)
    w.tick(MINUTE_S)
    reboot = w.last("reboot_node")
    assert reboot.blocked is not None
    assert reboot.blocked.guard is Guard.APPROVAL
    w.ask(RequestKind.APPROVE, command=reboot.id)
    w.tick(MINUTE_S)
    w.succeed(reboot.id, healthy=True)
    w.tick(MINUTE_S)
    assert w.cases.commands[reboot.id].state is CommandState.EFFECTIVE
    w.tick(HOUR_S, times=50)
    assert w.actions() == ["restart_job_excluding_hosts", "collect_diagnostics", "notify", "reboot_node"]


def test_a_machine_that_is_not_well_after_a_reboot_is_replaced() -> None:
    w = world()
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.tick()
    w.resolves("one")
    w.tick()
    w.succeed(w.last("collect_diagnostics").id)
    w.tick()
    w.ask(RequestKind.APPROVE, command=w.last("reboot_node").id)
    w.tick()
    w.succeed(w.last("reboot_node").id, healthy=False)
    w.tick(MINUTE_S)
    assert w.last("replace_node").state is CommandState.PLANNED


def test_diagnostics_are_collected_before_a_destructive_step_and_waited_for_only_so_long() -> None:
    w = world(rung("drain_node", timeout="30m", approval="never"), notify())
    w.fails(job=None)
    w.tick()
    assert w.actions() == ["collect_diagnostics"]
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick(MINUTE_S)
    assert w.actions() == ["collect_diagnostics"]
    w.tick(10 * MINUTE_S)
    assert w.actions() == ["collect_diagnostics", "drain_node"]


def test_a_command_that_nobody_begins_expires_and_the_next_rung_is_due() -> None:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.tick(w.policy.start_s)
    assert w.actions() == ["restart_job"]
    w.tick(2 * MINUTE_S)
    assert w.actions() == ["restart_job", "restart_process"]


def test_an_earlier_attempt_causes_nothing_once_a_later_one_has_failed() -> None:
    w = world(rung("restart_job", timeout="30m"), rung("restart_process", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    w.succeed(w.last().id)
    w.tick(MINUTE_S)
    w.fails("two", attempt=2)
    w.tick(MINUTE_S, times=120)
    assert w.actions("one") == ["restart_job"]
    failed = [e for e in w.topic if isinstance(e.data, CommandFailedToHelp)]
    assert failed[0].data.reason == "the job has failed again"  # type: ignore[attr-defined]


def test_a_host_without_a_job_is_done_with_when_it_is_out_of_service() -> None:
    w = world(rung("cordon_node", timeout="30m"), rung("replace_node", timeout="1d"), notify())
    w.fails(job=None)
    w.tick()
    w.succeed(w.last().id)
    w.tick(HOUR_S, times=48)
    assert w.actions() == ["cordon_node"]
    assert any(isinstance(e.data, CommandProved) for e in w.topic)


def test_what_people_deny_is_left_to_them() -> None:
    w = world(rung("restart_job", timeout="30m", approval="always"), rung("restart_process", timeout="30m"), notify())
    w.fails()
    w.tick()
    w.ask(RequestKind.DENY, command=w.last("restart_job").id, reason="I am at it")
    w.tick(HOUR_S, times=5)
    assert w.actions() == ["notify"], "that approval is asked for is told, and nothing else is done"
    assert w.last("restart_job").reason == "I am at it"


def test_everything_said_is_the_same_when_the_topic_is_read_again() -> None:
    w = world()
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.resolves("one")
    w.tick(MINUTE_S, times=5)
    again = world(policy=w.policy)
    said = [e for event in w.topic for e in again.planner.follow(again.cases, event)]
    recorded = [e for e in w.topic if e in said]
    assert recorded == said
    assert again.cases.commands == w.cases.commands


def test_what_makes_way_for_a_job_that_has_ended_is_followed_by_its_start_at_once() -> None:
    w = world(rung("free_disk", timeout="30m", approval="never"), rung("restart_job", timeout="30m"), notify())
    w.fails(fault="storage.disk_full", kind=Culprit.HOST)
    w.tick()
    w.succeed(w.last("collect_diagnostics").id)
    w.tick()
    w.succeed(w.last("free_disk").id)
    w.tick()
    assert w.actions() == ["collect_diagnostics", "free_disk", "restart_job"]
    assert w.last("free_disk").state is CommandState.EFFECTIVE


def test_a_job_that_fails_again_at_once_has_its_own_incident_and_nobody_is_told_too_early() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.FAILED)
    w.tick(1)
    assert w.actions() == ["restart_job"]
    w.fails("two", attempt=2, fault="host.oom_kill", kind=Culprit.HOST)
    w.tick(10)
    assert w.actions("one") == ["restart_job"]
    assert w.actions("two") == ["restart_job"]


def test_an_incident_of_a_later_attempt_does_not_join_the_command_that_began_it() -> None:
    w = world(rung("restart_job", timeout="30m"), notify())
    w.fails("one")
    w.tick()
    w.report(w.last().id, OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED)
    w.tick(1)
    w.fails("two", attempt=2, fault="host.oom_kill", kind=Culprit.HOST)
    w.tick(1)
    assert len(w.commands) == 2
    assert w.cases.commands[w.commands[0].id].incidents == ("one",)


def test_a_machine_is_mended_though_the_diagnosis_was_revised_when_the_job_went_on() -> None:
    w = world()
    w.fails()
    w.tick()
    w.succeed(w.last().id)
    w.revises("one", settled=False, impact=Impact.DEGRADED)
    w.resolves("one")
    w.tick(MINUTE_S)
    assert w.actions() == ["restart_job_excluding_hosts", "collect_diagnostics"]
