"""The executor `webhook`: an HTTP server carries commands out. It is asked once, for it cannot be asked what is so.

A command is posted as the CloudEvent `command.requested`, with its id as `Idempotency-Key`. What the answer means:

    200 to 299     done; a JSON body may say otherwise: {"status": "failed", "reason": ...}, or rejected, or unknown;
                   it may also hold `output` and `healthy`, as `outcome.reported` does
    409            the server knows the command already. With such a body that holds; else nobody can tell: the first
                   one may still be at work, may have ended, or the state was another one
    429            too many at once, and not begun: asked again until the deadline
    307, 308       rejected: it is to be asked elsewhere, and redirects are not followed
    408, other 3xx nobody can tell
    other 4xx      rejected
    5xx            nobody can tell

Nobody can tell either where no answer comes. Where surely nothing was sent, it is tried again until the deadline.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from relight.agent.port import ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Terms
from relight.notify.cleaning import ending, line
from relight.notify.posting import CLOUD_EVENT, Answer, MaybePosted, NotPosted, Poster
from relight.settings import Misconfigured, agents
from schemas.command import RecoveryCommand
from schemas.events import Event, encoded

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
_REASON: Final = 500
_BUSY: Final = 429
_KNOWN: Final = 409
_ACCEPTED: Final = 202
_ELSEWHERE: Final = (307, 308)
_TOO_SLOW: Final = 408
_FAILURES: Final = {"failed": ActionFailed, "rejected": ActionRejected, "unknown": ActionUnknown}
_SUCCEEDED: Final = "succeeded"


class WebhookExecutor:
    """Has commands carried out by an HTTP server."""

    name = "webhook"

    def __init__(self, settings: agents.Webhook) -> None:
        """Take where it is. Nothing is connected to yet. Raises: Misconfigured."""
        if settings.url is None:
            raise Misconfigured("webhook.url is not set")
        token = settings.token.get_secret_value() if settings.token else None
        try:
            self._poster = Poster(settings.url, timeout_s=settings.timeout_s, ca_file=settings.ca_file, token=token)
        except OSError as error:
            raise Misconfigured(f"webhook.ca_file: {settings.ca_file}: {error}") from error
        self.actions = frozenset(settings.actions)

    def prepare(self, command: RecoveryCommand) -> Mapping[str, str]:
        """Return nothing: there is nothing to be noted."""
        return {}

    def execute(self, command: RecoveryCommand, terms: Terms) -> Done:
        """Post a command until it has surely been sent, and return when the answer says that it is done.

        Where the agent is to stop before anything was sent, it has failed. An answer is waited for to the end.

        Raises: ActionError.
        """
        body, key = _event(command), {"Idempotency-Key": _key(command.id)}
        pause_s, why = FIRST_PAUSE_S, "there was no time"
        while (left_s := terms.deadline_s - time.time()) > 0:
            try:
                answer = self._poster.post(body, CLOUD_EVENT, key, within_s=left_s)
            except MaybePosted as error:
                raise ActionUnknown(str(error)) from error
            except NotPosted as error:
                if not error.again:
                    raise ActionFailed(str(error)) from error
                why = str(error)
            else:
                if answer.status != _BUSY:
                    return _outcome(answer)
                why = _said(answer)
            if terms.waited(min(pause_s, left_s)):
                raise ActionFailed(f"the agent was stopped before it was begun: {why}")
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise ActionFailed(f"it was not begun by its deadline: {why}")

    def found(self, command: RecoveryCommand, before: Mapping[str, str]) -> Effect:
        """Return that it cannot be told: a webhook cannot be asked."""
        return Effect.UNKNOWN

    def close(self) -> None:
        """Do nothing: no connection outlives its request."""


def _event(command: RecoveryCommand) -> bytes:
    return encoded(Event(command.id, command.cluster, command.target, command.issued_s, command))


def _key(command: str) -> str:
    """Return an id as a header can hold it: what is no visible ASCII becomes `_`."""
    return "".join(letter if "!" <= letter <= "~" else "_" for letter in command)


def _outcome(answer: Answer) -> Done:
    body = _body(answer)
    succeeds = 200 <= answer.status < 300
    if succeeds or (answer.status == _KNOWN and body.get("status") in (*_FAILURES, _SUCCEEDED)):
        return _told(answer, body)
    if answer.status in _ELSEWHERE:
        raise ActionRejected(f"{_said(answer)}: redirects are not followed, correct webhook.url")
    if 400 <= answer.status < 500 and answer.status not in (_KNOWN, _TOO_SLOW):
        raise ActionRejected(_said(answer), ending(answer.text))
    raise ActionUnknown(_said(answer), ending(answer.text))


def _told(answer: Answer, body: Mapping[str, Any]) -> Done:
    """Return what the answer says of a command that was taken."""
    output = ending(str(body["output"]) if "output" in body else answer.text)
    status = str(body.get("status"))
    if status in _FAILURES:
        raise _FAILURES[status](line(str(body.get("reason") or f"it says that it {status}"), _REASON), output)
    notes = {_ACCEPTED: "202: it was taken, and may still be at work", _KNOWN: "409: it had been carried out before"}
    note = notes.get(answer.status, "")
    healthy = body.get("healthy")
    return Done("\n".join(filter(None, (note, output))), healthy if isinstance(healthy, bool) else None)


def _body(answer: Answer) -> Mapping[str, Any]:
    try:
        found = orjson.loads(answer.text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(answer: Answer) -> str:
    return f"it answered {answer.status} {line(answer.text, 200)}".rstrip()
