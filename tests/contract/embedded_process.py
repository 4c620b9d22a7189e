"""What other processes do in tests of the embedded log: `python -m tests.contract.embedded_process JOB PATH ...`."""

import sys
import time
from contextlib import closing, suppress

from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Fenced, Outgoing, TopicSpec


def append(log: EmbeddedLog, topic: str, writer: str, number: str) -> None:
    """Append numbered records, a few at a time."""
    log.create([TopicSpec(topic, 4)])
    for n in range(0, int(number), 5):
        log.append([Outgoing(topic, f"{writer} {m}".encode(), writer.encode()) for m in range(n, n + 5)])


def tell(log: EmbeddedLog, topic: str, number: str) -> None:
    """Append records that say when, with pauses."""
    for _ in range(int(number)):
        time.sleep(0.03)
        log.append([Outgoing(topic, str(time.time()).encode(), partition=0)])


def copy(log: EmbeddedLog, topic: str, out: str, name: str, total: str) -> None:
    """Copy records as a member of the group `copiers`, a transaction each poll, until all have been copied."""
    while sum(log.positions("copiers", topic).values()) < int(total):
        with closing(log.join("copiers", [topic], name)) as member, suppress(Fenced):
            while sum(log.positions("copiers", topic).values()) < int(total):
                records = member.poll(0.05, limit=3).records
                with member.transaction() as transaction:
                    for record in records:
                        transaction.append(Outgoing(out, record.value, record.key))
                        transaction.advance(record.place, record.offset + 1)


def hang(log: EmbeddedLog, topic: str, out: str, name: str) -> None:
    """Hang in the middle of writing a transaction, as a member that has read something."""
    with closing(log.join("copiers", [topic], name)) as member:
        while not member.poll(1).records:
            pass
        with log.file.writing() as connection:
            log.write(connection, [Outgoing(out, b"never")])
            print("hangs", flush=True)  # noqa: T201 - tells the test
            time.sleep(600)


if __name__ == "__main__":
    job, path, *arguments = sys.argv[1:]
    with EmbeddedLog(path, durable=False) as opened:
        {"append": append, "tell": tell, "copy": copy, "hang": hang}[job](opened, *arguments)
