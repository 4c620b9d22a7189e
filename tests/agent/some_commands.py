"""Commands as the agent hands them to executors, and the terms under which it does."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from relight.agent.port import Terms
from schemas.action import Action, Notify, RebootNode, Resource
from schemas.command import RecoveryCommand


def command(number: int = 1, action: Action | None = None, **other: Any) -> RecoveryCommand:
    """Return a command about incident `inc-NUMBER`; by default it tells people."""
    found = action or Notify()
    affects = found.resources
    return RecoveryCommand(
        **{
            "id": f"cmd-{number}",
            "cluster": "prod",
            "incident": f"inc-{number}",
            "fault": "gpu.fell_off_the_bus",
            "playbook": "gpu-lost",
            "rung": 1,
            "action": found,
            "target": str(affects[0]) if affects else "none",
            "affects": affects,
            "reason": f"GPU has fallen off the bus (inc-{number}) in job llama on node03",
            "issued_s": 1_774_000_000.0,
            "expires_s": time.time() + 60,
            "deadline_s": time.time() + 60,
            **other,
        }
    )


def reboot(host: str = "node03", **other: Any) -> RecoveryCommand:
    return command(action=RebootNode(host=host), **other)


def on_host(host: str) -> tuple[Resource, ...]:
    return RebootNode(host=host).resources


def terms(within_s: float = 30, waited: Callable[[float], bool] | None = None) -> Terms:
    """Return terms of an agent that is not to stop, or stops as `waited` says."""
    return Terms({}, waited or threading.Event().wait, time.time() + within_s)


@contextmanager
def stopping(after_s: float) -> Iterator[Callable[[float], bool]]:
    """Return how an agent waits that is told to stop after so many seconds."""
    stop = threading.Event()
    timer = threading.Timer(after_s, stop.set)
    timer.start()
    try:
        yield stop.wait
    finally:
        timer.cancel()
        timer.join()


def seen(what: Callable[[], object], within_s: float = 10) -> bool:
    """Wait until something is true, and tell whether it came true in time."""
    end_s = time.monotonic() + within_s
    while not what():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True
