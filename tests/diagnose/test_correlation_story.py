"""A run is a story: what came before, during and after its progress decides what an error was to it."""

import pytest
from made import DONE, FELL_OFF, START, STEP, USER_ERROR, WORKER_FAILED, concluded, failure, outcomes, read, roles, said

from schemas.incident import Role


def test_a_run_that_stops_at_an_error_has_failed() -> None:
    assert outcomes(said(START, 0), said(STEP, 60), said(USER_ERROR, 70)) == ["failed"]
    assert failure(said(START, 0), said(STEP, 60), said(USER_ERROR, 70)).signature == USER_ERROR


def test_an_error_that_is_followed_by_progress_is_healed() -> None:
    story = [said(START, 0), said(USER_ERROR, 70), said(STEP, 200, until=900), said(DONE, 1000)]
    found = concluded(*story)
    assert found.runs[0].outcome == "succeeded"
    assert [i.impact for i in found.incidents] == ["none"]


def test_an_error_that_is_followed_by_an_echo_of_progress_only_is_not_healed() -> None:
    assert outcomes(
        said(START, 0),
        said(STEP, 60, source="b.log", rank=1),
        said(USER_ERROR, 60, rank=0),
        said(STEP, 62, source="b.log", line=999, rank=1),
    ) == ["failed"]


def test_a_healed_error_is_not_why_the_run_ended_later() -> None:
    found = failure(said(START, 0), said(USER_ERROR, 70), said(STEP, 200, until=900), said(FELL_OFF, 950, pci="3b"))
    assert found.signature == FELL_OFF
    assert USER_ERROR not in roles(found)


def test_the_same_error_survived_once_and_then_not_is_the_cause_by_its_second_time() -> None:
    found = failure(said(START, 0), said(USER_ERROR, 70), said(STEP, 200, until=900), said(USER_ERROR, 950))
    assert found.first_cause.line == 951


def test_a_helper_step_that_failed_before_the_start_is_not_the_cause() -> None:
    helper = said("config.mount-missing", 0)
    found = concluded(helper, said(START, 100), said(STEP, 200, until=900), said(DONE, 1000))
    assert found.runs[0].outcome == "succeeded"
    assert all(i.impact == "none" or i.impact == "degraded" for i in found.incidents)
    failed = failure(helper, said(START, 100), said(STEP, 200), said(FELL_OFF, 950, pci="3b"))
    assert failed.signature == FELL_OFF


def test_what_failed_before_the_start_is_not_why_a_run_ended_that_made_no_progress() -> None:
    found = failure(said("config.yaml", 0), said(START, 100), said("cuda.illegal-access", 150))
    assert found.signature == "cuda.illegal-access"


def test_a_traceback_at_tear_down_after_success_harms_nothing() -> None:
    found = concluded(said(START, 0), said(STEP, 60, until=900), said(DONE, 1000), said(USER_ERROR, 1003))
    assert found.runs[0].outcome == "succeeded"
    assert [i.impact for i in found.incidents] == ["none"]


def test_a_run_that_went_on_after_a_word_of_success_and_then_failed_has_failed() -> None:
    assert outcomes(said(START, 0), said(DONE, 100), said(STEP, 200, until=900), said(USER_ERROR, 910)) == ["failed"]


def test_the_runs_own_verdict_is_final_whatever_comes_later() -> None:
    verdict = said("marker.success.mlperf", 900)
    assert outcomes(said(START, 0), said(STEP, 800), verdict, said(STEP, 1000), said(FELL_OFF, 1100, pci="3b")) == [
        "succeeded"
    ]


def test_a_verdict_of_failure_is_final_though_the_run_went_on_after_it() -> None:
    verdict = said("training.target.mlperf-aborted", 900)
    story = [said(START, 0), said(STEP, 800), verdict, said(STEP, 1000, until=1100), said(DONE, 1200)]
    assert outcomes(*story) == ["failed"]
    assert failure(*story).fault == "training.not_converged"


def test_a_verdict_counts_no_more_once_the_run_has_started_anew() -> None:
    story = [said(START, 0), said("marker.success.mlperf", 900)]
    again = [said("marker.start.megatron", 1000), said(STEP, 1100), said(USER_ERROR, 1200)]
    assert outcomes(*story, *again) == ["failed"]


RESTARTED = [
    said(START, 0),
    said(STEP, 60, until=500),
    said(USER_ERROR, 510),
    said(START, 600),
    said(STEP, 700, until=900),
]


def test_a_second_start_after_a_failure_begins_a_new_attempt_of_the_same_run() -> None:
    (run,) = concluded(*RESTARTED, said(DONE, 1000)).runs
    assert [(a.ordinal, a.outcome) for a in run.attempts] == [(1, "failed"), (2, "succeeded")]


def test_the_outcome_of_a_run_is_that_of_its_last_attempt() -> None:
    assert outcomes(*RESTARTED, said(DONE, 1000)) == ["succeeded"]
    assert outcomes(*RESTARTED, said(FELL_OFF, 1000, pci="3b")) == ["failed"]


def test_a_failure_of_an_attempt_that_was_not_the_last_has_degraded_the_run() -> None:
    found = concluded(*RESTARTED, said(DONE, 1000)).incidents
    assert [(i.attempt, i.impact, i.signature) for i in found] == [(1, "degraded", USER_ERROR)]


def test_a_start_that_many_ranks_report_begins_one_attempt() -> None:
    story = [said(START, n, rank=n, line=n + 1) for n in range(8)]
    (run,) = concluded(*story, said(STEP, 100), said(USER_ERROR, 110)).runs
    assert len(run.attempts) == 1


def test_an_attempt_tells_when_it_began_and_ended_and_how_far_it_came() -> None:
    (run,) = concluded(said(START, 0), said(STEP, 60, until=500, count=45, last_step="45"), said(USER_ERROR, 510)).runs
    (attempt,) = run.attempts
    assert (attempt.ended - attempt.started).total_seconds() == 510
    assert (attempt.progress.count, attempt.progress.last_step) == (45, 45)


def test_a_log_that_stops_after_progress_is_incomplete_and_its_cause_is_unknown() -> None:
    found = concluded(said(START, 0), said(STEP, 60, until=500))
    assert found.runs[0].outcome == "incomplete"
    (incident,) = found.incidents
    assert (incident.fault, incident.first_cause, incident.impact) == ("unknown", None, "none")
    assert "job.log:501" in found.runs[0].reason


def test_a_source_of_which_nothing_is_known_is_an_incomplete_run_without_an_incident() -> None:
    found = concluded(sources=[read("notes.txt")])
    assert [run.outcome for run in found.runs] == ["incomplete"]
    assert found.incidents == ()


def test_nothing_read_is_no_run() -> None:
    assert concluded(sources=[]) == type(concluded(sources=[]))((), ())


def test_a_log_that_goes_on_for_thousands_of_lines_after_an_error_did_not_end_by_it() -> None:
    story = [said(START, 0), said(USER_ERROR, 70)]
    assert concluded(*story, sources=[read("job.log", story, lines=9000)]).runs[0].outcome == "incomplete"
    assert concluded(*story, sources=[read("job.log", story, lines=800)]).runs[0].outcome == "failed"


@pytest.mark.parametrize("signature", ["nvrm.xid.45", "teardown.broken-pipe", "nccl.proxy-teardown"])
def test_what_is_said_during_tear_down_explains_nothing(signature: str) -> None:
    found = failure(said(START, 0), said(STEP, 60), said(signature, 69), said(USER_ERROR, 70))
    assert found.signature == USER_ERROR
    assert roles(found).get(signature) in (None, Role.SYMPTOM)


@pytest.mark.parametrize("signature", ["nvrm.xid.45", "teardown.broken-pipe", "nccl.proxy-teardown"])
def test_what_is_said_during_tear_down_alone_is_no_failure(signature: str) -> None:
    assert outcomes(said(START, 0), said(STEP, 60), said(signature, 69)) == ["incomplete"]


def test_a_launcher_that_reports_a_dead_worker_is_the_cause_only_where_nothing_better_is_known() -> None:
    dead = said(WORKER_FAILED, 80, exitcode="1")
    assert failure(said(START, 0), said(STEP, 60), dead).signature == WORKER_FAILED
    assert failure(said(START, 0), said(STEP, 60), said(USER_ERROR, 70), dead).signature == USER_ERROR


def test_a_dead_worker_is_a_consequence_even_where_it_is_reported_before_its_cause() -> None:
    dead = said(WORKER_FAILED, 70, source="agent.log", exitcode="1")
    found = failure(said(START, 0), said(STEP, 60), dead, said("cuda.illegal-access", 90))
    assert found.signature == "cuda.illegal-access"


def test_an_incident_keeps_its_id_when_more_is_read_of_its_run() -> None:
    story = [said(START, 0), said(STEP, 60), said(USER_ERROR, 70)]
    assert failure(*story).id == failure(*story, said(WORKER_FAILED, 80)).id


def test_an_attempt_that_failed_has_failed_however_long_the_log_of_the_next_one_is() -> None:
    story = [
        said(START, 0),
        said(STEP, 60, until=500),
        said(USER_ERROR, 510),
        said(START, 600),
        said(STEP, 700, until=9000),
    ]
    (run,) = concluded(*story, said(DONE, 9100)).runs
    assert [a.outcome for a in run.attempts] == ["failed", "succeeded"]


def test_a_loss_that_is_nan_again_and_again_to_the_end_is_a_failure() -> None:
    nan = said("training.nan.grad-norm", 100, until=900, count=80)
    assert failure(said(START, 0), said(STEP, 10, until=890), nan).fault == "training.loss_nan"


def test_a_nan_that_clean_steps_follow_is_no_failure() -> None:
    nan = said("training.nan.grad-norm", 100, until=200, count=2)
    assert outcomes(said(START, 0), said(STEP, 10, until=890), nan) == ["incomplete"]
