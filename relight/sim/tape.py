"""What is said: entries with their true time, who says them where, and marks on those that tell of an incident."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from relight.sim.cluster import Host
from relight.sim.jobs import Job, Rank


class Kind(StrEnum):
    """What writes a stream of lines."""

    KERNEL = "kernel"
    SYSTEM = "system"
    APP = "app"
    LAUNCHER = "launcher"
    BATCH = "batch"
    CONTROLLER = "controller"
    SLURMD = "slurmd"
    FABRIC = "fabric"
    SUBNET = "subnet"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a line of an entry tells of an incident: which incident, and which line of the entry (from 0).

    `heal` marks what a run survived: the precursor of the incident.
    """

    incident: int
    line: int = 0
    heal: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """Lines that are written at once. `tag` is the program's name in a syslog; `level` is syslog's severity."""

    time_s: float
    kind: Kind
    text: str
    host: Host | None = None
    job: Job | None = None
    rank: Rank | None = None
    tag: str = ""
    level: int = 6
    mark: Mark | None = None


@dataclass
class Tape:
    """All entries of a simulation, in the order in which they were thought of."""

    entries: list[Entry] = field(default_factory=list)
    off: list[tuple[Host, float, float]] = field(default_factory=list)

    def app(self, time_s: float, job: Job, rank: Rank, text: str, mark: Mark | None = None) -> None:
        """Add what a rank prints."""
        self.entries.append(Entry(time_s, Kind.APP, text, rank.host, job, rank, mark=mark))

    def launcher(self, time_s: float, job: Job, host: Host, text: str, mark: Mark | None = None) -> None:
        """Add what the launcher's agent on a host prints."""
        self.entries.append(Entry(time_s, Kind.LAUNCHER, text, host, job, mark=mark))

    def batch(self, time_s: float, job: Job, text: str, mark: Mark | None = None) -> None:
        """Add what `srun` and `slurmstepd` print into a job's output."""
        self.entries.append(Entry(time_s, Kind.BATCH, text, job.hosts[0], job, mark=mark))

    def kernel(self, time_s: float, host: Host, text: str, mark: Mark | None = None, level: int = 4) -> None:
        """Add what a host's kernel says."""
        self.entries.append(Entry(time_s, Kind.KERNEL, text, host, tag="kernel", level=level, mark=mark))

    def system(self, time_s: float, host: Host, tag: str, text: str, mark: Mark | None = None, level: int = 6) -> None:
        """Add what a daemon of a host says to the syslog."""
        self.entries.append(Entry(time_s, Kind.SYSTEM, text, host, tag=tag, level=level, mark=mark))

    def of(self, kind: Kind, time_s: float, text: str, host: Host | None = None, mark: Mark | None = None) -> None:
        """Add what a controller, a subnet manager or another service says."""
        self.entries.append(Entry(time_s, kind, text, host, mark=mark))

    def silence(self, host: Host, from_s: float, to_s: float) -> None:
        """Remember that a host was off: what it would have said then is not written."""
        self.off.append((host, from_s, to_s))

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries, but for those of hosts that were off."""
        for entry in self.entries:
            if not any(entry.host is host and begin <= entry.time_s < end for host, begin, end in self.off):
                yield entry
