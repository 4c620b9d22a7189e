"""Whether every byte of the logs has been shipped: `relight.logs` put together again, beside the files."""

from collections import defaultdict
from collections.abc import Iterator

from bench.chaos.oracle import Oracle
from relight.topics import LOGS
from relight.transports.port import EventLog
from relight.transports.reading import records
from schemas.shipped import Shipped


def unshipped(log: EventLog, oracle: Oracle) -> Iterator[str]:
    """Yield the files that no generation of a source is equal to."""
    whole = _generations(log)
    for cluster in oracle.clusters:
        for path in oracle.files(cluster):
            if (data := path.read_bytes()) and data not in whole:
                yield f"{path} was not shipped whole, or not as it is"


def _generations(log: EventLog) -> set[bytes]:
    """Return the contents of all generations, put together from their chunks."""
    found: dict[tuple[str, str, str], bytearray] = defaultdict(bytearray)
    for record in records(log, LOGS):
        told = Shipped.from_headers(record.headers)
        if told is None or not record.value:
            continue
        data = found[told.cluster, told.stream, told.generation]
        end = told.offset_bytes + len(record.value)
        data.extend(bytes(max(0, end - len(data))))
        data[told.offset_bytes : end] = record.value
    return {bytes(data) for data in found.values()}
