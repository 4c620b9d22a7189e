"""What Slurm's own programs say in a job's output: the end of a step, a task that failed. Nothing is taken off.

Slurm, src/slurmd/slurmstepd/req.c and src/srun. `slurmd.log`'s stamps are read with the other bracketed stamps.
"""

from typing import Final

from ingest.formats.linear import compiled
from ingest.formats.recogniser import Format, Hints, Peeled, host_origin, text_of
from ingest.formats.stamps import read_iso
from schemas.record import Origin
from schemas.vocabulary import Provenance

_CANCELLED: Final = compiled(
    rb"slurmstepd: error: \*\*\* (?:STEP|JOB) (\d{1,10}(?:_\d{1,10})?)(?:\.[\w+]{1,16})? ON ([\w.-]{1,255}) "
    rb"(?:CANCELLED|FAILED|TERMINATED)[^*]{0,64}? AT (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)"
)
_TASK: Final = compiled(rb"srun: error: ([A-Za-z0-9][\w.-]{0,254}): tasks? \d")


def cancelled(segment: bytes, hints: Hints) -> Peeled | None:
    """Read `slurmstepd: error: *** STEP 561.17 ON host CANCELLED AT 2024-05-01T04:11:25 DUE TO TIME LIMIT ***`."""
    found = _CANCELLED.match(segment) if segment[:11] == b"slurmstepd:" else None
    if found is None:
        return None
    stamp = read_iso(found[3])
    origin = Origin(
        host=text_of(found[2]),
        job=text_of(found[1]),
        time_s=stamp[0] if stamp else None,
        level="error",
        provenance=Provenance.SCHEDULER,
    )
    return segment, origin, ""


def task(segment: bytes, hints: Hints) -> Peeled | None:
    """Read the host of `srun: error: host: task 0: Exited with exit code 1`."""
    found = _TASK.match(segment) if segment[:12] == b"srun: error:" else None
    return (segment, host_origin(text_of(found[1])), "") if found else None


FORMATS: Final = (
    Format("slurm", b"s", cancelled),
    Format("slurm", b"s", task),
)
