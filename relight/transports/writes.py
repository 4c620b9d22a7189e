"""What a transaction is to write when it commits: the same for all adapters, none of which sends anything before."""

from relight.transports.port import Outgoing, Partition


class Writes:
    """A transaction of the port: what is to be appended, and where the positions are to be."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.records: list[Outgoing] = []
        self.positions: dict[Partition, int] = {}

    def append(self, record: Outgoing) -> None:
        """Append a record when the transaction commits."""
        self.records.append(record)

    def advance(self, partition: Partition, offset: int) -> None:
        """Set the group's position in a partition: the offset of the record to be read next."""
        self.positions[partition] = offset
