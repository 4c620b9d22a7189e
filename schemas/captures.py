"""The captures that relight reads: what a pattern calls a part of a line decides what is done with it.

Code reads captures by these names alone, so this is the whole list. Captures of other names are kept and shown.
"""

from enum import StrEnum


class Capture(StrEnum):
    """The name of a capture, such as `gpu` in `GPU (?P<gpu>[0-9]+)`; `docs/rules.md` lists them for authors.

    `LAST_STEP` is no pattern's: it is the `STEP` of the last of several lines.
    """

    EPOCH = "epoch"
    FILE = "file"
    GPU = "gpu"
    GPU_UUID = "gpu_uuid"
    HOST = "host"
    LAST_STEP = "last_step"
    NIC = "nic"
    PCI = "pci"
    RANK = "rank"
    RANKS = "ranks"
    STEP = "step"
    TIMEOUT_MS = "timeout_ms"
    TIMEOUT_S = "timeout_s"
    XID = "xid"
