"""The executor `notify` against real servers: who is told what, in how many messages, and what becomes of commands."""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from http_stand_in import Says, Server, free_port, http_server
from pydantic import ValidationError
from smtp_stand_in import smtp_server
from some_commands import command, on_host, reboot, seen, stopping, terms

from relight.agent.executors.notify import Deferring, End, NotifyExecutor, Starting
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
from relight.settings import Misconfigured, agents
from schemas.action import Notify
from schemas.command import RecoveryCommand
from tests.servers.listening import made_certificate


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as found:
        yield found


def executor(*, starting: Starting | None = None, **settings: Any) -> NotifyExecutor:
    return NotifyExecutor(agents.Notify(**{"group_wait_s": 0, "timeout_s": 2, **settings}), starting)


def told(commands: Sequence[RecoveryCommand], **settings: Any) -> list[End]:
    """Hand commands to an executor, end it, and return how each has ended, in their order."""
    ends: dict[int, End] = {}
    tells: Deferring = (closing := executor(**{"group_wait_s": 60, **settings}))
    for number, each in enumerate(commands):
        tells.take(each, lambda end, number=number: ends.setdefault(number, end))
    closing.close()
    return [ends[number] for number in range(len(commands))]


def mail_settings(address: str, **other: Any) -> dict[str, Any]:
    own = {"smtp": address, "smtp_security": "none", "mail_from": "relight@example.org", "mail_to": "a@x.org,b@x.org"}
    return {**own, **other}


# groups


def test_a_command_is_told_of_and_has_succeeded(server: Server) -> None:
    tells: Executor = executor(webhooks=server.url)
    assert tells.prepare(command()) == {}
    end = tells.execute(command(), terms())
    assert end == Done(f"one message\ntold by webhook at {server.url}")
    assert len(server.asked) == 1
    tells.close()


def test_commands_of_one_outage_are_one_message_and_others_are_others(server: Server) -> None:
    other = [command(4, fault="nccl.timeout"), command(5, cluster="lab"), command(6, Notify(channel="night"))]
    ends = told([*map(command, (1, 2, 3)), *other], webhooks=server.url)
    assert all(isinstance(end, Done) for end in ends)
    assert [[each["id"] for each in asked.json["data"]["commands"]] for asked in server.asked] == [
        ["cmd-1", "cmd-2", "cmd-3"],
        ["cmd-4"],
        ["cmd-5"],
        ["cmd-6"],
    ]


def test_what_comes_after_the_message_waits_for_the_interval_and_goes_into_one_more(server: Server) -> None:
    ends: list[End] = []
    tells = executor(webhooks=server.url, group_interval_s=1)
    tells.take(command(1), ends.append)
    assert seen(lambda: len(ends) == 1)
    for number in (2, 3):
        tells.take(command(number), ends.append)
    time.sleep(0.3)
    assert len(server.asked) == 1
    assert seen(lambda: len(ends) == 3)
    tells.close()
    first, further = (asked.json["data"] for asked in server.asked)
    assert first["title"] == "prod: gpu.fell_off_the_bus, 1 incident"
    assert further["title"] == "prod: gpu.fell_off_the_bus, and 2 more"
    assert (further["told_before"], further["incidents"]) == (1, 2)
    assert "1 of the same outage were told of before." in further["text"]


def test_of_what_nobody_was_told_the_next_message_does_not_say_that_they_were(server: Server) -> None:
    server.says(Says(400), Says(200))
    ends: list[End] = []
    tells = executor(webhooks=server.url, group_interval_s=1)
    tells.take(command(1), ends.append)
    assert seen(lambda: len(ends) == 1)
    tells.take(command(2), ends.append)
    assert seen(lambda: len(ends) == 2)
    tells.close()
    assert isinstance(ends[0], ActionFailed)
    assert isinstance(ends[1], Done)
    assert server.asked[1].json["data"]["told_before"] == 0


def test_thousands_of_commands_take_no_threads_and_few_messages(server: Server) -> None:
    before = threading.active_count()
    ends: list[End] = []
    tells = executor(webhooks=server.url, group_wait_s=60)
    for number in range(2500):
        tells.take(command(number), ends.append)
    assert threading.active_count() <= before + 3
    tells.close()
    assert len(ends) == 2500
    told_of = [each["id"] for asked in server.asked for each in asked.json["data"]["commands"]]
    assert told_of == [f"cmd-{number}" for number in range(2500)]
    assert server.asked[0].json["data"]["told_before"] == 0
    assert len(server.asked) <= 5


def test_a_message_goes_early_where_a_command_could_not_wait(server: Server) -> None:
    ends: list[End] = []
    tells = executor(webhooks=server.url, group_wait_s=600, timeout_s=1)
    tells.take(command(deadline_s=time.time() + 8), ends.append)
    assert seen(lambda: ends)
    tells.close()
    assert isinstance(ends[0], Done)


def test_after_its_deadline_a_command_is_not_told_of(server: Server) -> None:
    late, timely = told([command(1, deadline_s=time.time() - 1), command(2)], webhooks=server.url)
    assert isinstance(late, ActionFailed)
    assert isinstance(timely, Done)
    assert [each["id"] for each in server.asked[0].json["data"]["commands"]] == ["cmd-2"]


def test_when_the_agent_stops_what_waits_in_a_thread_is_left(server: Server) -> None:
    tells = executor(webhooks=server.url, group_wait_s=60)
    with stopping(0.2) as waited, pytest.raises(Interrupted):
        tells.execute(command(), terms(60, waited))
    tells.close()
    with pytest.raises(Interrupted):
        tells.take(command(2), lambda _: None)


def test_one_that_does_not_want_to_hear_of_its_end_keeps_no_other_from_it(server: Server) -> None:
    ends: list[End] = []

    def fails(_: End) -> None:
        raise RuntimeError("no")

    tells = executor(webhooks=server.url, group_wait_s=60)
    tells.take(command(1), fails)
    tells.take(command(2), ends.append)
    tells.close()
    assert len(ends) == 1


def test_who_wants_to_is_told_right_before_a_message_is_sent_once_for_all_its_commands(server: Server) -> None:
    started: list[tuple[list[str], int]] = []

    def starting(commands: Sequence[RecoveryCommand]) -> None:
        started.append(([each.id for each in commands], len(server.asked)))

    told([command(1), command(2), command(3, fault="other")], webhooks=server.url, starting=starting)
    assert started == [(["cmd-1", "cmd-2"], 0), (["cmd-3"], 1)]


@pytest.mark.parametrize("error", [ActionRejected("withdrawn"), ActionFailed("no")])
def test_what_cannot_be_started_is_not_told_of(server: Server, error: ActionError) -> None:
    def starting(_: Sequence[RecoveryCommand]) -> None:
        raise error

    assert told([command(1)], webhooks=server.url, starting=starting) == [error]
    assert server.asked == []


def test_what_the_agent_cannot_start_any_more_is_left_as_it_is(server: Server) -> None:
    def starting(_: Sequence[RecoveryCommand]) -> None:
        raise Interrupted

    ends: list[End] = []
    tells = executor(webhooks=server.url, starting=starting)
    tells.take(command(), ends.append)
    tells.close()
    assert (ends, server.asked) == ([], [])


# ways


def test_a_way_that_fails_keeps_no_other_from_being_used(server: Server) -> None:
    with http_server(Says(404, b"no\x1b[2J_team")) as broken:
        (end,) = told([command()], slack=broken.url, webhooks=server.url)
    assert end == Done(
        f"one message\ntold by webhook at {server.url}\nnot told by Slack at {broken.url}: answered 404 no_team"
    )


def test_where_all_ways_refuse_it_has_failed() -> None:
    with http_server(Says(404)) as one, http_server(Says(307, headers={"Location": "/x"})) as other:
        (end,) = told([command()], slack=one.url, webhooks=other.url)
        assert len(other.asked) == 1
    assert type(end) is ActionFailed
    assert "answered 404" in str(end)
    assert "answered 307" in str(end)


@pytest.mark.parametrize("answer", [Says(500), Says(resets=True), Says(hangs=True)])
def test_where_a_message_may_have_arrived_nobody_can_tell_and_it_is_not_sent_again(answer: Says) -> None:
    with http_server(answer) as server:
        tells = executor(webhooks=server.url, timeout_s=0.3)
        with pytest.raises(ActionUnknown):
            tells.execute(command(), terms())
        tells.close()
        assert len(server.asked) == 1


def test_what_was_surely_not_sent_is_tried_again() -> None:
    port = free_port()
    ends: list[End] = []
    tells = executor(webhooks=f"http://127.0.0.1:{port}")
    tells.take(command(), ends.append)
    time.sleep(0.3)
    with http_server(Says(429), Says(200), port=port) as server:
        assert seen(lambda: ends)
        assert len(server.asked) == 2
    tells.close()
    assert isinstance(ends[0], Done)


def test_without_any_way_it_is_not_in_use_and_rejects() -> None:
    assert not agents.Notify().used
    with pytest.raises(ActionRejected, match="no way leads to the channel 'default'"):
        executor().take(command(), lambda _: None)
    with pytest.raises(ActionRejected, match="does not carry out reboot_node"):
        executor(slack="https://a").prepare(reboot())


def test_a_channel_with_a_route_is_told_there_and_nowhere_else(server: Server) -> None:
    with http_server() as night:
        routes = {"night": [f"slack+{night.url}/hook", f"alertmanager+{night.url}/am/"]}
        told([command(1, Notify(channel="night")), command(2)], webhooks=server.url, routes=routes)
        assert [asked.path for asked in night.asked] == ["/hook", "/am/api/v2/alerts"]
    assert [asked.json["data"]["channel"] for asked in server.asked] == ["default"]


def test_whether_people_were_told_cannot_be_asked_unless_telling_twice_is_telling_once() -> None:
    assert executor(slack="https://a", alertmanager="https://b").found(command(), {}) is Effect.UNKNOWN
    assert executor(alertmanager="https://b").found(command(), {}) is Effect.NOT_DONE


def test_a_ca_file_is_believed(tmp_path: Path) -> None:
    with http_server(certificate=made_certificate(tmp_path)) as server:
        (end,) = told([command()], webhooks=server.url, ca_file=tmp_path / "ca.pem")
        assert isinstance(end, Done)
        (end,) = told([command()], webhooks=server.url)
        assert isinstance(end, ActionFailed)
    with pytest.raises(Misconfigured, match=r"notify\.ca_file"):
        executor(webhooks="https://a", ca_file=tmp_path / "missing.pem")


@pytest.mark.parametrize(
    "wrong",
    [
        {"slack": "ftp://a"},
        {"webhooks": "https://a b"},
        {"smtp": "mail:25"},
        {"mail_to": "a@b.org"},
        {"smtp": "mail", "mail_from": "a@b.org", "mail_to": "a@b.org>,<c@d.org"},
        {"smtp": "mail", "mail_from": "a@b.org\r\nBcc: c@d.org", "mail_to": "a@b.org"},
        {"smtp": "mail", "mail_from": "a@b.org", "mail_to": "a@b.org", "smtp_username": "u"},
        mail_settings("mail", smtp_username="u", smtp_password="p"),
        {"routes": {"night": []}},
        {"routes": {"night": ["teams+https://a"]}},
        {"routes": {"night": ["mailto:a@b.org"]}},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        agents.Notify(**wrong)


def test_urls_that_let_one_in_are_not_shown() -> None:
    settings = agents.Notify(slack="https://hooks/T0/secret", routes={"a": ["slack+https://hooks/T0/secret"]})
    assert "T0" not in repr(settings)
    assert settings.used


# Slack


def test_slack_gets_blocks_within_its_limits_whatever_logs_hold(server: Server) -> None:
    hostile = "<!channel> & <https://evil|click> @here ![x](http://evil) \x1b]0;t\x07\u202e" + "<&>" * 1000
    commands = [command(n, reason=hostile[:2000], fault="<!here>" * 50, playbook="&" * 400) for n in range(40)]
    told(commands, slack=server.url)
    sent = server.asked[0].json
    assert len(sent["blocks"]) <= 50
    header, *sections = (block["text"] for block in sent["blocks"])
    assert header["type"] == "plain_text"
    assert len(header["text"]) <= 150
    assert all(len(each["text"]) <= 3000 and each["verbatim"] for each in sections)
    assert sections[-1]["text"] == "and 30 more"
    for text in (sent["text"], *(each["text"] for each in sections)):
        assert not re.search(r"[<>]|&(?!(?:amp|lt|gt);)|[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "@here" not in sent["text"]
    assert "](" not in sent["text"]
    assert len(sent["text"]) < 40_000


# Alertmanager


def test_an_alertmanager_gets_an_alert_for_each_incident(server: Server) -> None:
    commands = [
        command(1, about=on_host("node03"), severity="critical"),
        command(2, Notify(channel="night")),
        command(3, about=on_host("a") + on_host("b")),
    ]
    told(commands, alertmanager=f"{server.url}/")
    assert {asked.path for asked in server.asked} == {"/api/v2/alerts"}
    first, third = server.asked[0].json
    own = {"alertname": "gpu.fell_off_the_bus", "cluster": "prod"}
    assert first["labels"] == {**own, "incident": "inc-1", "host": "node03", "severity": "critical"}
    assert third["labels"] == {**own, "incident": "inc-3", "severity": "info"}
    assert server.asked[1].json[0]["labels"] == {**own, "incident": "inc-2", "severity": "info", "channel": "night"}
    assert first["annotations"] == {
        "summary": "prod: gpu.fell_off_the_bus, 2 incidents",
        "description": "GPU has fallen off the bus (inc-1) in job llama on node03",
    }
    assert first["startsAt"] == "2026-03-20T09:46:40+00:00"
    assert first["endsAt"] == "2026-03-20T13:46:40+00:00"


def test_an_alertmanager_is_told_again_where_it_may_have_been_told(server: Server) -> None:
    server.says(Says(500), Says(resets=True), Says())
    tells = executor(alertmanager=server.url)
    assert isinstance(tells.execute(command(), terms()), Done)
    tells.close()
    assert len(server.asked) == 3


# mail


def test_a_mail_has_text_and_html_and_a_name_that_follows_from_its_first_command() -> None:
    hostile = "<script>alert(1)</script>\r\nBcc: evil@example.org\r\n\r\n.\r\nä\x1b[2J"
    with smtp_server() as mailbox:
        for _ in range(2):
            (end, _) = told(
                [command(1, reason=hostile, fault="x\r\nBcc: evil@example.org"), command(2, fault="x\nBcc: e@e")],
                **mail_settings(mailbox.address),
            )
            assert end == Done(f"one message\ntold by mail by {mailbox.address}")
    first, _, again, _ = mailbox.handed
    assert first.sender == "relight@example.org"
    assert first.receivers == ("a@x.org", "b@x.org")
    mail = first.mail
    assert mail["Message-ID"] == again.mail["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f-]{36}@example\.org>", mail["Message-ID"])
    assert mail["Subject"] == "prod: x Bcc: evil@example.org, 1 incident"
    assert mail["Bcc"] is None
    assert mail["To"] == "a@x.org, b@x.org"
    text, page = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
    what = "<script>alert(1)</script> Bcc: evil@example.org . ä"
    assert f"- incident inc-1: {what}\n  Told by step 1 of playbook gpu-lost." in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Bcc:" in page
    assert "<script>" not in page


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_by_tls_to_a_server_that_is_believed_and_lets_one_in(tmp_path: Path, security: str) -> None:
    with smtp_server(made_certificate(tmp_path), at_once=security == "tls") as mailbox:
        mailbox.users["relight"] = "let-me-in"
        settings = mail_settings(mailbox.address, smtp_security=security)
        login = {"smtp_username": "relight", "smtp_password": "let-me-in"}
        (end,) = told([command()], **settings, **login, ca_file=tmp_path / "ca.pem")
        assert isinstance(end, Done)
        assert [(each.secure, each.user) for each in mailbox.handed] == [(True, "relight")]
        (end,) = told([command()], **settings, **login)
        assert isinstance(end, ActionFailed)
        assert "TLS failed" in str(end)
        (end,) = told([command()], **settings, **{**login, "smtp_password": "wrong"}, ca_file=tmp_path / "ca.pem")
        assert isinstance(end, ActionFailed)
        assert "answered 535 wrong" in str(end)
        assert len(mailbox.handed) == 1


def test_a_server_without_starttls_is_not_handed_anything_in_the_clear() -> None:
    with smtp_server() as mailbox:
        (end,) = told([command()], **mail_settings(mailbox.address, smtp_security="starttls"))
        assert isinstance(end, ActionFailed)
        assert (mailbox.handed, mailbox.connections) == ([], 1)


def test_a_receiver_that_is_not_taken_keeps_no_other_from_being_told() -> None:
    with smtp_server() as mailbox:
        mailbox.refuses["a@x.org"] = 550
        (end,) = told([command()], **mail_settings(mailbox.address))
        assert end == Done(f"one message\ntold by mail by {mailbox.address}: not to a@x.org")
        mailbox.refuses["b@x.org"] = 550
        (end,) = told([command()], **mail_settings(mailbox.address))
        assert isinstance(end, ActionFailed)
        assert [each.receivers for each in mailbox.handed] == [("b@x.org",)]


def test_a_mail_that_is_not_taken_for_now_is_tried_again_and_one_that_is_refused_is_not() -> None:
    with smtp_server() as mailbox:
        mailbox.at_data = [451]
        tells = executor(**mail_settings(mailbox.address))
        assert isinstance(tells.execute(command(1), terms()), Done)
        tells.close()
        mailbox.at_data = [554]
        (end,) = told([command(2)], **mail_settings(mailbox.address))
        assert type(end) is ActionFailed
        assert len(mailbox.handed) == 1


def test_a_mail_that_was_handed_over_and_not_answered_for_may_have_been_taken() -> None:
    with smtp_server() as mailbox:
        mailbox.hangs = True
        tells = executor(**mail_settings(mailbox.address, timeout_s=0.3))
        with pytest.raises(ActionUnknown):
            tells.execute(command(), terms())
        tells.close()
        assert mailbox.connections == 1


# words


def test_a_message_names_ten_incidents_and_counts_the_others(server: Server) -> None:
    told([command(number // 2) for number in range(50)], webhooks=server.url)
    sent = server.asked[0].json["data"]
    assert sent["title"] == "prod: gpu.fell_off_the_bus, 25 incidents"
    assert sent["incidents"] == 25
    assert re.findall(r"incident (inc-\d+):", sent["text"]) == [f"inc-{number}" for number in range(10)]
    assert "and 15 more." in sent["text"]
    assert "Decided since 2026-03-20 09:46:40 UTC." in sent["text"]


def test_an_event_has_the_same_name_for_the_same_first_command(server: Server) -> None:
    told([command(1)], webhooks=server.url)
    told([command(1), command(2)], webhooks=server.url)
    told([command(2)], webhooks=server.url)
    one, same, other = server.asked
    assert one.json["id"] == one.headers["Idempotency-Key"] == same.json["id"] != other.json["id"]
    assert one.headers["Content-Type"].startswith("application/cloudevents+json")
    assert one.json["specversion"] == "1.0"


def test_secrets_and_escapes_of_logs_are_not_told(server: Server) -> None:
    told([command(reason="token=ghp_0123456789abcdefghijABCDEFGHIJ012345 \x1b[31mred\x1b[0m")], webhooks=server.url)
    text = server.asked[0].json["data"]["text"]
    assert "ghp_" not in text
    assert "red" in text
    assert "\x1b" not in text


def test_where_no_ids_but_words_are_hostile_nothing_is_too_long(server: Server) -> None:
    names = {"id": "i" * 512, "cluster": "c" * 512, "fault": "f" * 5000, "playbook": "p" * 5000, "incident": "n" * 512}
    told([command(**names, reason="r" * 2000)], webhooks=server.url)
    sent = server.asked[0].json["data"]
    assert len(sent["title"]) <= 150
    assert len(sent["text"]) < 1500
