"""What agents command in this campaign: the port `System`, and the playbooks that say what is done about what."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

import yaml

from schemas.command import RecoveryCommand
from schemas.vocabulary import Culprit

Sections = Mapping[str, Mapping[str, Any]]
"""Settings: keys and values of sections."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What an incident happens to, and the action that is to be done about it; `mends` is one that is to follow."""

    action: str
    job: str | None = None
    host: str | None = None
    mends: str | None = None

    @property
    def culprit(self) -> tuple[Culprit, Mapping[str, Any]]:
        """Return what is to blame, and what is known of it."""
        if self.action == "restart_process":
            return Culprit.RANK, {"host": None, "rank": 0}
        return (Culprit.JOB, {}) if self.host is None else (Culprit.HOST, {"host": self.host})


class System(Protocol):
    """A system with an agent, and a cluster, of its own. It counts what its commands do to it.

    `exact`: it can be asked, so each command is to take effect exactly once; at most once elsewhere. `agents` is how
    many agents share its commands.
    """

    @property
    def name(self) -> str:
        """Return its name, which is its cluster's too."""
        ...

    @property
    def exact(self) -> bool:
        """Tell whether it can be asked what is so."""
        ...

    @property
    def agents(self) -> int:
        """Return how many agents it has."""
        ...

    def settings(self) -> Sections:
        """Return the settings of its agent."""
        ...

    def subject(self, dice: Random) -> Subject | None:
        """Return something for an incident to happen to, that nothing else happens to until it is released."""
        ...

    def release(self, subject: Subject) -> None:
        """Let something be used again: its incident is over, and all that was done about it."""
        ...

    def effects(self, commands: Sequence[RecoveryCommand]) -> Mapping[str, float]:
        """Return how often each command has taken effect, by its id; of a part, a part. Some need not be counted."""
        ...

    def silent(self) -> frozenset[str]:
        """Return the commands that it gave no answer to: that their outcome is not known is right."""
        ...

    def forget(self) -> None:
        """Take away what is not needed any more: what there was has been judged."""
        ...

    def close(self) -> None:
        """End what runs in it."""
        ...


JOBS: Final = {
    "restart_job": "restart",
    "restart_process": "process",
    "rollback_checkpoint": "rollback",
    "restart_job_excluding_hosts": "elsewhere",
}
"""What the names of the jobs begin with that an action is done to."""
FAULT: Final = "gpu.fallen_off_bus"
_WHY: Final = "Chaos wants to see it done once."


def playbooks() -> str:
    """Return the playbooks, as YAML."""
    told = [_playbook(word, {"jobs": [f"{word}-*"]}, [action]) for action, word in JOBS.items() if word != "elsewhere"]
    apart = {"jobs": ["elsewhere-*"], "hosts": ["node*"]}
    told.append(_playbook("elsewhere", apart, ["restart_job_excluding_hosts", "cordon_node"]))
    told.append(_playbook("drain", {"hosts": ["node*"]}, ["drain_node"]))
    return yaml.safe_dump({"playbooks": told}, sort_keys=False)


def toml(sections: Sections) -> str:
    """Return settings as TOML: what JSON has of these values, TOML has too."""
    lines: list[str] = []
    for name, section in sections.items():
        tables = {key: value for key, value in section.items() if isinstance(value, Mapping)}
        lines += [f"[{name}]", *_pairs((key, section[key]) for key in section if key not in tables)]
        for key, table in tables.items():
            lines += [f"[{name}.{key}]", *_pairs(table.items())]
    return "\n".join([*lines, ""])


def _pairs(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in items]


def _playbook(name: str, when: Mapping[str, Any], actions: Sequence[str]) -> dict[str, Any]:
    ladder = [{"action": one, "timeout": "1h", "approval": "never", "why": _WHY} for one in actions]
    told = {"id": f"chaos.{name}", "title": f"Chaos: {name}", "faults": FAULT, "when": dict(when)}
    return told | {"ladder": [*ladder, {"action": "notify", "why": "It could not be done, and should have been."}]}
