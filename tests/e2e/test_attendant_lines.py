"""What the attendant writes into a log, and what it is taken for: the real one, and programs that really end so."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command import Answer, scan

from relight.agent.executors.attendant import Attempt, Plan, Stop, write

PATIENCE_S = 30.0
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/train.py", line 12, in <module>
    loss.backward()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB
"""
WORDS_OF_ITS_OWN = {
    "storage.disk_full": "OSError: [Errno 28] No space left on device: '/ckpt/step_20.pt'",
    "host.shm_exhausted": "RuntimeError: unable to write to file </torch_81_0>: No space left on device (28)",
    "cuda.illegal_access": "RuntimeError: CUDA error: an illegal memory access was encountered",
    "training.loss_nan": "FloatingPointError: loss is nan at step 12, stopping training",
    "host.oom_kill": "Memory cgroup out of memory: Killed process 4711 (python) total-vm:1kB, anon-rss:1kB",
    "software.user_code": "ValueError: lr_decay_steps must exceed lr_warmup_steps",
}


def attended(folder: Path, program: str, *, stopped: bool = False, path: str = sys.executable) -> Path:
    """Let the attendant run a program of Python to its end, and return the log."""
    attempt = Attempt("demo", folder / "demo", 1)
    attempt.folder.mkdir(parents=True)
    if stopped:
        write(attempt.folder / "stop.json", Stop(command="c-1", until_s=time.time() + 60))
    plan = Plan(job="demo", folder=attempt.job_folder, attempt=1, arguments=(path, "-S", "-c", program))
    subprocess.run(
        [sys.executable, "-m", "relight.agent.executors.attendant", plan.model_dump_json()], check=True, timeout=30
    )
    deadline = time.monotonic() + PATIENCE_S
    while attempt.end() is None:
        assert time.monotonic() < deadline, "the attendant does not note the end"
        time.sleep(0.02)
    return attempt.output


def dying(number: int) -> str:
    """Return a program that dies of a signal, and leaves no core behind."""
    return f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.kill(os.getpid(), {number})"


def failed(answer: Answer) -> dict[str, Any]:
    (failure,) = answer.failures
    return failure


@pytest.mark.parametrize(
    ("number", "signature", "fault"),
    [
        (signal.SIGKILL, "attendant.killed", "launcher.worker_exit"),
        (signal.SIGSEGV, "attendant.segfault", "host.segfault"),
        (signal.SIGBUS, "attendant.bus-error", "launcher.worker_exit"),
        (signal.SIGABRT, "attendant.aborted", "launcher.worker_exit"),
        (signal.SIGTERM, "attendant.told-to-end", "launcher.worker_exit"),
        (signal.SIGHUP, "attendant.told-to-end", "launcher.worker_exit"),
        (signal.SIGILL, "attendant.illegal-instruction", "launcher.worker_exit"),
        (signal.SIGXCPU, "attendant.signal", "launcher.worker_exit"),
        (40, "attendant.signal", "launcher.worker_exit"),
    ],
)
def test_a_signal_that_nothing_explains_is_the_diagnosis(
    number: int, signature: str, fault: str, tmp_path: Path
) -> None:
    told = failed(scan(attended(tmp_path, dying(number))))
    assert (told["signature"], told["fault"]) == (signature, fault)
    assert told["confidence"] >= 0.5, "too little to be acted on"


def test_an_interrupt_is_taken_for_what_somebody_wanted(tmp_path: Path) -> None:
    own = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); " + dying(signal.SIGINT)
    assert failed(scan(attended(tmp_path, own)))["fault"] == "scheduler.cancelled"


def test_a_status_that_is_not_0_is_a_failure(tmp_path: Path) -> None:
    told = failed(scan(attended(tmp_path, "raise SystemExit(3)")))
    assert (told["signature"], told["evidence"][0]["captures"]["exitcode"]) == ("attendant.failed", "3")


def test_a_program_that_cannot_be_started_is_a_matter_of_the_settings(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\0\1")
    nonsense.chmod(0o700)
    assert failed(scan(attended(tmp_path, "", path=str(nonsense))))["fault"] == "software.config"


def test_where_nothing_more_is_known_of_why_it_could_not_be_started_that_is_what_is_said(tmp_path: Path) -> None:
    attempt = Attempt("demo", tmp_path / "demo", 1)
    attempt.folder.mkdir(parents=True)
    attempt.close("the program could not be started: [Errno 7] Argument list too long: '/srv/train'", 127)
    assert failed(scan(attempt.output))["signature"] == "attendant.not-started"


def test_one_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert failed(scan(attended(tmp_path, "", path="/srv/no-such-program")))["fault"] == "software.missing_file"


def test_a_program_that_ended_well_has_succeeded(tmp_path: Path) -> None:
    answer = scan(attended(tmp_path, "print('step 1/1 | loss 0.1')"))
    assert (answer.outcomes, answer.incidents) == (["succeeded"], [])


def test_an_end_that_nobody_saw_is_a_failure(tmp_path: Path) -> None:
    attempt = Attempt("demo", tmp_path / "demo", 1)
    attempt.folder.mkdir(parents=True)
    attempt.close_unseen()
    assert failed(scan(attempt.output))["signature"] == "attendant.unseen"


@pytest.mark.parametrize("program", [dying(signal.SIGKILL), dying(signal.SIGTERM), "raise SystemExit(3)"])
def test_a_program_that_was_stopped_for_a_command_has_not_failed(program: str, tmp_path: Path) -> None:
    answer = scan(attended(tmp_path, program, stopped=True))
    assert answer.incidents == [] or all(incident["impact"] != "failed" for incident in answer.incidents)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGTERM, None]
)
@pytest.mark.parametrize("fault", sorted(WORDS_OF_ITS_OWN))
def test_whatever_else_is_in_the_log_explains_the_attendants_line(
    number: int | None, fault: str, tmp_path: Path
) -> None:
    says = f"print({WORDS_OF_ITS_OWN[fault]!r}, flush=True); "
    ends = "raise SystemExit(1)" if number is None else dying(number)
    told = failed(scan(attended(tmp_path, says + ends)))
    assert told["fault"] == fault
    assert told["alternatives"] == []
    assert told["symptoms"] == [] or all(one["signature"].startswith("attendant.") for one in told["symptoms"])


def test_a_traceback_explains_how_the_program_ended(tmp_path: Path) -> None:
    told = failed(scan(attended(tmp_path, f"print({TRACEBACK!r}, flush=True); raise SystemExit(1)")))
    assert told["fault"] == "cuda.out_of_memory"
    assert [one["signature"] for one in told["symptoms"]] == ["attendant.failed"]


def test_two_attempts_are_parted_by_the_attendants_first_line(tmp_path: Path) -> None:
    first = attended(tmp_path / "one", "print('step 1/9 | loss 0.1', flush=True); raise SystemExit(3)")
    second = attended(tmp_path / "two", "print('step 2/9 | loss 0.1')")
    log = tmp_path / "job.log"
    log.write_bytes(first.read_bytes() + second.read_bytes().replace(b"attempt 1", b"attempt 2"))
    (run,) = scan(log).runs
    assert [attempt["outcome"] for attempt in run["attempts"]] == ["failed", "succeeded"]


def test_no_core_is_left_behind(tmp_path: Path) -> None:
    attended(tmp_path, dying(signal.SIGABRT))
    assert [name for name in os.listdir(tmp_path) if name.startswith("core")] == []
