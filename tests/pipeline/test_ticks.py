"""Ticks of `correlate`: one that was written twice, by who came after a crash, counts once."""

from pathlib import Path

from threads import correlate

from diagnose.correlation.evidence import Resolve
from relight.replay import rebuilt
from relight.topics import SIGNALS, specs
from relight.transports.embedded import EmbeddedLog
from relight.transports.port import Outgoing, Partition
from schemas.events import Event, encoded
from schemas.signal import Mark, Signal, SourceRead, Tick
from schemas.vocabulary import Kind, Severity

SIGNATURE = "python.value-error"


def failure(job: str) -> tuple[SourceRead, Signal]:
    mark = Mark(offset_bytes=60, line=2, text="ValueError: no such sample", time_s=1e9, timed=True)
    signal = Signal(
        id=f"signal of {job}",
        read_to=99,
        signature=SIGNATURE,
        kind=Kind.FAULT,
        severity=Severity.ERROR,
        fault="software.user_code",
        source=job,
        stream=job,
        first=mark,
        last=mark,
        count=1,
        job=job,
    )
    return SourceRead(source=job, stream=job, job=job, lines=3, bytes_read=99, first_s=1e9, last_s=1e9), signal


def test_what_is_said_after_a_tick_that_was_written_twice_can_be_replayed(tmp_path: Path, resolve: Resolve) -> None:
    first, second = Tick(number=1, time_s=1e9 + 1), Tick(number=2, time_s=1e9 + 5)
    facts = [*failure("1"), first, *failure("2"), first, second]
    with EmbeddedLog(tmp_path / "relight.db") as log:
        log.create(specs(1, 1))
        events = [Event(str(number), "lab", "lab", 1e9, fact) for number, fact in enumerate(facts)]
        log.append([Outgoing(SIGNALS, encoded(event), b"lab") for event in events])
        stage, partition = correlate(log, resolve), Partition(SIGNALS, 0)
        stage.gain(partition, 0)
        log.append([*stage.handle(log.read(partition, 0))])
        replayed = rebuilt(log, resolve, 30.0)
    assert replayed.incidents == 2
    assert replayed.differences == []
