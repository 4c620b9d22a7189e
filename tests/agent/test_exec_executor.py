"""The executor `exec` with real programs: what reaches them, how they end, and what goes on when the agent stops."""

import os
import subprocess
import sys
import time
import tracemalloc
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from some_commands import command, reboot, seen, stopping, terms

from relight.agent.executors.exec import ExecExecutor
from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Executor,
    Interrupted,
)
from relight.settings import agents
from schemas.action import CollectDiagnostics, ResetGpu, RestartJobExcludingHosts, RestartProcess, RollbackCheckpoint

PYTHON = sys.executable
SHOW = "import os, sys; print(sys.argv[1:]); print(sorted(os.environ)); print(os.getsid(0) == os.getpid(), os.getcwd())"


def runs(program: str, *arguments: str, action: str = "reboot_node", timeout_s: float = 20) -> ExecExecutor:
    """Return an executor with a Python program, which runs without what is installed."""
    line = (PYTHON, "-I", "-S", "-c", program, *arguments)
    return ExecExecutor(agents.Exec(programs={action: line}, timeout_s=timeout_s))


def ended(executor: Executor, within_s: float = 30) -> Done | ActionError:
    try:
        return executor.execute(reboot(), terms(within_s))
    except ActionError as error:
        return error


def test_a_program_gets_its_arguments_and_next_to_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIGHT_WEBHOOK__TOKEN", "secret")
    end = runs(SHOW, "{host}", "--why={fault}/{incident}", "{command}", "{ {x:{host}}").execute(reboot(), terms())
    arguments, environment, where = end.output.splitlines()
    assert arguments == "['node03', '--why=gpu.fell_off_the_bus/inc-1', 'cmd-1', '{ {x:node03}']"
    own = ["RELIGHT_CLUSTER", "RELIGHT_COMMAND", "RELIGHT_INCIDENT"]
    assert (
        set(own) <= set(literal_eval(environment)) <= {*own, "PATH", "HOME", "LANG", "LC_CTYPE"}
    )  # Python adds LC_CTYPE
    assert where == "True /"


@pytest.mark.parametrize(
    ("action", "arguments", "filled"),
    [
        (RestartJobExcludingHosts(job="llama", hosts=("a", "b")), ("{job}", "{hosts}"), "['llama', 'a,b']"),
        (RollbackCheckpoint(job="llama", checkpoints=3), ("{job}", "{checkpoints}"), "['llama', '3']"),
        (ResetGpu(host="a", gpu="0000:65:00.0"), ("{host}", "{gpu}"), "['a', '0000:65:00.0']"),
        (RestartProcess(job="ns/llama", rank=0), ("{job}", "{rank}"), "['ns/llama', '0']"),
        (CollectDiagnostics(hosts=("a",)), ("{hosts}",), "['a']"),
    ],
)
def test_what_an_action_has_is_filled_in(action: Any, arguments: tuple[str, ...], filled: str) -> None:
    executor = runs(SHOW, *arguments, action=action.kind)
    assert executor.execute(command(action=action), terms()).output.splitlines()[0] == filled


@pytest.mark.parametrize(
    ("action", "arguments"),
    [(CollectDiagnostics(job="llama"), "/data/{hosts}"), (RestartProcess(job="llama"), "{host}")],
)
def test_what_the_command_does_not_have_is_not_left_empty(action: Any, arguments: str) -> None:
    with pytest.raises(ActionRejected, match="the command has no host"):
        runs(SHOW, arguments, action=action.kind).prepare(command(action=action))


def test_an_empty_name_is_not_filled_in() -> None:
    with pytest.raises(ActionRejected, match="the command has no fault"):
        runs(SHOW, "/data/{fault}").prepare(reboot(fault=""))


@pytest.mark.parametrize(
    "host", ["-rf", "--help", "..", ".", "../../etc", "a/../b", "a/..", "a\nb", "a\x00b", "a\x1b[2J", "a\x9bb"]
)
def test_what_a_program_could_take_for_something_else_is_refused(host: str) -> None:
    executor = runs(SHOW, "--host={host}")
    with pytest.raises(ActionRejected, match="cannot be an argument"):
        executor.prepare(reboot(host))
    with pytest.raises(ActionRejected, match="cannot be an argument"):
        executor.execute(reboot(host), terms())


@pytest.mark.parametrize("hosts", [("a,b",), ("a", "-b"), ("a", "b,c")])
def test_one_of_several_hosts_cannot_be_two_or_an_option(hosts: tuple[str, ...]) -> None:
    action = RestartJobExcludingHosts(job="llama", hosts=hosts)
    with pytest.raises(ActionRejected):
        runs(SHOW, "{hosts}", action=action.kind).prepare(command(action=action))


@given(st.text(min_size=1, max_size=40))
def test_a_value_is_refused_or_one_argument_as_it_is(host: str) -> None:
    executor = ExecExecutor(agents.Exec(programs={"reboot_node": ("/bin/true", "{host}")}))
    try:
        filled = executor._arguments(reboot(host))
    except ActionRejected:
        return
    assert filled == ["/bin/true", host]
    assert not host.startswith("-")


def test_a_value_that_looks_like_a_placeholder_or_a_shells_is_not_looked_into() -> None:
    for host in ("{command}", "$(reboot)", "`id`", "a;b", "a b", "*"):
        assert runs(SHOW, "{host}").execute(reboot(host), terms()).output.splitlines()[0] == str([host])


def test_an_id_that_no_variable_can_hold_is_refused() -> None:
    with pytest.raises(ActionRejected, match="RELIGHT_INCIDENT"):
        runs(SHOW).prepare(reboot(incident="a\x00b"))


def test_another_status_than_0_is_a_failure_with_what_was_printed() -> None:
    end = ended(runs("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert isinstance(end, ActionFailed)
    assert str(end) == "it ended with status 3"
    assert sorted(end.output.splitlines()) == ["err", "out"]


def test_a_program_that_another_has_killed_may_have_done_it() -> None:
    end = ended(runs("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert isinstance(end, ActionUnknown)
    assert str(end) == "it was killed by SIGKILL"


@pytest.mark.parametrize("program", ["/missing/program", "/etc/passwd", "/"])
def test_a_program_that_cannot_be_started_is_a_failure(program: str) -> None:
    end = ended(ExecExecutor(agents.Exec(programs={"reboot_node": (program,)})))
    assert isinstance(end, ActionFailed)
    assert str(end).startswith("it could not be started: ")


def test_an_action_without_a_program_is_rejected() -> None:
    executor = runs(SHOW, action="drain_node")
    assert executor.actions == {"drain_node"}
    with pytest.raises(ActionRejected, match="no program for reboot_node"):
        executor.execute(reboot(), terms())


def test_of_much_output_the_end_is_kept_without_escapes() -> None:
    program = (
        "import sys\nfor n in range(300_000): print('\\x1b[31mline', n)\nsys.stdout.write('\\x1b]0;title\\x07last\\n')"
    )
    end = ended(runs(program))
    assert isinstance(end, Done)
    assert len(end.output) == 8000
    assert end.output.endswith("line 299999\nlast")
    assert "\x1b" not in end.output


def test_no_more_is_remembered_than_is_kept() -> None:
    executor = runs("import os\nfor _ in range(640): os.write(1, b'x' * 65_535 + b'\\n')")
    tracemalloc.start()
    try:
        assert isinstance(ended(executor), Done)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_output_that_is_no_text_does_no_harm() -> None:
    end = ended(runs(r"import os; os.write(1, b'a\xff\xfe\x00b')"))
    assert end == Done("a\ufffd\ufffdb")


@pytest.mark.parametrize(("timeout_s", "within_s"), [(0.6, 30), (30, 0.6)])
def test_what_takes_too_long_is_killed_with_all_that_it_has_started(
    tmp_path: Path, timeout_s: float, within_s: float
) -> None:
    began_s = time.monotonic()
    end = ended(runs(STUBBORN.format(folder=tmp_path), timeout_s=timeout_s), within_s)
    assert isinstance(end, ActionUnknown)
    assert "killed, for it had not ended" in str(end)
    assert "began" in end.output
    assert time.monotonic() - began_s < 5
    assert seen(lambda: not alive(pid(tmp_path / "child")))
    assert not alive(pid(tmp_path / "parent"))


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
with open({folder!r} + ("/parent" if child else "/child"), "w") as file:
    file.write(str(os.getpid()))
print("began", flush=True)
time.sleep(60)
"""
STUBBORN = STUBBORN.replace("{folder!r}", "'{folder}'")


def pid(path: Path) -> int:
    assert seen(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_that_is_told_to_end_can_tidy_up(tmp_path: Path) -> None:
    program = (
        "import signal, sys, time, pathlib\n"
        f"def tidy(*_): pathlib.Path('{tmp_path}/tidy').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, tidy); time.sleep(60)"
    )
    assert isinstance(ended(runs(program, timeout_s=2)), ActionUnknown)
    assert (tmp_path / "tidy").exists()


def test_when_the_agent_stops_the_program_goes_on_whatever_it_prints(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\ntime.sleep(1)\n"
        "for n in range(100_000): print('line', n, flush=n % 1000 == 0)\n"
        f"pathlib.Path('{tmp_path}/done').write_text('x')"
    )
    began_s = time.monotonic()
    with stopping(0.3) as waited, pytest.raises(Interrupted):
        runs(program).execute(reboot(), terms(30, waited))
    assert time.monotonic() - began_s < 1
    assert seen(lambda: (tmp_path / "done").exists())


AGENT = """
import sys
from test_exec_executor import reboot, runs, terms
runs(sys.argv[1]).execute(reboot(), terms())
"""


def test_the_program_goes_on_and_prints_when_the_agent_is_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, time\n"
        f"pathlib.Path('{tmp_path}/begun').touch(); time.sleep(1)\n"
        "for n in range(100_000): print('line', n)\n"
        f"pathlib.Path('{tmp_path}/done').touch()"
    )
    agent = subprocess.Popen(
        [PYTHON, "-c", AGENT, program], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert seen(lambda: (tmp_path / "begun").exists(), 30)
    agent.kill()
    agent.wait()
    assert not (tmp_path / "done").exists()
    assert seen(lambda: (tmp_path / "done").exists())


def test_a_program_that_leaves_something_running_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    program = f"import os, time\nprint('x', flush=True)\nif os.fork() == 0: time.sleep(3); open('{tmp_path}/done', 'w')"
    began_s = time.monotonic()
    assert ended(runs(program)) == Done("x")
    assert time.monotonic() - began_s < 2.5
    assert seen(lambda: (tmp_path / "done").exists())


def test_after_the_deadline_nothing_is_started(tmp_path: Path) -> None:
    assert isinstance(ended(runs(f"open('{tmp_path}/done', 'w')"), within_s=-1), ActionFailed)
    assert not list(tmp_path.iterdir())


def test_a_program_cannot_be_asked_what_it_has_done() -> None:
    executor = runs(SHOW)
    assert executor.found(reboot(), executor.prepare(reboot())) is Effect.UNKNOWN
    executor.close()


@pytest.mark.parametrize(
    ("programs", "says"),
    [
        ({"reboot": ("/bin/true",)}, "there is no action 'reboot'"),
        ({"reboot_node": ("true",)}, "needs a path from the root"),
        ({"reboot_node": ()}, "needs a path from the root"),
        ({"reboot_node": ("/bin/true", "{job}")}, "cannot be filled in for reboot_node; what can is {action}"),
        ({"reboot_node": ("/bin/true", "x{unknown}")}, "{unknown} cannot be filled in"),
        ({"reboot_node": ("/bin/{host}",)}, "cannot depend on a command"),
    ],
)
def test_wrong_programs_are_mistakes_of_the_settings(programs: dict[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        agents.Exec(programs=programs)
    assert says in str(wrong.value)


def test_without_programs_it_is_not_in_use() -> None:
    assert not agents.Exec().used
    assert agents.Exec(programs={"reboot_node": ("/bin/true",)}).used
