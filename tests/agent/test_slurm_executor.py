"""The executor `slurm` with a real Slurm of three nodes: what it tells Slurm, and that each command counts once."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from some_commands import command, seen, stopping, terms

from relight.agent.executors.slurm import SlurmExecutor
from relight.agent.port import (
    ActionError,
    ActionFailed,
    ActionRejected,
    ActionUnknown,
    Done,
    Effect,
    Executor,
    Interrupted,
    Terms,
)
from relight.settings import Misconfigured, agents
from schemas.action import (
    CollectDiagnostics,
    CordonNode,
    DrainNode,
    Notify,
    RebootNode,
    ReplaceNode,
    RestartJob,
    RestartJobExcludingHosts,
    RestartProcess,
)
from schemas.command import RecoveryCommand
from tests.servers.slurm_server import NODES, SlurmServer

ROOT = Path(__file__).parents[2]
NUMBERS = itertools.count(random.randrange(10**9))


@pytest.fixture
def executor(slurm: SlurmServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    """An executor whose Slurm has idle nodes and no jobs."""
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    monkeypatch.setenv("SQUEUE_FORMAT", "%i only")
    yield SlurmExecutor(agents.Slurm(reboot=True))
    slurm.thaw()
    slurm.run("scancel", "--user", str(os.getuid()))
    assert seen(lambda: not slurm.run("squeue", "--noheader") and all(in_service(slurm, each) for each in NODES), 30)


def in_service(slurm: SlurmServer, name: str) -> bool:
    if "DRAIN" in state(slurm, name):
        with suppress(subprocess.CalledProcessError):  # slurmctld does not know the node yet
            slurm.run("scontrol", "update", f"nodename={name}", "state=resume")
    return state(slurm, name) == "IDLE"


def asked(action: Any, **other: Any) -> RecoveryCommand:
    """Return a command with an id of its own, issued now."""
    return command(next(NUMBERS), action, **{"issued_s": time.time(), **other})


def carried_out(executor: Executor, asked: RecoveryCommand, within_s: float = 20) -> Done:
    before = executor.prepare(asked)
    return executor.execute(asked, with_notes(before, within_s))


def with_notes(before: Mapping[str, str], within_s: float = 20, waited: Callable[[float], bool] | None = None) -> Terms:
    plain = terms(within_s, waited)
    return Terms(before, plain.waited, plain.deadline_s)


def submitted(slurm: SlurmServer, script: str = "sleep 300", *options: str, state: str = "RUNNING") -> str:
    """Submit a job, wait until it is in a state, and return its id."""
    job = slurm.run("sbatch", "--parsable", "-n1", "--output=/dev/null", *options, f"--wrap={script}").strip()
    assert seen(lambda: fields(slurm, job)["JobState"] == state), fields(slurm, job)
    return job


def fields(slurm: SlurmServer, job: str) -> dict[str, str]:
    words = slurm.run("scontrol", "show", "job", "-o", job).split()
    return dict(word.split("=", 1) for word in words if "=" in word)


def restarts(slurm: SlurmServer, job: str) -> int:
    return int(fields(slurm, job)["Restarts"])


def begin_soon(slurm: SlurmServer, job: str) -> None:
    """Have a job that was requeued run soon: Slurm lets two minutes pass. Within a second slurmd would not have it."""
    assert seen(lambda: fields(slurm, job)["JobState"] != "COMPLETING")
    if fields(slurm, job)["JobState"] == "PENDING":
        with suppress(subprocess.CalledProcessError):  # it has begun just now
            slurm.run("scontrol", "update", f"jobid={job}", "starttime=now+2")
    assert seen(lambda: fields(slurm, job)["JobState"] == "RUNNING", 20), fields(slurm, job)


def node(slurm: SlurmServer, name: str) -> str:
    return slurm.run("scontrol", "show", "node", "-o", name)


def state(slurm: SlurmServer, name: str) -> str:
    return node(slurm, name).partition(" State=")[2].split()[0]


def test_a_node_is_drained_with_a_reason_that_names_incident_and_command(
    slurm: SlurmServer, executor: Executor
) -> None:
    drain = asked(DrainNode(host="node2"))
    before = executor.prepare(drain)
    assert executor.found(drain, before) is Effect.NOT_DONE
    assert executor.execute(drain, with_notes(before)).healthy is None
    assert "DRAIN" in state(slurm, "node2")
    assert f"Reason=relight: incident {drain.incident} command {drain.id} [" in node(slurm, "node2")
    assert executor.found(drain, before) is Effect.DONE
    assert "out of service" in executor.execute(drain, with_notes(before)).output


@pytest.mark.parametrize(("action", "word"), [(CordonNode, "cordon"), (ReplaceNode, "replace")])
def test_a_cordon_and_a_replacement_are_drains_that_say_so(
    slurm: SlurmServer, executor: Executor, action: type[CordonNode], word: str
) -> None:
    job = submitted(slurm, "sleep 300", "--nodelist=node3")
    wanted = asked(action(host="node3"))
    carried_out(executor, wanted)
    assert f"Reason=relight: {word}, incident {wanted.incident} command {wanted.id} [" in node(slurm, "node3")
    assert executor.found(wanted, {}) is Effect.DONE
    assert fields(slurm, job)["JobState"] == "RUNNING"


def test_a_node_that_somebody_else_has_drained_stays_theirs(slurm: SlurmServer, executor: Executor) -> None:
    slurm.run("scontrol", "update", "nodename=node1", "state=drain", "reason=new disks [ann@noon] command x")
    for action in (DrainNode, ReplaceNode):
        assert "new disks" in carried_out(executor, asked(action(host="node1"))).output
    assert "Reason=new disks" in node(slurm, "node1")
    with pytest.raises(ActionRejected, match="somebody else has taken it out"):
        executor.prepare(asked(RebootNode(host="node1")))


def test_a_replacement_of_a_node_that_was_drained_before_says_that_it_is_to_be_replaced(
    slurm: SlurmServer, executor: Executor
) -> None:
    carried_out(executor, asked(DrainNode(host="node1")))
    carried_out(executor, asked(ReplaceNode(host="node1")))
    assert "Reason=relight: replace, " in node(slurm, "node1")


def test_a_node_is_rebooted_once_and_is_well_when_it_is_back(slurm: SlurmServer, executor: Executor) -> None:
    reboot = asked(RebootNode(host="node2"))
    before = executor.prepare(reboot)
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(executor.execute, reboot, with_notes(before, 60))
        assert seen(lambda: slurm.reboot_asked("node2"), 30), node(slurm, "node2")
        assert executor.found(reboot, before) is Effect.NOT_DONE
        slurm.reboot("node2")
        assert doing.result().healthy is True
    assert executor.found(reboot, before) is Effect.DONE
    executor.execute(reboot, with_notes(before))
    assert not slurm.reboot_asked("node2")
    assert state(slurm, "node2") == "IDLE"


def test_a_reboot_that_its_jobs_leave_no_time_for_is_cancelled(slurm: SlurmServer, executor: Executor) -> None:
    submitted(slurm, "sleep 300", "--nodelist=node3")
    with pytest.raises(ActionFailed, match="its jobs have not ended"):
        carried_out(executor, asked(RebootNode(host="node3")), 2)
    assert "REBOOT" not in state(slurm, "node3")


def test_nodes_are_rebooted_only_where_the_settings_allow_it(executor: Executor) -> None:
    with pytest.raises(ActionRejected, match=r"slurm\.reboot"):
        SlurmExecutor(agents.Slurm()).prepare(asked(RebootNode(host="node1")))


@pytest.mark.parametrize("action", [RestartJob, RestartProcess])
def test_a_job_is_started_again(slurm: SlurmServer, executor: Executor, action: type[RestartJob]) -> None:
    job = submitted(slurm)
    restart = asked(action(job=job))
    before = executor.prepare(restart)
    assert executor.found(restart, before) is Effect.NOT_DONE
    assert "its restarts are 1" in executor.execute(restart, with_notes(before)).output
    assert executor.found(restart, before) is Effect.DONE
    executor.execute(restart, with_notes(before))
    assert restarts(slurm, job) == 1


def test_a_job_is_started_again_and_not_on_hosts(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm, "sleep 300", "--exclude=node3")
    had = fields(slurm, job)["NodeList"]
    restart = asked(RestartJobExcludingHosts(job=job, hosts=(had,)))
    before = executor.prepare(restart)
    executor.execute(restart, with_notes(before))
    assert executor.found(restart, before) is Effect.DONE
    begin_soon(slurm, job)
    assert fields(slurm, job)["NodeList"] == ({"node1", "node2"} - {had}).pop()
    assert restarts(slurm, job) == 1
    assert executor.found(restart, before) is Effect.DONE


def test_a_crash_between_the_steps_of_an_exclusion_leaves_no_job_held(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm)
    restart = asked(RestartJobExcludingHosts(job=job, hosts=("node1", "node2")))
    before = executor.prepare(restart)
    slurm.run("scontrol", "requeuehold", job)
    assert executor.found(restart, before) is Effect.NOT_DONE
    executor.execute(restart, with_notes(before))
    begin_soon(slurm, job)
    assert fields(slurm, job)["NodeList"] == "node3"
    assert restarts(slurm, job) == 1


def test_hosts_that_a_job_asks_for_are_not_excluded(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm, "sleep 300", "--nodelist=node2")
    with pytest.raises(ActionRejected, match="asks for node2"):
        executor.prepare(asked(RestartJobExcludingHosts(job=job, hosts=("node1", "node2"))))


def test_a_job_that_failed_is_started_again_while_slurm_knows_it(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm, "exit 3", state="FAILED")
    carried_out(executor, asked(RestartJob(job=job)))
    assert (fields(slurm, job)["JobState"], restarts(slurm, job)) == ("PENDING", 1)


def test_a_job_that_slurm_has_requeued_by_itself_is_left_alone(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm)
    early, late = asked(RestartJob(job=job)), asked(RestartJob(job=job))
    before = executor.prepare(early)
    slurm.run("scontrol", "requeue", job)
    assert executor.found(early, before) is Effect.DONE
    assert "already" in executor.execute(early, with_notes(before)).output
    assert seen(lambda: fields(slurm, job)["JobState"] == "PENDING")
    assert "already" in carried_out(executor, late).output
    begin_soon(slurm, job)
    assert "already" in carried_out(executor, late).output
    assert restarts(slurm, job) == 1


@pytest.mark.parametrize(("options", "why"), [(("--hold",), "it is held"), (("--no-requeue",), "requeue=1")])
def test_a_job_that_is_held_or_may_not_be_requeued_is_left_alone(
    slurm: SlurmServer, executor: Executor, options: tuple[str, ...], why: str
) -> None:
    job = submitted(slurm, "sleep 300", *options, state="PENDING" if "--hold" in options else "RUNNING")
    with pytest.raises(ActionRejected, match=why):
        executor.prepare(asked(RestartJob(job=job)))


def test_a_job_that_runs_and_is_to_be_held_next_is_left_alone(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm)
    slurm.run("scontrol", "hold", job)
    with pytest.raises(ActionRejected, match="it is held"):
        executor.prepare(asked(RestartJob(job=job)))


def test_what_srun_runs_is_no_batch_job(slurm: SlurmServer, executor: Executor) -> None:
    with ThreadPoolExecutor(1) as pool:
        runs = pool.submit(slurm.run, "srun", "-n1", "--job-name=by-hand", "sleep", "3")
        assert seen(lambda: slurm.run("squeue", "--noheader", "--name=by-hand", "--states=RUNNING"))
        with pytest.raises(ActionRejected, match="no batch job"):
            executor.prepare(asked(RestartJob(job="by-hand")))
        runs.result()


def test_a_job_that_was_cancelled_is_left_alone(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm)
    slurm.run("scancel", job)
    assert seen(lambda: fields(slurm, job)["JobState"] == "CANCELLED")
    with pytest.raises(ActionRejected, match="it was cancelled"):
        executor.prepare(asked(RestartJob(job=job)))


def test_a_name_is_that_of_the_one_job_that_runs_or_else_ended_last(slurm: SlurmServer, executor: Executor) -> None:
    name = f"llama-{next(NUMBERS)}"
    submitted(slurm, "exit 1", f"--job-name={name}", state="FAILED")
    last = submitted(slurm, "exit 1", f"--job-name={name}", state="FAILED")
    assert executor.prepare(asked(RestartJob(job=name)))["job"] == last
    runs = submitted(slurm, "sleep 300", f"--job-name={name}")
    assert executor.prepare(asked(RestartJob(job=name)))["job"] == runs
    submitted(slurm, "sleep 300", f"--job-name={name}")
    with pytest.raises(ActionRejected, match="can be any of 2 jobs"):
        executor.prepare(asked(RestartJob(job=name)))


def test_one_task_of_an_array_is_started_again_and_no_other(slurm: SlurmServer, executor: Executor) -> None:
    array = slurm.run("sbatch", "--parsable", "-n1", "--array=1-3", "--output=/dev/null", "--wrap=sleep 300").strip()
    tasks = [f"{array}_{number}" for number in (1, 2, 3)]
    for task in tasks:
        assert seen(lambda task=task: fields(slurm, task)["JobState"] == "RUNNING")
    with pytest.raises(ActionRejected, match="can be any of 3 jobs"):
        executor.prepare(asked(RestartJob(job=array)))
    for task in tasks[1:]:  # of one of them Slurm's own number is that of the array
        carried_out(executor, asked(RestartJob(job=task)))
    assert [restarts(slurm, task) for task in tasks] == [0, 1, 1]


@pytest.mark.parametrize(
    "action",
    [
        DrainNode(host="node9"),
        DrainNode(host="ALL"),
        DrainNode(host="all"),
        DrainNode(host="-node1"),
        DrainNode(host="node[1-3]"),
        DrainNode(host="node1,node2"),
        DrainNode(host="node1 state=down"),
        DrainNode(host="localhost"),
        RestartJob(job="999999"),
        RestartJob(job="no-such-job"),
        RestartJob(job="-M"),
        RestartJob(job="1,2"),
        RestartJob(job="a\nb"),
        RestartJobExcludingHosts(job="999999", hosts=("node1",)),
        CollectDiagnostics(),
        CollectDiagnostics(hosts=("-a",)),
        Notify(),
    ],
    ids=str,
)
def test_what_slurm_does_not_know_or_would_take_for_more_is_rejected(executor: Executor, action: Any) -> None:
    with pytest.raises(ActionRejected):
        executor.prepare(asked(action))


def test_an_id_that_would_not_fit_a_reason_is_rejected(executor: Executor) -> None:
    with pytest.raises(ActionRejected, match="cannot be part of a reason"):
        executor.prepare(asked(DrainNode(host="node1"), id="a b"))


def test_diagnostics_are_what_slurm_shows_of_nodes_and_a_job(slurm: SlurmServer, executor: Executor) -> None:
    job = submitted(slurm)
    collect = asked(CollectDiagnostics(hosts=("node1", "node9"), job=job))
    said = carried_out(executor, collect).output
    assert "NodeName=node1" in said
    assert "node9 not found" in said
    assert f"JobId={job}" in said
    assert executor.found(collect, {"job": job}) is Effect.NOT_DONE


def test_a_slurmctld_that_is_away_for_a_while_is_asked_again(slurm: SlurmServer, executor: Executor) -> None:
    drain = asked(DrainNode(host="node1"))
    before = executor.prepare(drain)
    slurm.stop_slurmctld()
    with pytest.raises(ActionError, match="no answer"):
        executor.found(drain, before)
    with pytest.raises(ActionFailed, match="no answer"):
        executor.execute(drain, with_notes(before, 3))
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(executor.execute, drain, with_notes(before, 60))
        time.sleep(1)
        slurm.start_slurmctld()
        doing.result()
    assert executor.found(drain, before) is Effect.DONE


def test_a_restart_that_slurm_does_not_answer_to_is_told_once_and_then_only_looked_at(
    slurm: SlurmServer, executor: Executor, tmp_path: Path
) -> None:
    job = submitted(slurm)
    restart = asked(RestartJob(job=job))
    before = executor.prepare(restart)
    numb = SlurmExecutor(agents.Slurm(folder=numbing(tmp_path)))
    with pytest.raises(ActionUnknown, match="has not"):
        numb.execute(restart, with_notes(before, 4))
    assert (tmp_path / "told").read_text("utf-8").count("requeue") == 1
    assert restarts(slurm, job) == 0


def numbing(folder: Path) -> Path:
    """Return a folder of Slurm's programs with which a requeue never reaches slurmctld."""
    said = "Unexpected message received for job 1"
    return programs(folder, f'case $1 in requeue*) echo "$@" >>{folder}/told; echo {said} >&2; exit 1;; esac')


def programs(folder: Path, first: str) -> Path:
    """Return a folder of Slurm's programs that do something first."""
    for name in ("scontrol", "squeue"):
        (folder / name).write_text(f'#!/bin/sh\n{first}\nexec {shutil.which(name)} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def test_what_slurm_is_being_told_when_the_agent_stops_goes_on_and_is_waited_for(
    slurm: SlurmServer, executor: Executor, tmp_path: Path
) -> None:
    job = submitted(slurm)
    restart = asked(RestartJob(job=job))
    before = executor.prepare(restart)
    slow = SlurmExecutor(agents.Slurm(folder=programs(tmp_path, "case $1 in requeue) sleep 3;; esac")))
    with stopping(0.7) as waited, pytest.raises(Interrupted):
        slow.execute(restart, with_notes(before, 60, waited))
    assert restarts(slurm, job) == 0
    assert executor.found(restart, before) is Effect.DONE
    assert restarts(slurm, job) == 1


def test_an_agent_that_is_to_stop_is_not_kept_by_a_frozen_slurmctld(slurm: SlurmServer, executor: Executor) -> None:
    drain = asked(DrainNode(host="node3"))
    before = executor.prepare(drain)
    slurm.freeze()
    with stopping(0.5) as waited:
        began_s = time.monotonic()
        with pytest.raises(Interrupted):
            executor.execute(drain, with_notes(before, 60, waited))
        assert time.monotonic() - began_s < 2


def test_nothing_is_begun_after_the_deadline(slurm: SlurmServer, executor: Executor) -> None:
    drain = asked(DrainNode(host="node3"))
    with pytest.raises(ActionFailed, match="deadline has passed"):
        executor.execute(drain, with_notes(executor.prepare(drain), 0))
    assert "DRAIN" not in state(slurm, "node3")


def test_programs_that_are_not_there_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"slurm\.folder"):
        SlurmExecutor(agents.Slurm(folder=tmp_path))


ROUNDS = 30
DRIVER = """
import json, sys, threading, time
from pathlib import Path
from relight.agent.executors.slurm import SlurmExecutor
from relight.agent.port import Effect, Terms
from relight.settings import agents
from schemas.command import RecoveryCommand

asked, started = RecoveryCommand.model_validate_json(sys.argv[1]), Path(sys.argv[2])
executor = SlurmExecutor(agents.Slurm())
if started.exists():
    before = json.loads(started.read_text())
    again = executor.found(asked, before) is Effect.NOT_DONE
else:
    before, again = executor.prepare(asked), True
    part = started.with_suffix(".part")
    part.write_text(json.dumps(before))
    part.rename(started)
    print("started", flush=True)
if again:
    executor.execute(asked, Terms(before, threading.Event().wait, time.time() + 60))
started.with_suffix(".ended").touch()
"""


def test_each_command_counts_once_however_often_the_agent_is_killed(
    slurm: SlurmServer, executor: Executor, tmp_path: Path
) -> None:
    submit = ("sbatch", "--parsable", "-n1", "--output=/dev/null", "--wrap=sleep 300")
    jobs = [slurm.run(*submit).strip() for _ in range(ROUNDS)]
    for job in jobs:
        assert seen(lambda job=job: fields(slurm, job)["JobState"] == "RUNNING", 30)
    dice = random.Random(7)

    def killed_and_recovered(number: int) -> None:
        job = jobs[number]
        action = RestartJobExcludingHosts(job=job, hosts=("node1",)) if number % 2 else RestartJob(job=job)
        drive(slurm, asked(action), tmp_path, delays[number])

    delays = [[dice.uniform(0, 0.5 if number % 2 else 0.1)] for number in range(ROUNDS)]
    for some in delays[::6]:
        some.append(dice.uniform(0.5, 2))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(killed_and_recovered, range(ROUNDS)))
    assert [restarts(slurm, job) for job in jobs] == [1] * ROUNDS
    assert {fields(slurm, job)["ExcNodeList"] for job in jobs[1::2]} == {"node1"}
    assert "held" not in slurm.run("squeue", "--noheader", "--format=%r").lower()


def drive(slurm: SlurmServer, asked: RecoveryCommand, folder: Path, delays: list[float]) -> None:
    """Run the driver, kill it so long after it has started, let its job run again if it may, and recover."""
    started = folder / asked.id
    arguments = [sys.executable, "-c", DRIVER, asked.model_dump_json(), str(started)]
    for number, delay in enumerate(delays):
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            if number == 0:
                assert process.stdout.readline() == "started\n"
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        let_run(slurm, asked.action.job)
    subprocess.run(arguments, cwd=ROOT, check=True)
    assert started.with_suffix(".ended").exists()


def let_run(slurm: SlurmServer, job: str) -> None:
    """See that a job that was requeued runs when the agent is back: else Slurm itself would refuse to do it again."""
    now = fields(slurm, job)
    if now["Restarts"] != "0" and now["Priority"] != "0":
        begin_soon(slurm, job)
