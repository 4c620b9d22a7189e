"""The agent: a command is believed, allowed, begun where everybody can see it, carried out once, and its end told."""

import json
import time
from pathlib import Path

import orjson
import pytest

from relight.agent.allowed import Allowed
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown
from relight.keys import renew
from schemas.action import CollectDiagnostics, CordonNode, Notify, RestartJob, RestartProcess
from schemas.command import OutcomeStatus
from tests.agent.lives import Lab, Life, Notebook

embedded = pytest.mark.parametrize("lab", ["embedded"], indirect=True)


def test_a_command_is_accepted_then_started_where_all_can_see_it_then_carried_out_and_its_end_told(
    lab: Lab, notebook: Notebook
) -> None:
    notebook.before.clear()
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.gets(command, OutcomeStatus.ACCEPTED)
    life.until(notebook.begun.is_set)
    assert lab.statuses(command) == ["accepted", "started"], "before it acts, everybody knows"
    assert notebook.done == []
    notebook.before.set()
    life.gets(command, OutcomeStatus.SUCCEEDED)
    assert notebook.done == [command.id]
    accepted, started, ended = lab.outcomes()
    assert started.before == {"noted": "before", "executor": "notebook", "agent": "a"}
    assert (ended.output, ended.healthy, ended.by) == ("it was cordoned", True, "a")
    assert all(one.signature is not None for one in (accepted, started, ended))
    life.end()


@embedded
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ActionFailed("it stands on its head", "the last words"), "failed"),
        (ActionUnknown("no answer came"), "unknown"),
        (ActionRejected("there is no such host"), "rejected"),
        (RuntimeError("a mistake"), "unknown"),
    ],
)
def test_how_an_executor_fails_is_what_is_told(lab: Lab, notebook: Notebook, error: Exception, status: str) -> None:
    notebook.fails = error  # type: ignore[assignment]
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.until(lambda: status in lab.statuses(command))
    assert lab.statuses(command) == ["accepted", "started", status]
    assert str(error) in lab.outcomes()[-1].reason
    life.end()


@embedded
@pytest.mark.parametrize(
    ("error", "status"),
    [(ActionRejected("not mine"), "rejected"), (ActionFailed("no Slurm"), "failed"), (RuntimeError("oh"), "failed")],
)
def test_what_goes_wrong_before_anything_is_done_is_no_unknown_end(
    lab: Lab, notebook: Notebook, error: Exception, status: str
) -> None:
    notebook.unprepared = error
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.until(lambda: status in lab.statuses(command))
    assert lab.statuses(command) == ["accepted", status]
    life.end()


@embedded
def test_what_a_program_has_printed_may_be_anything(lab: Lab, notebook: Notebook) -> None:
    notebook.fails = ActionFailed("a lone \udcff", "x" * 9000 + "\udcff")
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.gets(command, OutcomeStatus.FAILED)
    assert (lab.outcomes()[-1].reason, lab.outcomes()[-1].output) == ("a lone ?", "x" * 7999 + "?")
    life.end()


@embedded
def test_what_nobody_signed_or_somebody_altered_is_refused_and_said(
    lab: Lab, notebook: Notebook, tmp_path: Path
) -> None:
    unsigned, signed = lab.command(1), lab.file("commands").keys.signed(lab.command(2))
    altered = json.loads(lab.encoded(signed))
    altered["data"]["action"]["host"] = "node99"
    with_more = json.loads(lab.encoded(signed))
    with_more["data"]["expires_s"] += 3600
    renew(tmp_path / "others" / "commands.keys")
    other = Lab(lab.open, tmp_path / "others", lab.cluster).file("commands").keys
    outcome = lab.file("outcomes").keys.signed(lab.command(4))
    life = Life(lab, notebook)
    lab.put(
        lab.encoded(unsigned),
        orjson.dumps(altered),
        orjson.dumps(with_more),
        lab.encoded(other.signed(lab.command(3))),
        lab.encoded(outcome),
        b"no event",
        None,
    )
    life.until(lambda: len(lab.reasons()) == 7)
    reasons = [reason.partition(": ")[2] for reason in lab.reasons()]
    assert reasons[0] == "it is not signed"
    assert all("it is forged, or altered" in reason for reason in reasons[1:3])
    assert all("is unknown" in reason for reason in reasons[3:5])
    assert reasons[5:] == ["it is no JSON"] * 2
    assert all(one.command.startswith("refused-") for one in lab.outcomes()), "nobody is to think that it is theirs"
    life.rests()
    assert notebook.path.exists() is False
    life.end()


@embedded
@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"expires_s": -1}, "it has expired"),
        ({"issued_s": 301, "expires_s": 600}, "it was issued in the future: the clocks differ"),
    ],
)
def test_a_command_of_another_time_is_rejected(
    lab: Lab, notebook: Notebook, times: dict[str, float], reason: str
) -> None:
    command = lab.command(**{name: time.time() + after_s for name, after_s in times.items()})
    life = Life(lab, notebook)
    lab.send(command)
    life.gets(command, OutcomeStatus.REJECTED)
    assert lab.reasons() == [reason]
    life.rests()
    assert notebook.done == []
    life.end()


@embedded
def test_clocks_may_differ_by_a_minute(lab: Lab, notebook: Notebook) -> None:
    command, life = lab.command(issued_s=time.time() + 50), Life(lab, notebook)
    lab.send(command)
    life.gets(command, OutcomeStatus.SUCCEEDED)
    life.end()


@pytest.mark.parametrize("partition", [0, 1], ids=["in its partition", "in another"])
def test_a_command_that_comes_again_is_refused(lab: Lab, notebook: Notebook, partition: int) -> None:
    command, life = lab.command(), Life(lab, notebook)
    value = lab.encoded(lab.file("commands").keys.signed(command))
    lab.put(value)
    life.gets(command, OutcomeStatus.SUCCEEDED)
    lab.put(value, value, partition=partition)
    life.until(lambda: len(lab.reasons()) == 2)
    assert set(lab.reasons()) == {f"command {command.id} has been here before: it is replayed"}
    assert notebook.done == [command.id]
    life.end()
    later = Life(lab, notebook, name="b")
    later.until(lambda: len(later.share) == 2)
    lab.put(value, partition=partition)
    later.until(lambda: len(lab.reasons()) == 3)
    assert notebook.done == [command.id], "an agent that comes later knows it too"
    later.end()


ALLOWED = Allowed(("cordon_node", "restart_job", "restart_process"), ("node0?", "gpu-*"), ("llama*",))


@embedded
@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (CollectDiagnostics(hosts=("node01",)), "this agent may not collect_diagnostics"),
        (CordonNode(host="node10"), "this agent may not touch host node10"),
        (RestartJob(job="other"), "this agent may not touch job other"),
        (RestartProcess(job="llama-1", host="node10"), "this agent may not touch host node10"),
        (CordonNode(host="node0\n"), "this agent may not touch host node0\n"),
    ],
)
def test_what_is_not_allowed_is_rejected(lab: Lab, notebook: Notebook, action: CordonNode, reason: str) -> None:
    notebook.actions = notebook.actions | {"collect_diagnostics"}
    wanted = ALLOWED if "node0\n" not in reason else Allowed(hosts=("node0",))
    command, life = lab.command(action=action, affects=()), Life(lab, notebook, allowed=wanted)
    lab.send(command)
    life.gets(command, OutcomeStatus.REJECTED)
    assert lab.reasons() == [reason]
    life.rests()
    assert notebook.path.exists() is False
    life.end()


@embedded
def test_what_is_allowed_is_done(lab: Lab, notebook: Notebook) -> None:
    life = Life(lab, notebook, allowed=ALLOWED)
    actions = [CordonNode(host="gpu-7"), RestartJob(job="llama-1"), RestartProcess(job="llama-2", host="node01")]
    lab.send(*(lab.command(number, action=action) for number, action in enumerate(actions)))
    life.until(lambda: len(notebook.done) == 3)
    life.end()


@embedded
def test_what_is_for_others_is_left_to_them_without_a_word(lab: Lab, notebook: Notebook) -> None:
    life = Life(lab, notebook)
    lab.send(lab.command(1, cluster="another"), lab.command(2, action=Notify()))
    lab.send(command := lab.command(3))
    life.gets(command, OutcomeStatus.SUCCEEDED)
    assert {one.command for one in lab.outcomes()} == {command.id}
    assert notebook.done == [command.id]
    life.end()


@embedded
def test_of_several_executors_the_first_that_takes_a_command_carries_it_out(
    lab: Lab, notebook: Notebook, tmp_path: Path
) -> None:
    picky = Notebook(tmp_path / "picky", unprepared=ActionRejected("not a host of mine"), name="picky")
    command, life = lab.command(), Life(lab, picky, notebook)
    lab.send(command)
    life.gets(command, OutcomeStatus.SUCCEEDED)
    assert (picky.done, notebook.done) == ([], [command.id])
    life.end()


def test_what_is_withdrawn_before_it_begins_is_not_begun(lab: Lab, notebook: Notebook) -> None:
    busy, command = lab.command(1), lab.command(2)
    notebook.before.clear()
    life = Life(lab, notebook, at_once=1)
    lab.send(busy, command)
    life.until(notebook.begun.is_set)
    assert lab.statuses(command) == ["accepted"], "there is no thread for it, so it is not said that it starts"
    lab.send(lab.withdrawal(command))
    life.gets(command, OutcomeStatus.REJECTED)
    assert lab.reasons() == ["it was withdrawn: it has healed"]
    notebook.before.set()
    life.gets(busy, OutcomeStatus.SUCCEEDED)
    life.rests()
    assert notebook.noted("prepared") == [busy.id]
    life.end()


@embedded
def test_what_is_withdrawn_in_the_moment_it_comes_is_not_begun(lab: Lab, notebook: Notebook) -> None:
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command, lab.withdrawal(command))
    life.gets(command, OutcomeStatus.REJECTED)
    life.rests()
    assert lab.statuses(command) == ["accepted", "rejected"]
    assert notebook.done == []
    life.end()


@embedded
def test_what_has_begun_is_not_withdrawn(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.until(notebook.begun.is_set)
    lab.send(lab.withdrawal(command))
    life.rests()
    notebook.before.set()
    life.gets(command, OutcomeStatus.SUCCEEDED)
    assert lab.statuses(command) == ["accepted", "started", "succeeded"]
    life.end()


@embedded
def test_a_forged_withdrawal_withdraws_nothing(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    busy, command = lab.command(1), lab.command(2)
    life = Life(lab, notebook, at_once=1)
    lab.send(busy, command)
    life.until(notebook.begun.is_set)
    lab.put(lab.encoded(lab.withdrawal(command)))
    life.until(lab.reasons)
    notebook.before.set()
    life.gets(command, OutcomeStatus.SUCCEEDED)
    assert lab.reasons() == ["it is not believed: it is not signed"]
    life.end()


@embedded
def test_what_waits_for_a_thread_until_it_has_expired_is_not_begun(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    busy, command = lab.command(1), lab.command(2, expires_s=time.time() + 1)
    life = Life(lab, notebook, at_once=1)
    lab.send(busy, command)
    life.until(notebook.begun.is_set)
    life.rests(1.0)
    notebook.before.set()
    life.gets(command, OutcomeStatus.REJECTED)
    assert lab.statuses(command) == ["accepted", "rejected"]
    assert lab.reasons() == ["it has expired"]
    life.end()


@embedded
def test_only_so_many_are_carried_out_at_once(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    life, commands = Life(lab, notebook, at_once=3), [lab.command(number) for number in range(10)]
    lab.send(*commands)
    life.until(lambda: sum("started" in lab.statuses(one) for one in commands) == 3)
    life.rests()
    assert sum("started" in lab.statuses(one) for one in commands) == 3
    notebook.before.set()
    life.until(lambda: lab.have(commands, "succeeded"))
    assert sorted(notebook.done) == sorted(one.id for one in commands)
    life.end()


@embedded
def test_what_ends_while_the_agent_stops_is_still_told(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.until(notebook.begun.is_set)
    notebook.before.set()
    life.end()
    assert lab.statuses(command) == ["accepted", "started", "succeeded"]


@embedded
def test_what_goes_on_when_the_agent_stops_is_looked_after_by_the_next_one(lab: Lab, notebook: Notebook) -> None:
    notebook.before.clear()
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.until(notebook.begun.is_set)
    begun = time.monotonic()
    life.end()
    assert time.monotonic() - begun < 1
    assert lab.statuses(command) == ["accepted", "started"]
    notebook.before.set()
    later = Life(lab, notebook)
    later.gets(command, OutcomeStatus.SUCCEEDED)
    assert notebook.done == [command.id]
    later.end()


@embedded
def test_a_new_key_is_believed_as_soon_as_it_is_there(lab: Lab, notebook: Notebook) -> None:
    life, first, second = Life(lab, notebook), lab.command(1), lab.command(2)
    lab.send(first)
    life.gets(first, OutcomeStatus.SUCCEEDED)
    renew(lab.keys / "commands.keys")
    lab.send(second)
    life.gets(second, OutcomeStatus.SUCCEEDED)
    assert lab.reasons() == []
    life.end()
