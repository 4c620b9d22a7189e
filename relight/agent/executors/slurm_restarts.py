"""How the executor `slurm` starts jobs again, once for each command: Slurm counts a job's restarts.

Hosts can only be excluded of a job that waits. So a job that is not to run on some is requeued and held, the hosts are
excluded, and it is let go; each of these steps follows from what Slurm says, so a crash between them does no harm.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from relight.agent.executors.slurm_programs import (
    ENDING,
    RUNNING,
    WAITING,
    Job,
    NoAnswer,
    Patience,
    Programs,
    Refused,
    Unsettled,
    a_moment,
    answered,
    is_id,
)
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done
from schemas.command import RecoveryCommand

_POLL_S: Final = 0.1
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@=+-]{0,254}")
_HELD_HERE: Final = "job requeued in held state"
"""What Slurm says of a job after `requeuehold`, and of no other."""


class Restarts:
    """Starts jobs again. Used by several threads."""

    def __init__(self, programs: Programs) -> None:
        """Take how Slurm is spoken to."""
        self._programs = programs

    def named(self, name: str, patience: Patience) -> Job:
        """Return the job that is meant by an id or a name: what runs, else what waits, else what ended last.

        Raises: ActionRejected, Refused, NoAnswer.
        """
        if not _NAME.fullmatch(name):
            raise ActionRejected(f"{name[:100]!r} cannot be the name of a job")
        jobs = self._programs.jobs(patience, name)
        if is_id(name):
            return _only(name, jobs)
        live = [job for job in jobs if job.state in RUNNING or job.state == ENDING]
        if live := live or [job for job in jobs if job.state in WAITING]:
            return _only(name, live)
        return _only(name, sorted(jobs, key=lambda job: (job.submitted_s, job.number))[-1:])

    def notes(self, name: str, hosts: frozenset[str], patience: Patience) -> Mapping[str, str]:
        """Return what is to be noted of a job before it is started again, and not on hosts.

        Raises:
            ActionRejected: it cannot be started again, or is not one.
            Refused, NoAnswer: Slurm knows no such job, or says nothing.
        """
        job = self.named(name, patience)
        if why := _unfit(job):
            raise ActionRejected(f"{job}: {why}")
        if hosts and (asked := sorted(self._programs.hosts(patience, job.id)[0] & hosts)):
            raise ActionRejected(f"job {job.id} asks for {asked[0]}, which is to be excluded")
        return {"job": job.id, "restarts": str(job.restarts), "state": job.state}

    def is_so(
        self, command: RecoveryCommand, hosts: frozenset[str], before: Mapping[str, str], patience: Patience
    ) -> bool:
        """Tell whether a job was started again since `before`, and not on hosts. Raises: Refused, NoAnswer."""
        job = self._job(before, patience)
        if not hosts:
            return _restarted(job, command, before)
        return self._next_step(job, command, before, hosts, patience) is None

    def restart(self, command: RecoveryCommand, before: Mapping[str, str], patience: Patience) -> Done:
        """Start a job again, if nobody has since. Raises: ActionUnknown, Refused, NoAnswer."""
        job = self._job(before, patience)
        if _restarted(job, command, before):
            return Done(f"Slurm has started it again already, or is about to: {job}")
        self._requeue("requeue", job, command, patience)
        try:
            return Done(str(self._job(before, a_moment())))
        except (NoAnswer, Refused):
            return Done(f"Slurm starts job {job.id} again")

    def restart_elsewhere(
        self, command: RecoveryCommand, hosts: frozenset[str], before: Mapping[str, str], patience: Patience
    ) -> Done:
        """Start a job again, and not on hosts. Raises: ActionFailed, ActionUnknown, Refused, NoAnswer."""
        while True:
            job = self._job(before, patience)
            step = self._next_step(job, command, before, hosts, patience)
            try:
                match step:
                    case None:
                        return Done(f"{job}, and does not run on {', '.join(sorted(hosts))}")
                    case "requeuehold":
                        self._requeue(step, job, command, patience)
                    case "update":
                        excluded = ",".join(sorted(self._programs.hosts(patience, job.id)[1] | hosts))
                        update = ("update", f"jobid={job.id}", f"excnodelist={excluded}")
                        self._programs.change(patience, command.id, *update)
                    case _:
                        self._programs.change(patience, command.id, "release", job.id)
            except Refused as no:
                if "pending execution" not in str(no):  # it has begun just now: look again
                    self._let_go(job, command, before)
                    raise
            if not patience.pause(_POLL_S):
                raise ActionFailed(f"it took too long: {self._job(before, a_moment())}")

    def _next_step(
        self, job: Job, command: RecoveryCommand, before: Mapping[str, str], hosts: frozenset[str], patience: Patience
    ) -> str | None:
        """Return what scontrol has to do to a job next, or nothing if it was started again and not on these hosts."""
        if not _restarted(job, command, before):
            return "requeuehold"
        _, excluded, has = self._programs.hosts(patience, job.id)
        if job.state not in WAITING and job.state != ENDING:
            return "requeuehold" if has & hosts else None
        if not hosts <= excluded:
            return "update"
        return "release" if job.held and job.reason == _HELD_HERE else None

    def _let_go(self, job: Job, command: RecoveryCommand, before: Mapping[str, str]) -> None:
        """Release a job whose hosts could not be excluded: better that it runs than that it waits for nobody."""
        with suppress(NoAnswer, Refused):
            now = self._job(before, a_moment())
            if now.held and now.reason == _HELD_HERE and now.restarts > int(before["restarts"]):
                self._programs.change(a_moment(), command.id, "release", job.id)

    def _requeue(self, how: str, job: Job, command: RecoveryCommand, patience: Patience) -> None:
        """Have a job started again, and return when Slurm has counted that, or has requeued it by itself."""
        try:
            self._programs.change_once(patience, command.id, how, job.id)
        except Unsettled as error:  # then it is only looked at
            with answered(ActionUnknown, refused=ActionUnknown):
                while self._job({"job": job.id}, patience).restarts <= job.restarts:
                    if not patience.pause(_POLL_S):
                        raise ActionUnknown(
                            f"Slurm was told to start job {job.id} again, and has not: {error}"
                        ) from None
        except Refused as no:
            if "is pending execution" not in str(no):
                raise

    def _job(self, before: Mapping[str, str], patience: Patience) -> Job:
        return _only(before["job"], self._programs.jobs(patience, before["job"]))


def _only(name: str, jobs: list[Job]) -> Job:
    if not jobs:
        raise Refused(f"there is no job {name}")
    if len(jobs) > 1:
        ids = ", ".join(job.id for job in jobs[:10])
        raise ActionRejected(f"{name} can be any of {len(jobs)} jobs: {ids}")
    if not is_id(jobs[0].id):
        raise ActionRejected(f"job {jobs[0].id} is part of one, and cannot be started again alone")
    return jobs[0]


def _unfit(job: Job) -> str | None:
    """Return why a job cannot be started again, if so."""
    if not job.batch:
        return "it is no batch job, so Slurm has nothing to start again"
    if not job.requeue:
        return f"it was submitted as not to be requeued (`scontrol update jobid={job.id} requeue=1` changes that)"
    if job.held:
        return f"it is held; who holds it lets it run with `scontrol release {job.id}`"
    return "it was cancelled" if job.state == "CANCELLED" else None


def _restarted(job: Job, command: RecoveryCommand, before: Mapping[str, str]) -> bool:
    """Tell whether a job was started again since a command was prepared or issued, whoever had that done."""
    if job.restarts > int(before["restarts"]) or before["state"] in WAITING or job.state in WAITING:
        return True
    runs = job.state in RUNNING
    since = job.restarts > 0 and job.started_s is not None and job.started_s >= command.issued_s
    return runs and (since or before["state"] == ENDING)  # what was ending runs only after a requeue
