"""What a story is: a function that tells a tale of a job and returns what a person who knows it concludes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import wording
from cluster import BEGIN_S, STEP_S, Cluster, Line, Tale, boot, crash, launch, train

TRAINED_S: Final = BEGIN_S + 50
"""The first step."""

BROKE_S: Final = TRAINED_S + 60 * STEP_S + 4
"""When it breaks: after 60 steps."""


@dataclass(frozen=True)
class Truth:
    """What a person who knows the story concludes. `cause` is in the line that said it first; `None`: not told."""

    outcome: str
    fault: str | None = None
    cause: str | None = None
    host: str | None = None
    rank: int | None = None
    gpu: str | None = None
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """A story that was told: its lines, and the truth."""

    cluster: Cluster
    truth: Truth
    lines: list[Line] = field(repr=False)


Story = Callable[[Tale], Truth]
FAILED: dict[str, Story] = {}
UNHARMED: dict[str, Story] = {}


def told(story: Story, cluster: Cluster) -> Told:
    """Tell a story on a cluster, from boot to the end of the job."""
    tale = Tale(cluster)
    boot(tale)
    truth = story(tale)
    return Told(cluster, truth, tale.lines)


def _in(stories: dict[str, Story]) -> Callable[[Story], Story]:
    def keep(story: Story) -> Story:
        stories[story.__name__.replace("_", " ")] = story
        return story

    return keep


fails, unharmed = _in(FAILED), _in(UNHARMED)


def trains(tale: Tale) -> tuple[int, str, str]:
    """Launch the job and train until it breaks; return the rank it is about, its host, and its GPU's address."""
    launch(tale, BEGIN_S)
    train(tale, TRAINED_S, BROKE_S)
    rank = tale.cluster.victim
    return rank, tale.cluster.host_of(rank), wording.GPU_PCI[rank % 8]


def raises(tale: Tale, at_s: float, rank: int, error: str, function: str = "train_step") -> None:
    tale.rank(at_s, rank, *wording.python_exception(rank, error, function))
    crash(tale, at_s, rank)


def restarts(tale: Tale, at_s: float) -> None:
    """Tell how torchrun starts all workers anew after one has failed."""
    for host in tale.cluster.names:
        again = "agent/server/api.py:908", "[default] Worker group FAILED. 2/3 attempts left; will restart worker group"
        tale.launcher(at_s, host, lambda t, again=again: wording.elastic(t, "I", 4100, *again))
