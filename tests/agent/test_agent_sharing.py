"""Agents of one group share its partitions; what one is carrying out when it loses a partition is done by no other."""

import time
from pathlib import Path

import pytest

from relight.agent.allowed import Allowed
from relight.agent.port import ActionRejected, Effect
from schemas.action import CordonNode
from schemas.command import OutcomeStatus, RecoveryCommand
from tests.agent.lives import LEASE_S, PATIENCE_S, Lab, Life, Notebook

SUCCEEDED = OutcomeStatus.SUCCEEDED
embedded = pytest.mark.parametrize("lab", ["embedded"], indirect=True)


def shared(*lives: Life) -> None:
    """Let agents go on until each has a share of the two partitions, and nobody has more."""
    together(lambda: all(len(life.share) == 2 / len(lives) for life in lives), *lives)


def together(condition: object, *lives: Life) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s, lives[0].lab.outcomes()
        for life in lives:
            life.step()


def test_two_agents_share_the_commands_and_each_is_carried_out_once(lab: Lab, notebook: Notebook) -> None:
    first, second = Life(lab, notebook, name="a"), Life(lab, notebook, name="b")
    shared(first, second)
    commands = [lab.command(number) for number in range(20)]
    lab.send(*commands[:10], partition=0)
    lab.send(*commands[10:], partition=1)
    together(lambda: lab.have(commands, "succeeded"), first, second)
    assert sorted(notebook.done) == sorted(one.id for one in commands)
    assert {one.by for one in lab.outcomes()} == {"a", "b"}
    first.end()
    second.end()


def begun_and_shared(lab: Lab, notebook: Notebook) -> tuple[list[RecoveryCommand], Life, Life]:
    """Let one agent begin two commands, and another come that gets one of their partitions; nothing ends yet."""
    notebook.before.clear()
    commands, first = [lab.command(1), lab.command(2)], Life(lab, notebook, name="a")
    first.until(lambda: len(first.share) == 2)
    lab.send(commands[0], partition=0)
    lab.send(commands[1], partition=1)
    first.until(lambda: len(notebook.noted("began")) == 2)
    second = Life(lab, Notebook(notebook.path), name="b")
    shared(first, second)
    return commands, first, second


def test_what_is_carried_out_while_its_partition_is_lost_and_comes_back_is_not_done_twice(
    lab: Lab, notebook: Notebook
) -> None:
    commands, first, second = begun_and_shared(lab, notebook)
    together_s = time.monotonic() + 0.5
    together(lambda: time.monotonic() > together_s, first, second)
    second.end()
    first.until(lambda: len(first.share) == 2)
    notebook.before.set()
    first.until(lambda: lab.have(commands, "succeeded"))
    first.rests()
    assert sorted(notebook.done) == sorted(one.id for one in commands)
    assert {one.by for one in lab.outcomes()} == {"a"}
    first.end()


def test_who_gets_a_partition_leaves_it_to_who_has_lost_it_to_end_what_that_has_begun(
    lab: Lab, notebook: Notebook
) -> None:
    commands, first, second = begun_and_shared(lab, notebook)
    longer_s = time.monotonic() + 3 * LEASE_S
    together(lambda: time.monotonic() > longer_s, first, second)
    assert notebook.done == [], "for as long as the first one says that it is at it"
    notebook.before.set()
    together(lambda: lab.have(commands, "succeeded"), first, second)
    assert sorted(notebook.done) == sorted(one.id for one in commands)
    assert {one.by for one in lab.outcomes()} == {"a"}
    first.end()
    second.end()


@pytest.mark.parametrize("answer", [None, Effect.UNKNOWN])
def test_what_a_member_has_begun_that_is_gone_is_ended_by_another(
    lab: Lab, notebook: Notebook, answer: Effect | None
) -> None:
    notebook.before.clear()
    command, first = lab.command(), Life(lab, notebook, name="a")
    lab.send(command)
    first.until(notebook.begun.is_set)
    first.member.close()  # so that it need not be waited for; it says nothing more
    second = Life(lab, Notebook(notebook.path, answer), name="b")
    second.gets(command, SUCCEEDED if answer is None else OutcomeStatus.UNKNOWN)
    assert notebook.done == ([command.id] if answer is None else [])
    started = [one for one in lab.outcomes() if one.status is OutcomeStatus.STARTED]
    assert [one.before["agent"] for one in started] == ["a", "b"], "and it says so before it asks"
    second.end()


@embedded
def test_who_stood_still_for_long_does_not_begin_what_may_be_anothers_by_now(lab: Lab, notebook: Notebook) -> None:
    command, first = lab.command(), Life(lab, notebook, name="a")
    lab.send(command)
    first.until(lambda: lab.statuses(command) == ["accepted", "started"])
    time.sleep(LEASE_S)  # the process is stopped between its poll and what it would do then
    first.commit([], [*first.agent.beat()])
    assert notebook.begun.is_set() is False
    first.gets(command, SUCCEEDED)
    assert notebook.done == [command.id]
    first.end()


@embedded
def test_who_may_not_touch_a_host_does_not_speak_for_a_group_that_may(
    lab: Lab, notebook: Notebook, tmp_path: Path
) -> None:
    other = Notebook(tmp_path / "other")
    first = Life(lab, other, name="a", allowed=Allowed(hosts=("rack1-*",)))
    second = Life(lab, notebook, name="b", group="-2", allowed=Allowed(hosts=("rack2-*",)))
    lab.send(command := lab.command(action=CordonNode(host="rack2-7")))
    first.gets(command, OutcomeStatus.REJECTED)
    second.gets(command, SUCCEEDED)
    assert (other.done, notebook.done) == ([], [command.id])
    assert lab.statuses(command) == ["rejected", "accepted", "started", "succeeded"]
    first.end()
    second.end()


@embedded
def test_what_one_group_has_looked_at_and_refused_another_takes(lab: Lab, notebook: Notebook, tmp_path: Path) -> None:
    other = Notebook(tmp_path / "other", unprepared=ActionRejected("that job is not of this host"))
    first, second = Life(lab, other, name="a"), Life(lab, notebook, name="b", group="-2")
    lab.send(command := lab.command())
    first.gets(command, OutcomeStatus.REJECTED)
    second.gets(command, SUCCEEDED)
    assert notebook.done == [command.id]
    assert lab.statuses(command) == ["accepted", "rejected", "accepted", "started", "succeeded"]
    lab.put(lab.encoded(lab.file("commands").keys.signed(command)), partition=1)
    first.until(lambda: "replayed" in " ".join(lab.reasons()))
    first.end()
    second.end()


@embedded
def test_of_two_groups_that_may_do_the_same_only_one_does(lab: Lab, notebook: Notebook) -> None:
    first, second = Life(lab, notebook, name="a"), Life(lab, notebook, name="b", group="-2")
    commands = [lab.command(number) for number in range(5)]
    lab.send(*commands)
    together(lambda: lab.have(commands, "succeeded"), first, second)
    for _ in range(20):
        first.step()
        second.step()
    assert sorted(notebook.done) == sorted(one.id for one in commands)
    first.end()
    second.end()


@embedded
def test_of_two_that_would_start_the_same_command_the_first_one_does(lab: Lab, notebook: Notebook) -> None:
    """A command that is replayed into another partition while it is new comes to two agents."""
    first, second = Life(lab, notebook, name="a"), Life(lab, notebook, name="b")
    shared(first, second)
    value = lab.encoded(lab.file("commands").keys.signed(command := lab.command()))
    for partition in (0, 1):
        lab.put(value, partition=partition)
    together(lambda: "succeeded" in lab.statuses(command), first, second)
    for _ in range(20):
        first.step()
        second.step()
    assert notebook.done == [command.id]
    first.end()
    second.end()
