"""A stage that reads its topics and keeps its place, and does nothing with them yet: `remediate`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relight.transports.port import Outgoing, Partition, Record


@dataclass(frozen=True)
class Keep:
    """The stage, by its name and topics."""

    name: str
    inputs: tuple[str, ...]

    def gain(self, partition: Partition, position: int) -> None:
        """Have no state to rebuild."""

    def lose(self, partition: Partition) -> None:
        """Have no state to forget."""

    def handle(self, records: Sequence[Record]) -> Iterable[Outgoing]:
        """Return nothing: the runner moves the positions on."""
        return ()

    def beat(self) -> Iterable[Outgoing]:
        """Return nothing."""
        return ()

    def close(self) -> None:
        """Hold nothing that has to be let go of."""
