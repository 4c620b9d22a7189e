"""A cluster whose whole loop runs in threads of the test: its stages and its agent, started from settings as always.

Its agent carries everything out with a program that does nothing and fails, but for what only looks or tells. A ladder
is so climbed at once to the first step that starts a job again, and what was issued is all that relight thinks right.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fleet import events, until

from ingest.follow.kernel import KernelLog
from ingest.follow.positions import Positions
from relight.agent.opening import agent
from relight.keys import Role, key_file
from relight.metrics import StageMetrics
from relight.settings import Settings, settings
from relight.stages import building
from relight.stages.building import Built
from relight.stages.process import Worker
from relight.stages.receiving import PATH
from relight.stages.remedies import present
from relight.stages.ship import Ship
from relight.stages.spool import Spool
from relight.topics import COMMANDS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.opening import open_log
from schemas.action import ACTIONS
from schemas.command import RecoveryCommand
from schemas.history import IncidentHistory
from schemas.remedy import CommandHistory
from tests.servers.process import free_ports

CLUSTER: Final = "lab"
STAGES: Final = ("match", "correlate", "remediate")
LOOKS: Final = ("collect_diagnostics", "notify")


@dataclass
class Lab:
    """The cluster, in a folder of its own. `more` are settings by key; the agent and the shippers have them as well."""

    folder: Path
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = EmbeddedLog(self.folder / "relight.db", durable=False)
        self.log.create(specs(log_partitions=1, cluster_partitions=1))
        for role in Role:
            key_file(self.settings(), role)  # threads of one process are not to make them at the same time

    def settings(self, **ship: Any) -> Settings:
        """Return the settings of its processes; `ship` are those of a shipper."""
        programs = {name: ("/bin/true" if name in LOOKS else "/bin/false",) for name in ACTIONS}
        own = {
            "cluster.name": CLUSTER,
            "embedded.path": self.folder / "relight.db",
            "embedded.durable": False,
            "keys.folder": self.folder / "keys",
            "ship.state_path": self.folder / "ship.json",
            "ship.spool_path": self.folder / "spool",
            "ship.journal": False,
            "ship.kernel": False,
            "correlate.settle_s": 0.5,
            "remediate.dry_run": False,
            "remediate.cooldown_s": 0,
            "exec.programs": programs,
            "topics.log_partitions": 1,
            "topics.cluster_partitions": 1,
        }
        return settings(own | dict(self.more) | {f"ship.{name}": value for name, value in ship.items()}, None)

    @contextmanager
    def running(self, *stages: str) -> Iterator[None]:
        """Run stages, by default all with the agent, while the block lasts. What ends one early is raised."""
        stop = threading.Event()
        found = [building.stage(name, self.settings(), stop) for name in stages or STAGES]
        built = found if stages else [*found, agent(self.settings(), stop)]
        with _running(built, stop):
            yield

    def ship(self, *paths: Path, **own: Any) -> None:
        """Ship files to their end, as `relight ship --once` does."""
        stop = threading.Event()
        with _running([building.ship([*map(str, paths)], self.settings(**own), stop, once=True)], stop, wait=True):
            pass

    @contextmanager
    def shipping(self, *paths: Path, **own: Any) -> Iterator[None]:
        """Ship files while the block lasts: their silence is heard, too."""
        stop = threading.Event()
        with _running([building.ship([*map(str, paths)], self.settings(heartbeat_s=0.2, **own), stop)], stop):
            yield

    @contextmanager
    def receiving(self, **own: Any) -> Iterator[str]:
        """Receive alerts while the block lasts; `own` are settings of the receiver. Give the URL for them."""
        (port,), stop = free_ports(1), threading.Event()
        self.more = {**self.more, "receive.port": port} | {f"receive.{name}": value for name, value in own.items()}
        with _running([building.receive(self.settings(heartbeat_s=0.2), stop)], stop):
            assert until(lambda: _listens(port), 10)
            yield f"http://127.0.0.1:{port}{PATH}"

    @contextmanager
    def reading_kernel(self, records: bytes, host: str) -> Iterator[None]:
        """Ship what the kernel of a host has in its ring while the block lasts: `records` are those of /dev/kmsg."""
        ring, boot, positions = self.folder / "kmsg", self.folder / "boot_id", Positions(self.folder / "kernel.json")
        ring.write_bytes(records)
        boot.write_text("b1\n")
        stop, metrics = threading.Event(), StageMetrics("ship")

        def work() -> None:
            with ExitStack() as stack:
                feed = KernelLog(CLUSTER, host, positions, path=ring, boot_id=boot, heartbeat_ms=200)
                stack.enter_context(closing(feed))
                spool = stack.enter_context(closing(Spool(self.folder / "kernel-spool", 1 << 20)))
                Ship([feed], positions, lambda: open_log(self.settings()), spool, metrics, stop=stop).run()

        with _running([Built(Worker("kernel", work), metrics)], stop):
            yield

    def incidents(self) -> list[IncidentHistory]:
        """Return the incidents that there are."""
        return [case.history for cases in present(self.log).values() for case in cases.cases.values()]

    def commands(self) -> list[CommandHistory]:
        """Return all commands, in the order in which they were planned."""
        return [command for cases in present(self.log).values() for command in cases.commands.values()]

    def issued(self) -> list[str]:
        """Return the actions of all commands on the topic of commands, in their order."""
        signed = [event.data for event in events(self.log, COMMANDS)]
        return [one.action.kind for one in signed if isinstance(one, RecoveryCommand)]

    def climbed(self, to: str) -> list[str]:
        """Wait until an action was issued, and return all that was issued."""
        assert until(lambda: to in self.issued()), [(one.state, one.plan) for one in self.commands()]
        return self.issued()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def _running(built: list[Built], stop: threading.Event, *, wait: bool = False) -> Iterator[None]:
    for one in built:
        one.worker.start(stop)
    try:
        yield
    finally:
        if not wait:
            stop.set()
        for one in built:
            one.worker.thread.join(20)
        errors = [one.worker.error for one in built if one.worker.error is not None]
        if errors:
            raise errors[0]
    assert not [one.worker.name for one in built if one.worker.thread.is_alive()]
