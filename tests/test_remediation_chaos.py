"""Planner and agents are killed while incidents ask for commands: each takes effect once, or else at most once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.remediation_chaos.campaign import Outcome, Where, campaign
from bench.remediation_chaos.servers import systems_in
from bench.remediation_chaos.topics import Told
from bench.remediation_chaos.verdict import Happened, complaints
from schemas.command import CommandOutcome, OutcomeStatus
from tests.servers.kafka_server import KafkaServer
from tests.servers.missing import not_tested
from tests.servers.process import NotStarted

ROUNDS = 10
Story = tuple[Told, Happened]


@pytest.fixture(scope="module")
def survived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """What ten rounds on the embedded log came to."""
    with rounds(tmp_path_factory.mktemp("chaos"), ["process", "programs"], ROUNDS, seed=7) as outcome:
        yield outcome


def test_ten_rounds_on_the_embedded_log_do_nothing_twice_and_lose_nothing(survived: Outcome) -> None:
    assert survived.complaints == []
    assert survived.counts["killed remediate"]
    assert survived.counts["killed process"] + survived.counts["killed programs"]
    assert all(row["commands"] for row in survived.table.values())


@pytest.mark.parametrize("system", ["slurm", "kubernetes"])
def test_four_rounds_on_a_scheduler_do_each_command_once(tmp_path: Path, system: str) -> None:
    with rounds(tmp_path, [system], 4, seed=8) as outcome:
        assert outcome.complaints == []
        assert outcome.table[system]["took effect"]


@pytest.mark.kafka
def test_five_rounds_on_kafka_do_nothing_twice_and_lose_nothing(tmp_path: Path, fresh_kafka: KafkaServer) -> None:
    with rounds(tmp_path, ["process", "programs"], 5, seed=9, address=fresh_kafka.address) as outcome:
        assert outcome.complaints == []


@contextmanager
def rounds(
    folder: Path, systems: Sequence[str], number: int, seed: int, address: str | None = None
) -> Iterator[Outcome]:
    """Hold rounds on systems, whose servers may be missing."""
    with ExitStack() as ends:
        try:
            running, variables = ends.enter_context(systems_in(folder, systems, seed))
        except NotStarted as reason:
            not_tested(f"no {' and '.join(systems)}: {reason}")
        yield campaign(Where(folder, address, variables), running, number, seed, every=number)


def ended(story: Story, status: OutcomeStatus, *, exact: bool) -> str:
    """Return a command that ended so, and of which it is counted how often it took effect."""
    told, happened = story
    return next(
        one.command for one in told.outcomes
        if one.status is status and one.command in happened.effects and happened.exact[one.cluster] is exact
    )  # fmt: skip


def done_twice(story: Story) -> Story:
    told, happened = story
    name = ended(story, OutcomeStatus.SUCCEEDED, exact=False)
    return told, replace(happened, effects={**happened.effects, name: 2})


def not_done(story: Story) -> Story:
    told, happened = story
    name = ended(story, OutcomeStatus.SUCCEEDED, exact=True)
    return told, replace(happened, effects={**happened.effects, name: 0})


def published_twice(story: Story) -> Story:
    told, happened = story
    return replace(told, commands=[*told.commands, told.commands[0]]), happened


def not_published(story: Story) -> Story:
    told, happened = story
    return replace(told, issued=[*told.issued, "another"]), happened


def without_an_end(story: Story) -> Story:
    told, happened = story
    name = ended(story, OutcomeStatus.SUCCEEDED, exact=True)
    left = [one for one in told.outcomes if one.command != name or not one.status.final]
    return replace(told, outcomes=left), happened


def ended_twice(story: Story) -> Story:
    told, happened = story
    last = next(one for one in told.outcomes if one.status.final)
    return replace(told, outcomes=[*told.outcomes, last]), happened


def never_asked_for(story: Story) -> Story:
    told, happened = story
    return told, replace(happened, asked={**happened.asked, "another": "restart_job"})


def unknown_where_it_could_be_asked(story: Story) -> Story:
    return said_to_end(story, ended(story, OutcomeStatus.SUCCEEDED, exact=True), OutcomeStatus.UNKNOWN)


def unknown_for_no_reason(story: Story) -> Story:
    return said_to_end(story, ended(story, OutcomeStatus.SUCCEEDED, exact=False), OutcomeStatus.UNKNOWN)


def known_after_a_kill(story: Story) -> Story:
    told, happened = story
    name = ended(story, OutcomeStatus.SUCCEEDED, exact=False)
    begun, end = (one for one in told.outcomes if one.command == name and one.status is not OutcomeStatus.ACCEPTED)
    between_s = (begun.at_s + end.at_s) / 2
    return told, replace(happened, deaths={"programs": (between_s,)})


def said_to_end(story: Story, name: str, status: OutcomeStatus) -> Story:
    def changed(one: CommandOutcome) -> CommandOutcome:
        return one.model_copy(update={"status": status}) if one.command == name and one.status.final else one

    told, happened = story
    return replace(told, outcomes=[changed(one) for one in told.outcomes]), happened


@pytest.mark.parametrize(
    ("tamper", "words"),
    [
        (done_twice, "took effect 2 times"),
        (not_done, "took effect 0 times"),
        (published_twice, "is 2 times on its topic"),
        (not_published, "is 0 times on its topic"),
        (without_an_end, "to one end"),
        (ended_twice, "to one end"),
        (never_asked_for, "which was never issued"),
        (unknown_where_it_could_be_asked, "its system could be asked"),
        (unknown_for_no_reason, "nothing had come in between"),
        (known_after_a_kill, "its agent was killed in between"),
    ],
)
def test_the_verdict_notices_what_is_wrong(survived: Outcome, tamper: Callable[[Story], Story], words: str) -> None:
    assert any(words in one for one in complaints(*tamper((survived.told, survived.happened))))
