"""The executor `process`, with real programs: each command begins one attempt, whatever is killed when."""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ingest.names import origin_of
from relight.agent.executors.attendant import Attempt, End, State, lock, read, write
from relight.agent.executors.host import Identity, alive, belonging, identity_of
from relight.agent.executors.process import ProcessExecutor
from relight.agent.port import ActionFailed, ActionRejected, Done, Effect, Interrupted, Terms
from relight.settings.agents import Process
from relight.stores.waiting import NEVER
from schemas.action import (
    Action,
    CollectDiagnostics,
    FreeDisk,
    RebootNode,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
    RollbackCheckpoint,
    SkipData,
)
from schemas.command import RecoveryCommand

TRAINING = Path(__file__).with_name("training.py")
HOST = "node03.example.org"
_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["relight.agent.executors.process"])


def settings(folder: Path, how: str = "run", names: tuple[str, ...] = ("demo",), **other: Any) -> Process:
    training = (sys.executable, "-S", "-E", str(TRAINING), how)
    jobs = {name: (*training, str(folder / f"{name}.begun")) for name in names}
    return Process.model_validate({"jobs": jobs, "folder": folder / "jobs", "stop_s": 5} | other)


def command(number: int | str, action: Action | None = None) -> RecoveryCommand:
    action = action or RestartJob(job="demo")
    return RecoveryCommand(
        id=f"c-{number}",
        cluster="lab",
        incident="i-1",
        fault="process.killed",
        playbook="restart",
        rung=1,
        action=action,
        target="job/demo",
        affects=action.resources,
        reason="it was killed",
        issued_s=0,
        expires_s=0,
        deadline_s=0,
    )


def terms(waited: Callable[[float], bool] = NEVER.wait, within_s: float = 60) -> Terms:
    return Terms({}, waited, time.time() + within_s)


def as_the_agent_would(process: Process, what: RecoveryCommand, started: Path) -> Done | None:
    """Carry out a command, or find out that it has been; `started` is what the agent has committed before it acts."""
    executor = ProcessExecutor(process, HOST, moment_s=0.05)
    try:
        if not started.exists():
            started.write_text(str(executor.prepare(what)), encoding="utf-8")
        elif executor.found(what, {}) is Effect.DONE:
            return None
        return executor.execute(what, terms())
    finally:
        executor.close()


def of(folder: Path, job: str = "demo") -> State:
    state = read(folder / "jobs" / job / "state.json", State)
    assert state is not None
    return state


def begun(folder: Path, job: str = "demo") -> list[list[str]]:
    """Return what programs noted when they began: command, attempt, job, checkpoints, batches, secret, pid."""
    path = folder / f"{job}.begun"
    return [line.split() for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def output(folder: Path, attempt: int, job: str = "demo") -> str:
    return (folder / "jobs" / job / f"attempt_{attempt}" / "output.log").read_text(encoding="utf-8")


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


def everything_below(folder: Path) -> list[Identity]:
    """Return the attendants and the programs of a test, by the path of its folder, which nobody else knows."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if entry.name.isdecimal() and f"{folder}/".encode() in words and int(entry.name) != os.getpid():
                found.append(identity_of(int(entry.name)))
        except OSError:
            continue
    return found


def attendants(folder: Path) -> list[Identity]:
    """Return the attendants of a test, and what has not become a program yet."""
    found = []
    for one in everything_below(folder):
        try:
            if b"attendant" in Path(f"/proc/{one.pid}/cmdline").read_bytes():
                found.append(one)
        except OSError:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    while left := [one for one in everything_below(tmp_path) if alive(one)]:
        for one in left:
            os.kill(one.pid, signal.SIGKILL)
        time.sleep(0.02)


@pytest.fixture
def executor(folder: Path) -> Iterator[Callable[..., ProcessExecutor]]:
    """Return an executor with settings, which is closed in the end."""
    executors = []

    def made(**other: Any) -> ProcessExecutor:
        executors.append(ProcessExecutor(settings(folder, **other), HOST, moment_s=0.3))
        return executors[-1]

    yield made
    for one in executors:
        one.close()


@pytest.fixture
def run(folder: Path, executor: Callable[..., ProcessExecutor]) -> Callable[..., Done]:
    """Carry out an action under a number, with settings, and wait until a program that it began has noted that."""

    def done(number: int | str, action: Action | None = None, within_s: float = 60, **other: Any) -> Done:
        what = command(number, action)
        told = executor(**other).execute(what, terms(within_s=within_s))
        if executor().found(what, {}) is Effect.DONE and not isinstance(what.action, CollectDiagnostics):
            eventually(lambda: any(note[0] == what.id for note in begun(folder)))
        return told

    return done


def test_a_job_is_started_when_the_agent_starts_and_never_again_once_it_has_ended(
    folder: Path, executor: Callable[..., ProcessExecutor]
) -> None:
    mine = executor(how="done")
    assert mine.start("demo")
    eventually(lambda: "the program ended well" in output(folder, 1))
    eventually(lambda: (folder / "jobs/demo/attempt_1/end.json").exists())
    assert not mine.start("demo")
    assert [note[:3] for note in begun(folder)] == [["-", "1", "demo"]]


def test_a_restart_ends_the_old_program_and_says_so_where_its_output_is_read(
    folder: Path, run: Callable[..., Done]
) -> None:
    run(1)
    first = of(folder).program
    told = run(2).output
    assert not alive(first)
    assert alive(of(folder).program)
    assert "relight-attendant: job demo, attempt 1: the program was stopped for command c-2 (signal 15, SIGTERM)\n" in (
        output(folder, 1)
    )
    assert f"attempt 2 of job demo runs, pid {of(folder).program.pid}" in told
    assert [note[:2] for note in begun(folder)] == [["c-1", "1"], ["c-2", "2"]]
    assert origin_of(("jobs", "demo", "attempt_2", "output.log")).attempt == "2"


def test_the_programs_environment_holds_what_the_command_wants_and_no_secrets_of_the_agent(
    folder: Path, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_SECRET", "x")
    run(1, RollbackCheckpoint(job="demo", checkpoints=3))
    run(2, SkipData(job="demo", batches=7))
    assert [note[:6] for note in begun(folder)] == [
        ["c-1", "1", "demo", "3", "-", "-"],
        ["c-2", "2", "demo", "-", "7", "-"],
    ]


def test_a_program_that_fails_at_once_fails_the_command_with_its_last_lines(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    with pytest.raises(ActionFailed, match="the program ended with status 3") as failed:
        run(1, how="fail")
    assert "out of luck\n" in failed.value.output
    assert output(folder, 1).endswith(
        "Z relight-attendant: job demo, attempt 1: the program ended with status 3\n".lstrip("Z")
    )
    assert executor().found(command(1), {}) is Effect.DONE


def test_a_program_that_has_nothing_more_to_do_has_been_restarted(run: Callable[..., Done]) -> None:
    assert "the program ended well" in run(1, how="done").output


def test_a_program_that_is_not_there_is_named_in_its_output(folder: Path, run: Callable[..., Done]) -> None:
    with pytest.raises(ActionFailed, match="could not be started"):
        run(1, jobs={"demo": ("/no/such/program",)})
    assert "the program could not be started: [Errno 2] No such file or directory: '/no/such/program'" in output(
        folder, 1
    )


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV")])
def test_what_a_killed_program_cannot_say_its_attendant_says(
    number: int, name: str, folder: Path, run: Callable[..., Done]
) -> None:
    run(1)
    os.kill(of(folder).program.pid, number)
    line = f" relight-attendant: job demo, attempt 1: the program was killed by signal {number} ({name})\n"
    eventually(lambda: output(folder, 1).endswith(line))
    eventually(lambda: (folder / "jobs/demo/attempt_1/end.json").exists())
    end = read(folder / "jobs/demo/attempt_1/end.json", End)
    assert end is not None
    assert end.status == -number


def test_the_attendants_line_begins_a_line(folder: Path) -> None:
    attempt = Attempt("demo", folder, 1)
    attempt.folder.mkdir()
    attempt.output.write_text("step 1", encoding="utf-8")
    attempt.say("the program ended\x1b\nwell")
    first, second = attempt.output.read_text(encoding="utf-8").splitlines()
    assert first == "step 1"
    assert second.endswith("Z relight-attendant: job demo, attempt 1: the program ended??well")


def test_a_program_that_hangs_or_does_not_listen_is_killed(folder: Path, run: Callable[..., Done]) -> None:
    run(1, how="deaf", stop_s=0.3)
    os.kill(of(folder).program.pid, signal.SIGSTOP)
    first = of(folder).program
    run(2, how="deaf", stop_s=0.3)
    assert not alive(first)
    assert "stopped for command c-2 (signal 9, SIGKILL)" in output(folder, 1)


def test_a_stopped_program_that_listens_may_save_what_it_has(folder: Path, run: Callable[..., Done]) -> None:
    run(1)
    os.kill(of(folder).program.pid, signal.SIGSTOP)
    run(2)
    assert "stopped for command c-2 (signal 15, SIGTERM)" in output(folder, 1)


@pytest.mark.parametrize("launcher_dies_first", [False, True])
def test_workers_with_sessions_of_their_own_are_ended_too(
    launcher_dies_first: bool, folder: Path, run: Callable[..., Done]
) -> None:
    run(1, how="launcher")
    eventually((folder / "demo.begun.worker").exists)
    eventually(lambda: (folder / "demo.begun.worker").read_text(encoding="utf-8"))
    worker = identity_of(int((folder / "demo.begun.worker").read_text(encoding="utf-8")))
    if launcher_dies_first:
        os.kill(of(folder).program.pid, signal.SIGKILL)
        eventually(lambda: not alive(of(folder).program))
        assert alive(worker)
    run(2)
    assert not alive(worker)


@pytest.mark.parametrize("other", [{"started": 1}, {"boot": "another"}], ids=["another time", "another boot"])
def test_a_process_that_has_got_the_programs_pid_is_left_alone(
    other: dict[str, object], folder: Path, run: Callable[..., Done]
) -> None:
    run(1)
    state = of(folder)
    os.kill(state.program.pid, signal.SIGKILL)
    eventually(lambda: (folder / "jobs/demo/attempt_1/end.json").exists())
    innocent = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        program = identity_of(innocent.pid).model_copy(update=other)
        write(folder / "jobs/demo/state.json", state.model_copy(update={"program": program}))
        assert not alive(program)
        assert belonging(program, "no=mark") == frozenset()
        run(2)
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_program_whose_attendant_was_killed_gets_another_and_goes_on(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    run(1)
    state = of(folder)
    os.kill(state.attendant.pid, signal.SIGKILL)
    eventually(lambda: not alive(state.attendant))
    mine = executor()
    assert not mine.start("demo")
    eventually(lambda: attendants(folder))
    time.sleep(0.3)
    assert alive(state.program)
    os.kill(state.program.pid, signal.SIGKILL)
    eventually(lambda: "attempt 1: the program has ended, and nobody saw how\n" in output(folder, 1))


def test_an_end_that_nobody_saw_is_noted_once(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    run(1)
    state = of(folder)
    for one in (state.attendant, state.program):
        os.kill(one.pid, signal.SIGKILL)
        eventually(lambda one=one: not alive(one))
    for _ in range(2):
        assert not executor().start("demo")
    assert output(folder, 1).count("the program has ended, and nobody saw how") == 1


def test_a_command_that_has_begun_an_attempt_is_known_even_when_others_came_after_it(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    run(1)
    run(2)
    mine = executor()
    assert [mine.found(command(number), {}) for number in (1, 2, 3)] == [Effect.DONE, Effect.DONE, Effect.NOT_DONE]
    assert "since then another time" in mine.execute(command(1), terms()).output
    assert len(begun(folder)) == 2


def test_a_job_whose_output_somebody_has_removed_can_be_restarted(folder: Path, run: Callable[..., Done]) -> None:
    run(1)
    first = of(folder).program
    shutil.rmtree(folder / "jobs/demo/attempt_1")
    run(2)
    assert not alive(first)
    assert [note[:2] for note in begun(folder)] == [["c-1", "1"], ["c-2", "2"]]


def test_nothing_is_begun_where_the_state_cannot_be_read(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    run(1)
    (folder / "jobs/demo/state.json").write_text("{", encoding="utf-8")
    for ask in (lambda: run(2), lambda: executor().found(command(1), {})):
        with pytest.raises(ActionFailed, match=r"state\.json cannot be read"):
            ask()


def test_an_agent_that_is_to_stop_lets_go_and_what_it_has_begun_goes_on(
    folder: Path, executor: Callable[..., ProcessExecutor]
) -> None:
    mine = executor()
    with pytest.raises(Interrupted):
        mine.execute(command(1), terms(lambda seconds: not time.sleep(seconds)))
    assert executor().found(command(1), {}) is Effect.DONE


def test_after_its_deadline_nothing_is_begun(folder: Path, run: Callable[..., Done]) -> None:
    with pytest.raises(ActionFailed, match="deadline"):
        run(1, within_s=-1)
    assert begun(folder) == []


def test_who_waits_too_long_for_somebody_else_gives_up(folder: Path, run: Callable[..., Done]) -> None:
    (folder / "jobs/demo").mkdir(parents=True)
    held = lock(folder / "jobs/demo/lock")
    assert held is not None
    with pytest.raises(ActionFailed, match="is just being stopped or begun"):
        run(1, within_s=0.2)
    os.close(held)


@pytest.mark.parametrize(
    ("action", "why"),
    [
        (RestartJob(job="other"), "no program"),
        (RestartProcess(job="demo", host="node04"), "not on node04"),
        (RestartJobExcludingHosts(job="demo", hosts=("node04", "node03")), "is to be excluded"),
        (RestartJobExcludingHosts(job="demo", hosts=("node04",)), "nothing to exclude"),
        (FreeDisk(host="node03"), "no files"),
        (CollectDiagnostics(hosts=("node04",)), "is not asked for"),
        (RebootNode(host="node03"), "nothing that can be done"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_what_is_not_this_hosts_or_this_executors_is_rejected(
    action: Action, why: str, folder: Path, executor: Callable[..., ProcessExecutor]
) -> None:
    mine = executor()
    with pytest.raises(ActionRejected, match=why):
        mine.prepare(command(1, action))
    with pytest.raises(ActionRejected, match=why):
        mine.execute(command(1, action), terms())


def test_a_short_name_means_this_host_and_another_domain_does_not(
    folder: Path, executor: Callable[..., ProcessExecutor]
) -> None:
    mine = executor()
    assert mine.prepare(command(1, RestartProcess(job="demo", host="NODE03"))) == {}
    with pytest.raises(ActionRejected):
        mine.prepare(command(1, RestartProcess(job="demo", host="node03.example.com")))


def test_a_rollback_sets_the_newest_checkpoints_aside_once(folder: Path, run: Callable[..., Done]) -> None:
    checkpoints = [folder / "demo" / f"step-{number}" for number in (900, 1000, 1100, 1200)]
    for path in checkpoints:
        path.mkdir(parents=True)
    pattern = str(folder / "{job}/step-*/")
    os.rename(checkpoints[3], f"{checkpoints[3]}.set-aside-c-1")  # and then the agent was killed
    run(1, RollbackCheckpoint(job="demo", checkpoints=2), checkpoints=pattern)
    there = ["step-1000", "step-1100.set-aside-c-1", "step-1200.set-aside-c-1", "step-900"]
    assert sorted(os.listdir(folder / "demo")) == there
    assert begun(folder)[0][3] == "-"
    with pytest.raises(ActionFailed, match="no checkpoint that is 2 before its last"):
        run(2, RollbackCheckpoint(job="demo", checkpoints=2), checkpoints=pattern)
    assert alive(of(folder).program)
    assert sorted(os.listdir(folder / "demo")) == there


def test_room_is_made_of_what_the_settings_name_and_never_behind_a_link(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    data, elsewhere = folder / "data", folder / "elsewhere"
    for path in (data / "inner", elsewhere):
        path.mkdir(parents=True)
    files = [data / "a.ckpt", data / "inner/b.ckpt", data / "inner/c.ckpt", elsewhere / "d.ckpt", data / "e.txt"]
    for age, path in enumerate(files):
        path.write_bytes(b"x" * 5000)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    (data / "link").symlink_to(elsewhere)
    (data / "f.ckpt").symlink_to(files[3])
    (data / "folder.ckpt").mkdir()
    told = run(1, FreeDisk(host="node03"), free=[str(data / "**/*.ckpt")], keep=1).output
    assert [path.name for path in files if path.exists()] == ["a.ckpt", "d.ckpt", "e.txt"]
    assert "removed 2 files, 16384 bytes" in told
    assert (data / "f.ckpt").is_symlink()
    assert executor().found(command(1, FreeDisk(host="node03")), {}) is Effect.NOT_DONE


def test_diagnostics_are_saved_where_nobody_reads_them_as_news(
    folder: Path, run: Callable[..., Done], executor: Callable[..., ProcessExecutor]
) -> None:
    run(1, how="launcher")
    program = of(folder).program
    told = run(2, CollectDiagnostics(job="demo", hosts=("node03",))).output
    saved = folder / "jobs/.diagnostics/c-2"
    assert told.endswith(f"saved in {saved}")
    assert (saved / "demo/output.log").read_text(encoding="utf-8").endswith("step 1 loss 2.5")
    assert "State:\tS" in (saved / f"demo/{program.pid}/status").read_text(encoding="utf-8")
    assert {"stack", "status", "threads", "wchan"} <= set(os.listdir(saved / f"demo/{program.pid}"))
    mine = executor()
    assert mine.found(command(2, CollectDiagnostics(job="demo")), {}) is Effect.DONE
    assert mine.found(command(3, CollectDiagnostics(job="demo")), {}) is Effect.NOT_DONE


def test_an_id_that_looks_like_a_path_leads_nowhere(folder: Path, run: Callable[..., Done]) -> None:
    run("../../x", CollectDiagnostics(job="demo"))
    (saved,) = (folder / "jobs/.diagnostics").iterdir()
    assert len(saved.name) == 32


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"jobs": {"../x": ("/bin/true",)}}, "names a folder"),
        ({"jobs": {"a": ("/bin/true",), "b": ("/bin/true",)}, "checkpoints": "/data/step-*"}, "need {job}"),
        ({"free": ["/*"]}, "a folder that is named"),
        ({"free": ["/data/../etc/*"]}, "without"),
        ({"free": ["data/*"]}, "from the root"),
    ],
    ids=str,
)
def test_settings_that_could_hit_what_is_not_meant_are_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Process.model_validate(wrong)


def test_two_agents_at_once_begin_one_attempt(folder: Path) -> None:
    process = settings(folder)
    agents = [
        _forked.Process(target=as_the_agent_would, args=(process, command(1), folder / f"started-{number}"))
        for number in range(3)
    ]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    assert [agent.exitcode for agent in agents] == [0, 0, 0]
    eventually(lambda: begun(folder))
    assert len(begun(folder)) == of(folder).attempt == 1


JOBS = ("one", "two", "three", "four")


@pytest.mark.parametrize(("rounds", "attendants_too"), [(10, False), (4, True)], ids=["agents", "attendants too"])
def test_each_command_begins_one_attempt_whenever_its_agent_is_killed(
    rounds: int, attendants_too: bool, folder: Path
) -> None:
    """Four jobs a round: 40 kills of agents, and 16 of agents with their attendants, from before to after the act."""
    dice = random.Random(f"{rounds}")
    process = settings(folder, names=JOBS)

    def one(job: str, number: int, delay_s: float) -> str:
        what, started = command(f"{job}-{number}", RestartJob(job=job)), folder / f"started-{job}-{number}"
        agent = _forked.Process(target=as_the_agent_would, args=(process, what, started))
        agent.start()
        eventually(started.exists)
        agent.join(delay_s)
        agent.kill()
        agent.join()
        for attendant in attendants(folder / "jobs" / job) if attendants_too else ():
            os.kill(attendant.pid, signal.SIGKILL)
        end = "found" if as_the_agent_would(process, what, started) is None else "done"
        eventually(lambda: any(note[0] == what.id for note in begun(folder, job)))
        return end

    ends: dict[str, int] = {}
    with ThreadPoolExecutor(len(JOBS)) as threads:
        for number in range(rounds):
            delays = [dice.uniform(0, 0.6) for _ in JOBS]
            for end in threads.map(one, JOBS, [number] * len(JOBS), delays):
                ends[end] = ends.get(end, 0) + 1
    for job in JOBS:
        commands = [note[0] for note in begun(folder, job)]
        expected = [f"c-{job}-{number}" for number in range(rounds)]
        assert commands == expected
        assert list(of(folder, job).commands) == expected
        assert of(folder, job).attempt == rounds
        attempt = Attempt(job, folder / "jobs" / job, rounds)
        assert belonging(of(folder, job).program, attempt.mark) == {of(folder, job).program}
    assert ends.keys() == {"found", "done"}
