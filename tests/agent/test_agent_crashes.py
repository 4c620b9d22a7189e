"""The agent is killed between any two steps: a command takes effect once, or where nobody can tell once at most."""

import time

import pytest

from relight.agent.port import ActionFailed, Effect
from schemas.command import OutcomeStatus, RecoveryCommand
from tests.agent.lives import Lab, Life, Notebook

ACCEPTED, STARTED, SUCCEEDED = OutcomeStatus.ACCEPTED, OutcomeStatus.STARTED, OutcomeStatus.SUCCEEDED


def killed(lab: Lab, notebook: Notebook, command: RecoveryCommand, when: str) -> None:
    """Let an agent live until it dies there; what its threads were at stays undone for ever."""
    life = Life(lab, notebook)
    lab.send(command)
    match when:
        case "before it is accepted":
            life.dies_when(ACCEPTED)
        case "when it is accepted":
            life.gets(command, ACCEPTED)
        case "when it is prepared":
            life.dies_when(STARTED)
        case "when it is started":
            notebook.before.clear()
            life.gets(command, STARTED)
        case "while it acts":
            notebook.before.clear()
            life.until(notebook.begun.is_set)
        case "when it has acted":
            notebook.after.clear()
            life.until(lambda: notebook.done)
        case "before it tells":
            life.dies_when(SUCCEEDED)
        case "when it has told":
            life.gets(command, SUCCEEDED)


def next_life(lab: Lab, notebook: Notebook, answer: Effect | None = None, name: str = "a") -> Life:
    """An agent comes, as a process of its own: with the same file, and nothing that holds it up."""
    return Life(lab, Notebook(notebook.path, answer), name=name)


BEFORE = ["before it is accepted", "when it is accepted", "when it is prepared"]
ACTING = ["when it is started", "while it acts"]
ACTED = ["when it has acted", "before it tells"]


@pytest.mark.parametrize("when", [*BEFORE, *ACTING, *ACTED, "when it has told"])
def test_where_the_system_can_be_asked_a_command_takes_effect_once(lab: Lab, notebook: Notebook, when: str) -> None:
    command = lab.command()
    killed(lab, notebook, command, when)
    life = next_life(lab, notebook)
    life.gets(command, SUCCEEDED)
    life.rests()
    assert notebook.done == [command.id]
    assert lab.statuses(command) == ["accepted", "started", "succeeded"]
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
@pytest.mark.parametrize("when", [*BEFORE, *ACTING, *ACTED, "when it has told"])
def test_where_the_system_cannot_tell_a_command_that_was_started_is_not_repeated(
    lab: Lab, notebook: Notebook, when: str
) -> None:
    command = lab.command()
    killed(lab, notebook, command, when)
    done = list(notebook.done)
    life = next_life(lab, notebook, Effect.UNKNOWN)
    if when in BEFORE:
        life.gets(command, SUCCEEDED)
        assert notebook.done == [command.id]
    elif when == "when it has told":
        life.rests()
        assert lab.statuses(command)[-1] == "succeeded"
    else:
        life.gets(command, OutcomeStatus.UNKNOWN)
        assert "nobody can tell" in lab.outcomes()[-1].reason
        life.rests()
        assert notebook.done == done
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
@pytest.mark.parametrize("again", ["when it is started", "while it acts", "when it has acted", "before it tells"])
def test_an_agent_that_is_killed_again_and_again_does_it_once(lab: Lab, notebook: Notebook, again: str) -> None:
    command = lab.command()
    killed(lab, notebook, command, "while it acts")
    for _ in range(5):
        own = Notebook(notebook.path)
        life = Life(lab, own)
        match again:
            case "when it is started":
                life.step()
            case "while it acts":
                own.before.clear()
                life.rests(0.2)
            case "when it has acted":
                own.after.clear()
                life.rests(0.2)
            case _:
                life.dies_when(SUCCEEDED)
    life = next_life(lab, notebook)
    life.gets(command, SUCCEEDED)
    assert notebook.done == [command.id]
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_it_is_asked_again_while_it_cannot_be_asked(lab: Lab, notebook: Notebook) -> None:
    command = lab.command()
    killed(lab, notebook, command, "when it has acted")

    class Shy(Notebook):
        asked = 0

        def found(self, command: RecoveryCommand, before: object) -> Effect:
            self.asked += 1
            if self.asked < 2:
                raise ActionFailed("no Slurm answers")
            return Effect.DONE

    life = Life(lab, Shy(notebook.path))
    life.gets(command, SUCCEEDED)
    assert notebook.done == [command.id]
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_what_is_not_done_after_its_deadline_has_failed(lab: Lab, notebook: Notebook) -> None:
    command = lab.command(deadline_s=time.time() + 2)
    killed(lab, notebook, command, "while it acts")
    time.sleep(max(0.0, command.deadline_s - time.time()))
    life = next_life(lab, notebook)
    life.gets(command, OutcomeStatus.FAILED)
    assert lab.outcomes()[-1].reason == "it is too late"
    assert notebook.done == []
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_what_an_executor_was_to_do_that_is_gone_has_an_unknown_end(lab: Lab, notebook: Notebook) -> None:
    command = lab.command()
    killed(lab, notebook, command, "while it acts")
    life = Life(lab, Notebook(notebook.path, name="another"))
    life.gets(command, OutcomeStatus.UNKNOWN)
    assert "'notebook' is not in use any more" in lab.outcomes()[-1].reason
    assert notebook.done == []
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_an_end_that_could_not_be_committed_is_told_when_the_log_is_back(
    lab: Lab, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system cannot be asked: what the agent knows of the end is all that anybody knows."""
    monkeypatch.setattr("relight.agent.agent._AGAIN_S", 0.2)
    notebook.answer = Effect.UNKNOWN
    command, life = lab.command(), Life(lab, notebook)
    lab.send(command)
    life.dies_when(SUCCEEDED)  # the transaction fails; the process lives
    for place in sorted(life.share):
        life.agent.lose(place)
    life.share = set()
    life.member.close()
    life.member = life.log.join(f"relight.{life.agent.name}", life.agent.inputs, "a")
    life.gets(command, SUCCEEDED)
    life.rests()
    assert lab.statuses(command) == ["accepted", "started", "succeeded"]
    assert notebook.done == [command.id]
    life.end()


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_a_group_whose_position_is_lost_does_nothing_again(lab: Lab, notebook: Notebook) -> None:
    ended, begun = lab.command(1), lab.command(2)
    notebook.after.clear()
    life = Life(lab, notebook)
    lab.send(ended)
    life.until(lambda: notebook.done)
    notebook.after.set()
    life.gets(ended, SUCCEEDED)
    notebook.after.clear()
    lab.send(begun)
    life.until(lambda: len(notebook.done) == 2)

    class Forgetful(Life):
        """Its group reads from the beginning."""

        def step(self, *_: object) -> bool:  # type: ignore[override]
            polled = self.member.poll(0.02)
            for gained in sorted(polled.gained):
                self.agent.gain(gained, 0)
                from_the_beginning = self.log.read(gained, 0)
                self.commit([], [*self.agent.handle(from_the_beginning), *self.agent.beat()])
            self.share |= polled.gained
            self.commit(polled.records, [*self.agent.handle(polled.records), *self.agent.beat()])
            return False

    later = Forgetful(lab, Notebook(notebook.path))
    later.gets(begun, SUCCEEDED)
    later.rests()
    assert notebook.done == [ended.id, begun.id]
    later.end()
