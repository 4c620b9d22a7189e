"""The topics of the pipeline: what each holds, who writes it, how it is keyed and how long it is kept."""

from dataclasses import dataclass
from typing import Final

from relight.transports.port import TopicSpec

LOGS: Final = "relight.logs"
SIGNALS: Final = "relight.signals"
INCIDENTS: Final = "relight.incidents"
COMMANDS: Final = "relight.commands"
OUTCOMES: Final = "relight.outcomes"
CONTROL: Final = "relight.control"
DEADLETTERS: Final = "relight.deadletters"
SNAPSHOTS: Final = "relight.snapshots"

_DAY_MS: Final = 24 * 3600 * 1000
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """A row of the table. A topic with `by_cluster` has as many partitions as the others with it."""

    name: str
    key: str
    holds: str
    written_by: str
    days: int | None
    by_cluster: bool = True
    compacted: bool = False
    max_record_bytes: int = _MIB


TOPICS: Final = (
    Topic(LOGS, "source (host and stream)", "chunks of log lines, or one line a record", "shippers", 3, False),
    Topic(SIGNALS, "cluster", "signals, what is read of each source, verdicts, and ticks",
          "match, correlate, remediate", 7),
    Topic(INCIDENTS, "cluster", "the events of every incident: the source of truth", "correlate, remediate", None),
    Topic(COMMANDS, "target", "recovery commands", "remediate", 7, False),
    Topic(OUTCOMES, "cluster", "what became of commands", "orchestrators", 7),
    Topic(CONTROL, "cluster", "what people ask for", "the command line, other tools", None),
    Topic(DEADLETTERS, "as the input", "what could not be read, with the reason", "every stage", 30, False,
          max_record_bytes=3 * _MIB),
    Topic(SNAPSHOTS, "stage and cluster, or stage and source", "the state of stages with its input positions",
          "match, correlate, remediate", None, False, compacted=True),
)  # fmt: skip


READS: Final = {
    "match": (LOGS,),
    "correlate": (SIGNALS,),
    "index": (LOGS, INCIDENTS),
    "remediate": (INCIDENTS, OUTCOMES, CONTROL),
}
"""What each stage reads."""


def group_of(stage: str) -> str:
    """Return the name of the group that a stage's processes share."""
    return f"relight.{stage}"


def specs(log_partitions: int, cluster_partitions: int) -> list[TopicSpec]:
    """Return the topics as they should be, for so many partitions of logs and of clusters."""
    most = max(log_partitions, cluster_partitions)
    partitions = {LOGS: log_partitions, SNAPSHOTS: most, DEADLETTERS: 1}
    return [
        TopicSpec(
            name=topic.name,
            partitions=partitions.get(topic.name, cluster_partitions),
            retention_ms=-1 if topic.days is None else topic.days * _DAY_MS,
            compacted=topic.compacted,
            max_record_bytes=topic.max_record_bytes,
        )
        for topic in TOPICS
    ]
