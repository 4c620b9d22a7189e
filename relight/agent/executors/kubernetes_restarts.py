"""Restarts of jobs of a Kubernetes, each exactly once: one pod's, a running job's, a failed one's, and one elsewhere.

A running job is suspended and resumed: its controller ends its pods and makes them anew, which counts against no
`backoffLimit` and delays nothing, where pods that are deleted one by one count as failures. A job that has failed, or
is to be kept from hosts (the template of a Job is immutable), is deleted and made anew of the manifest that was noted.
Whose restart it was is an annotation, written together with what it tells of.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from relight.agent.executors import kubernetes_jobs as jobs
from relight.agent.executors.kubernetes_api import Json, Refused, pods_in
from relight.agent.executors.kubernetes_asking import Asking
from relight.agent.executors.kubernetes_jobs import RESTARTING, Job
from relight.agent.executors.kubernetes_nodes import COMMAND, INCIDENT
from relight.agent.executors.kubernetes_notes import Note, told_to_suspend
from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Interrupted
from schemas.action import RestartJobExcludingHosts
from schemas.command import RecoveryCommand

_LEFT: Final = {
    "pods": "lack a pod for now",
    "suspend": "be suspended and not resumed",
    "anew": "be deleted and not made anew, of the manifest that was noted before",
}
_OVERDUE_S: Final = 15.0
"""How long after its time a pod is waited for: one whose node does not answer never goes."""


def carried_out(asking: Asking, command: RecoveryCommand, before: Mapping[str, str]) -> Done:
    """Restart what was noted, or what is left of it to do."""
    note = Note.read(before)
    try:
        if note.how == "pods":
            return _pods_deleted(asking, note)
        if note.how == "suspend":
            return _suspended_and_resumed(asking, command, note)
        return _made_anew(asking, command, note)
    except ActionUnknown as unknown:
        raise ActionUnknown(f"{note} may {_LEFT[note.how]}: {unknown}") from unknown


def found(asking: Asking, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
    """Return whether a restart has taken effect, be it that the controller was faster.

    A job that is not there any more was deleted by this command, or else by somebody; or it was made anew, has come to
    its end and was cleaned up. Until the deadline the first is likely, later nobody can tell.
    """
    note = Note.read(before)
    if note.how == "pods":
        return Effect.DONE if _replaced(asking, note) else Effect.NOT_DONE
    job = jobs.get(asking, note.kind, note.namespace, note.name)
    if job is None:
        return Effect.UNKNOWN if note.how == "anew" and time.time() > command.deadline_s else Effect.NOT_DONE
    if job.annotations.get(COMMAND) == command.id:
        return Effect.DONE
    if job.uid != note.uid:
        return Effect.NOT_DONE if isinstance(command.action, RestartJobExcludingHosts) else Effect.DONE
    if note.how == "anew" or job.annotations.get(RESTARTING):
        return Effect.NOT_DONE
    return Effect.DONE if note.pods and not job.failed and _replaced(asking, note) else Effect.NOT_DONE


def _pods(asking: Asking, note: Note) -> list[Json]:
    return jobs.pods_of(asking, note.namespace, note.selector)


def _is_there(pod: Json, note: Note) -> bool:
    return pod["metadata"]["uid"] in note.pods


def _replaced(asking: Asking, note: Note) -> bool:
    """Tell whether none of the noted pods goes on, and there are as many as there were."""
    pods = _pods(asking, note)
    going_on = [pod for pod in pods if not jobs.ending(pod) and (pod.get("status") or {}).get("phase") != "Failed"]
    ours = [pod for pod in going_on if jobs.belongs(pod, note.uid)]
    return not any(_is_there(pod, note) for pod in going_on) and len(ours) >= note.count


def _pods_deleted(asking: Asking, note: Note) -> Done:
    asking.begin()
    before_us = True
    while not _replaced(asking, note):
        for pod in _pods(asking, note):
            if _is_there(pod, note) and jobs.active(pod):
                _delete_pod(asking, pod)
                before_us = False
        job = jobs.get(asking, note.kind, note.namespace, note.name)
        if job is None or job.uid != note.uid or job.failed:
            raise ActionFailed(f"{note} has {'failed' if job else 'gone'}, and makes no pods")
        if job.completed:
            return Done(f"{note} has completed.")
        asking.pause(f"the controller of {note} has not replaced its pods in time")
    return Done("The controller had replaced the pods itself." if before_us else f"{note} has new pods.")


def _delete_pod(asking: Asking, pod: Json) -> None:
    meta = pod["metadata"]
    try:
        asking.change("DELETE", pods_in(meta["namespace"]).of(meta["name"]), {"preconditions": {"uid": meta["uid"]}})
    except Refused as refused:
        if refused.status not in (404, 409):  # it has gone, and maybe another has its name
            raise ActionFailed(f"pod {meta['name']} cannot be deleted: {refused}") from refused


def _suspended_and_resumed(asking: Asking, command: RecoveryCommand, note: Note) -> Done:
    """Suspend the job, wait until its pods have ended, resume it. What this command has suspended is always resumed."""
    first = True
    while True:
        job = jobs.get(asking, note.kind, note.namespace, note.name)
        if job is None:
            raise ActionFailed(f"{note} is not there any more")
        if job.uid != note.uid:
            return Done(f"{note} is another one by now: somebody else has made it anew.")
        if job.annotations.get(COMMAND) == command.id:
            return Done(f"{note} was suspended and resumed: its pods are made anew.")
        if job.annotations.get(RESTARTING) == command.id:
            stop = _wait_for_the_end(asking, note)
            if _patched(asking, job, command, suspended=False) and stop:
                raise Interrupted
        elif job.failed or job.completed or (job.suspended and not job.annotations.get(RESTARTING)):
            raise ActionFailed(f"{note} has been suspended or has ended in the meantime")
        elif first and note.pods and not job.suspended and _replaced(asking, note):
            return Done(f"The controller of {note} had replaced its pods itself.")
        else:
            asking.begin()
            _patched(asking, job, command, suspended=True)
        first = False


def _patched(asking: Asking, job: Job, command: RecoveryCommand, suspended: bool) -> bool:
    """Suspend or resume a job and say for whom, if it is as it was seen; tell whether it was."""
    ours = {COMMAND: command.id, INCIDENT: command.incident}
    annotations = {RESTARTING: command.id} if suspended else ours | {RESTARTING: None}
    seen = {key: job.body["metadata"][key] for key in ("uid", "resourceVersion")}
    body = {"metadata": {"annotations": annotations, **seen}, **told_to_suspend(job.kind, suspended)}
    try:
        asking.change("PATCH", job.place, body)
    except Refused as refused:
        if refused.status not in (404, 409):
            raise ActionFailed(f"the job cannot be suspended and resumed: {refused}") from refused
        return False
    return True


def _wait_for_the_end(asking: Asking, note: Note) -> bool:
    """Wait until the noted pods have ended, so that two do not write to the same checkpoints; tell whether to stop.

    Not waited for is a pod that should have ended a while ago, for its node does not answer; and not beyond the
    deadline, nor when the agent is to stop, for the job is without pods until it goes on.
    """
    while not asking.late:
        if not any(_is_there(pod, note) and not _ended(pod) for pod in _pods(asking, note)):
            return False
        try:
            asking.pause("")
        except Interrupted:
            return True
        except ActionFailed:
            break
    return False


def _ended(pod: Json) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    if not (by := pod["metadata"].get("deletionTimestamp")):
        return False
    return time.time() > datetime.fromisoformat(by).timestamp() + _OVERDUE_S


def _made_anew(asking: Asking, command: RecoveryCommand, note: Note) -> Done:
    """Delete the job that was noted, wait until its pods have ended, make it anew."""
    body = jobs.marked(note.manifest, command)
    stop = False
    while True:
        job = jobs.get(asking, note.kind, note.namespace, note.name)
        if job and job.annotations.get(COMMAND) == command.id:
            if stop:
                raise Interrupted
            return Done(f"{note} was made anew.")
        if job and job.uid != note.uid:
            said = f"{note} is another one by now: somebody else has made it anew"
            if isinstance(command.action, RestartJobExcludingHosts):
                raise ActionFailed(said)
            return Done(f"{said}.")
        if job and jobs.ending(job.body):
            asking.pause(f"{note} was deleted, and does not go")
        elif job:
            asking.begin()
            _deleted(asking, job, body)
            for pod in _pods(asking, note):
                if _is_there(pod, note) and jobs.active(pod):
                    _delete_pod(asking, pod)
            stop = _wait_for_the_end(asking, note)
        else:
            _created(asking, note, body)


def _deleted(asking: Asking, job: Job, body: Json) -> None:
    """Delete a job; first it is seen that the server would take what is to follow it."""
    collection = jobs.place_of(job.kind, job.namespace, "")
    try:
        asking.change("POST", collection, body, {"dryRun": "All"})
    except Refused as refused:
        if refused.status != 409 and "exceeded quota" not in str(refused):  # 409: the old one is there
            raise ActionRejected(f"the job could not be made anew: {refused}") from refused
    told = {"preconditions": {"uid": job.uid}, "propagationPolicy": "Background"}
    try:
        asking.change("DELETE", job.place, told)
    except Refused as refused:
        if refused.status not in (404, 409):
            raise ActionFailed(f"the job cannot be deleted: {refused}") from refused


def _created(asking: Asking, note: Note, body: Json) -> None:
    try:
        asking.change("POST", jobs.place_of(note.kind, note.namespace, ""), body)
    except Refused as refused:
        if refused.status != 409:  # an answer was lost, or somebody else was faster: it is looked at again
            raise ActionFailed(f"{note} was deleted and cannot be made anew: {refused}") from refused
