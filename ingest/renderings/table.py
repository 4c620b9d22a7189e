"""All renderings, in the order in which they are asked."""

from typing import Final

from ingest.renderings.dcgm import DcgmBoxes, DcgmColumns
from ingest.renderings.exposition import Exposition
from ingest.renderings.flight_recorder import FlightRecorder
from ingest.renderings.port import Rendering
from ingest.renderings.smi_report import SmiReport
from ingest.renderings.stacks import StackDump, StackList
from ingest.renderings.tables import MetricTable
from ingest.renderings.tensorboard import TensorBoard
from ingest.renderings.wandb import WandbRun

RENDERINGS: Final[tuple[Rendering, ...]] = (
    FlightRecorder(),
    StackDump(),
    StackList(),
    TensorBoard(),
    WandbRun(),
    SmiReport(),
    DcgmColumns(),
    DcgmBoxes(),
    Exposition(),
    MetricTable(),
)


def rendering_of(name: str, head: bytes) -> Rendering | None:
    """Return the rendering for a file with this name that begins like this, `None` for what is read as it is."""
    return next((one for one in RENDERINGS if one.recognises(name, head)), None)


def undecided(head: bytes) -> bool:
    """Tell whether more bytes behind these may change what `rendering_of` returns for them."""
    return b"\n" not in head.lstrip() or any(one.awaits(head) for one in RENDERINGS)
