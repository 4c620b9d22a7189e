"""The executor `webhook` against a real server: what an answer means, what is sent again, and what never."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_stand_in import Says, Server, free_port, http_server
from pydantic import ValidationError
from some_commands import reboot, stopping, terms

from relight.agent.executors.webhook import WebhookExecutor
from relight.agent.port import ActionError, ActionFailed, ActionRejected, ActionUnknown, Done, Effect, Executor
from relight.notify.posting import ANSWER_BYTES
from relight.settings import Misconfigured, agents
from schemas.events import decoded
from tests.servers.listening import made_certificate


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as found:
        yield found


def executor(url: str, **other: Any) -> WebhookExecutor:
    return WebhookExecutor(agents.Webhook(**{"url": url, "actions": ("reboot_node",), "timeout_s": 5, **other}))


def ended(server: Server, within_s: float = 30, **settings: Any) -> Done | ActionError:
    try:
        return executor(server.url, **settings).execute(reboot(), terms(within_s))
    except ActionError as error:
        return error


def test_a_command_is_posted_once_as_the_event_that_it_came_in(server: Server) -> None:
    command = reboot()
    posts: Executor = executor(f"{server.url}/hooks/relight?team=a", token="secret")
    assert posts.execute(command, terms()) == Done("ok")
    (asked,) = server.asked
    assert asked.path == "/hooks/relight?team=a"
    assert asked.headers["Content-Type"].startswith("application/cloudevents+json")
    assert asked.headers["Idempotency-Key"] == command.id
    assert asked.headers["Authorization"] == "Bearer secret"
    event = decoded(asked.body)
    assert (event.id, event.type.name, event.data) == (command.id, "command.requested", command)


def test_a_user_and_a_password_in_the_url_let_in_and_are_not_shown(server: Server) -> None:
    server.says(Says(500))
    end = ended(Server(url=server.url.replace("//", "//ann:p%40ss@")))
    assert server.asked[0].headers["Authorization"] == "Basic YW5uOnBAc3M="
    assert "p%40ss" not in str(end)
    assert "p@ss" not in str(end)


def test_an_id_that_no_header_can_hold_does_no_harm(server: Server) -> None:
    executor(server.url).execute(reboot(id="a\r\nX-Evil: ä"), terms())
    assert server.asked[0].headers["Idempotency-Key"] == "a__X-Evil:__"
    assert "X-Evil" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Done),
        (202, Done),
        (204, Done),
        (301, ActionUnknown),
        (302, ActionUnknown),
        (303, ActionUnknown),
        (307, ActionRejected),
        (308, ActionRejected),
        (400, ActionRejected),
        (401, ActionRejected),
        (404, ActionRejected),
        (408, ActionUnknown),
        (409, ActionUnknown),
        (422, ActionRejected),
        (500, ActionUnknown),
        (502, ActionUnknown),
        (503, ActionUnknown),
    ],
)
def test_the_status_says_what_became_of_it_and_nothing_is_asked_twice(
    server: Server, status: int, kind: type[object]
) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere"}
    server.says(Says(status, b"" if status == 204 else b"words", elsewhere))
    assert type(ended(server)) is kind
    assert [asked.path for asked in server.asked] == ["/"]


@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize(
    ("told", "kind"), [("failed", ActionFailed), ("rejected", ActionRejected), ("unknown", ActionUnknown)]
)
def test_an_answer_of_json_may_say_that_it_did_not_succeed(
    server: Server, status: int, told: str, kind: type[ActionError]
) -> None:
    server.says(Says(status, b'{"status": "%s", "reason": "no such\\u001b[2J node", "output": "x"}' % told.encode()))
    end = ended(server)
    assert type(end) is kind
    assert isinstance(end, ActionError)
    assert (str(end), end.output) == ("no such node", "x")


def test_who_knows_the_command_already_may_say_that_it_has_succeeded(server: Server) -> None:
    server.says(Says(409, b'{"status": "succeeded", "output": "rebooted"}'))
    assert ended(server) == Done("409: it had been carried out before\nrebooted")


def test_an_answer_of_json_may_tell_whether_the_machine_is_well(server: Server) -> None:
    server.says(Says(200, b'{"status": "succeeded", "output": "rebooted", "healthy": false}'))
    assert ended(server) == Done("rebooted", healthy=False)


def test_of_a_long_answer_the_beginning_is_read_and_the_end_of_that_kept(server: Server) -> None:
    server.says(Says(200, b"first" + b"0123456789\n" * 1_000_000))
    end = ended(server)
    assert isinstance(end, Done)
    assert len(end.output) == 8000
    assert ANSWER_BYTES < 100_000


def test_escapes_and_control_characters_of_an_answer_go(server: Server) -> None:
    server.says(Says(200, "a\x1b[31mb\x00c\u202ed\nnext".encode()))
    assert ended(server) == Done("abcd\nnext")


def test_a_connection_that_is_cut_after_sending_leaves_it_unknown_and_is_not_tried_again(server: Server) -> None:
    server.says(Says(resets=True), Says())
    assert isinstance(ended(server), ActionUnknown)
    assert len(server.asked) == 1


def test_an_answer_that_does_not_come_leaves_it_unknown_and_is_not_tried_again(server: Server) -> None:
    server.says(Says(hangs=True), Says())
    assert isinstance(ended(server, timeout_s=0.3), ActionUnknown)
    assert len(server.asked) == 1


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "", "Connection": "close"}])
def test_an_answer_that_comes_byte_by_byte_for_ever_is_not_waited_for(server: Server, headers: dict[str, str]) -> None:
    server.says(Says(body=b"x" * 1000, drips=True, headers=headers))
    began_s = time.monotonic()
    assert isinstance(ended(server, timeout_s=0.5), ActionUnknown)
    assert time.monotonic() - began_s < 5


def test_an_answer_that_breaks_off_leaves_it_unknown(server: Server) -> None:
    server.says(Says(body=b'{"status": "fai', headers={"Content-Length": "100", "Connection": "close"}))
    assert isinstance(ended(server, timeout_s=1), ActionUnknown)


def test_an_answer_is_waited_for_no_longer_than_to_the_deadline(server: Server) -> None:
    server.says(Says(hangs=True))
    began_s = time.monotonic()
    assert isinstance(ended(server, within_s=0.4, timeout_s=30), ActionUnknown)
    assert time.monotonic() - began_s < 5


def test_where_nobody_listens_it_is_tried_until_somebody_does() -> None:
    port = free_port()
    ends: list[Done] = []
    late = executor(f"http://127.0.0.1:{port}")
    thread = threading.Thread(target=lambda: ends.append(late.execute(reboot(), terms())))
    thread.start()
    time.sleep(0.5)
    with http_server(port=port) as server:
        thread.join()
        assert ends == [Done("ok")]
        assert len(server.asked) == 1


def test_where_nobody_listens_until_the_deadline_it_has_failed() -> None:
    end = ended(Server(url=f"http://127.0.0.1:{free_port()}"), within_s=0.5)
    assert isinstance(end, ActionFailed)
    assert "cannot be reached" in str(end)


def test_where_the_agent_is_to_stop_and_nothing_was_sent_it_has_failed() -> None:
    began_s = time.monotonic()
    with stopping(0.3) as waited, pytest.raises(ActionFailed, match="the agent was stopped before it was begun"):
        executor(f"http://127.0.0.1:{free_port()}").execute(reboot(), terms(30, waited))
    assert time.monotonic() - began_s < 5


def test_who_has_too_much_to_do_is_asked_again(server: Server) -> None:
    server.says(Says(429, b"slow down"), Says(429), Says(200, b"done"))
    assert ended(server) == Done("done")
    assert len(server.asked) == 3


def test_after_the_deadline_nothing_is_sent(server: Server) -> None:
    assert isinstance(ended(server, within_s=-1), ActionFailed)
    assert server.asked == []


def test_a_webhook_cannot_be_asked_what_is_so(server: Server) -> None:
    posts = executor(server.url)
    assert posts.found(reboot(), posts.prepare(reboot())) is Effect.UNKNOWN
    posts.close()
    assert server.asked == []


def test_with_the_ca_file_the_server_is_believed_and_without_it_nothing_is_sent(tmp_path: Path) -> None:
    with http_server(certificate=made_certificate(tmp_path)) as server:
        assert ended(server, ca_file=tmp_path / "ca.pem") == Done("ok")
        began_s = time.monotonic()
        end = ended(server)
        assert isinstance(end, ActionFailed)
        assert "TLS failed" in str(end)
        assert time.monotonic() - began_s < 10
        assert len(server.asked) == 1


def test_a_server_that_drips_by_tls_is_not_waited_for(tmp_path: Path) -> None:
    with http_server(Says(body=b"x" * 1000, drips=True), certificate=made_certificate(tmp_path)) as server:
        began_s = time.monotonic()
        assert isinstance(ended(server, ca_file=tmp_path / "ca.pem", timeout_s=0.5), ActionUnknown)
        assert time.monotonic() - began_s < 5


def test_a_ca_file_that_is_none_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(Misconfigured, match=r"webhook\.ca_file"):
            executor("https://127.0.0.1", ca_file=tmp_path / name)


@pytest.mark.parametrize(
    "wrong",
    [
        {"actions": ("reboot_node",)},
        {"url": "https://a"},
        {"url": "https://a", "actions": ("reboot",)},
        {"url": "https://a\r\nb", "actions": ("reboot_node",)},
        {"url": "https://a", "actions": ("reboot_node",), "token": "a\nb"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        agents.Webhook(**wrong)


def test_without_a_url_it_is_not_in_use() -> None:
    assert not agents.Webhook().used
    assert agents.Webhook(url="https://a", actions=("reboot_node",)).used
