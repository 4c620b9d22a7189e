"""All renderings, in the order in which they are asked."""

from typing import Final

from ingest.renderings.flight_recorder import FlightRecorder
from ingest.renderings.port import Rendering
from ingest.renderings.stacks import StackDump

RENDERINGS: Final[tuple[Rendering, ...]] = (FlightRecorder(), StackDump())


def rendering_of(name: str, head: bytes) -> Rendering | None:
    """Return the rendering for a file with this name that begins like this, `None` for what is read as it is."""
    return next((one for one in RENDERINGS if one.recognises(name, head)), None)
