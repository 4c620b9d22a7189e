"""Notifications of one outage wait together as accepted, and are started when their message is about to be sent."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from http_stand_in import Server, http_server

from relight.agent.executors.notify import NotifyExecutor
from relight.agent.gate import Gate
from relight.settings import agents
from schemas.action import Notify
from schemas.command import OutcomeStatus, RecoveryCommand
from tests.agent.lives import Lab, Life

pytestmark = pytest.mark.parametrize("lab", ["embedded"], indirect=True)
ACCEPTED, SUCCEEDED = OutcomeStatus.ACCEPTED, OutcomeStatus.SUCCEEDED


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as found:
        yield found


def telling(lab: Lab, server: Server, wait_s: int = 1, name: str = "a") -> Life:
    gate = Gate()
    settings = agents.Notify(slack=(server.url,), group_wait_s=wait_s, group_interval_s=1, timeout_s=2)
    return Life(lab, NotifyExecutor(settings, gate.begin), gate=gate, name=name)


def notices(lab: Lab, count: int, **other: Any) -> list[RecoveryCommand]:
    found = [lab.command(number, action=Notify(), **other) for number in range(count)]
    lab.send(*found)
    return found


def test_they_are_started_together_right_before_one_message_is_sent(lab: Lab, server: Server) -> None:
    life, commands = telling(lab, server), notices(lab, 30)
    life.until(lambda: lab.have(commands, "accepted"))
    life.rests(0.2)
    assert {tuple(lab.statuses(one)) for one in commands} == {("accepted",)}, "more of them than threads wait"
    life.until(lambda: lab.have(commands, "succeeded"))
    assert {tuple(lab.statuses(one)) for one in commands} == {("accepted", "started", "succeeded")}
    assert len(server.asked) == 1
    life.end()


def test_what_waits_when_the_agent_is_killed_is_told_by_the_next_one(lab: Lab, server: Server) -> None:
    first, commands = telling(lab, server, wait_s=60), notices(lab, 3)
    first.until(lambda: lab.have(commands, "accepted"))
    first.rests(0.1)
    second = telling(lab, server)
    second.until(lambda: lab.have(commands, "succeeded"))
    assert len(server.asked) == 1
    second.end()


def test_what_waits_when_the_agent_stops_is_not_told_in_haste_and_told_by_the_next_one(
    lab: Lab, server: Server
) -> None:
    first, commands = telling(lab, server, wait_s=60), notices(lab, 3)
    first.until(lambda: lab.have(commands, "accepted"))
    first.rests(0.1)
    begun = time.monotonic()
    first.end()
    assert time.monotonic() - begun < 3
    assert server.asked == []
    second = telling(lab, server)
    second.until(lambda: lab.have(commands, "succeeded"))
    assert len(server.asked) == 1
    second.end()


def test_what_is_withdrawn_while_it_waits_is_not_told(lab: Lab, server: Server) -> None:
    life, commands = telling(lab, server), notices(lab, 2)
    life.until(lambda: lab.have(commands, "accepted"))
    lab.send(*map(lab.withdrawal, commands))
    life.until(lambda: lab.have(commands, "rejected"))
    assert {tuple(lab.statuses(one)) for one in commands} == {("accepted", "rejected")}
    life.rests(1.5)
    assert server.asked == []
    life.end()


def test_others_need_not_wait_longer_because_one_of_them_was_withdrawn(lab: Lab, server: Server) -> None:
    life, commands = telling(lab, server), notices(lab, 3)
    life.until(lambda: lab.have(commands, "accepted"))
    lab.send(lab.withdrawal(commands[1]))
    life.until(lambda: lab.have(commands, "succeeded"))
    assert len(server.asked) == 1
    life.end()


def test_what_waits_in_a_partition_that_is_lost_is_told_by_who_gets_it(lab: Lab, server: Server) -> None:
    first = telling(lab, server, wait_s=2)
    first.until(lambda: len(first.share) == 2)
    commands = [lab.command(number, action=Notify()) for number in range(2)]
    for number in (0, 1):
        lab.send(commands[number], partition=number)
    first.until(lambda: lab.have(commands, "accepted"))
    first.rests(0.1)
    second = telling(lab, server, wait_s=0, name="b")
    until_s = time.monotonic() + 30
    while not lab.have(commands, "succeeded"):
        assert time.monotonic() < until_s, lab.outcomes()
        first.step()
        second.step()
    assert len(server.asked) == 2, "each was told once"
    assert {one.by for one in lab.outcomes() if one.status is SUCCEEDED} == {"a", "b"}
    first.end()
    second.end()


def test_what_would_expire_while_it_waits_is_begun_before(lab: Lab, server: Server) -> None:
    life, commands = telling(lab, server, wait_s=4), notices(lab, 1, expires_s=time.time() + 31)
    life.until(lambda: lab.have(commands, "started"))
    assert server.asked == []
    life.until(lambda: lab.have(commands, "succeeded"))
    assert len(server.asked) == 1
    life.end()


def test_a_channel_to_which_no_way_leads_is_refused(lab: Lab, server: Server) -> None:
    gate = Gate()
    settings = agents.Notify.model_validate({"routes": {"night": (f"slack+{server.url}",)}, "group_wait_s": 0})
    life = Life(lab, NotifyExecutor(settings, gate.begin), gate=gate)
    lab.send(command := lab.command(action=Notify(channel="day")))
    life.gets(command, OutcomeStatus.REJECTED)
    assert "no way leads to the channel" in lab.reasons()[0]
    life.end()
