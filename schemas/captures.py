"""The captures that relight reads: what a pattern calls a part of a line decides what is done with it.

Code reads captures by these names alone, so this is the whole list. Captures of other names are kept and shown.
"""

from enum import StrEnum


class Capture(StrEnum):
    """The name of a capture, such as `gpu` in `GPU (?P<gpu>[0-9]+)`; `docs/rules.md` lists them for authors.

    Two are no pattern's: `LAST_STEP` is the `STEP` of the last of several lines, `OVER` is told of what a detector has
    found when it is over.
    """

    ADDRESS = "address"
    CALLED = "called"
    COLLECTIVE = "collective"
    COMPLETED = "completed"
    ENQUEUED = "enqueued"
    EPOCH = "epoch"
    FILE = "file"
    GPU = "gpu"
    GPU_UUID = "gpu_uuid"
    HOST = "host"
    JOB = "job"
    LAST_STEP = "last_step"
    MEMBERS = "members"
    NIC = "nic"
    NODELIST = "nodelist"
    NUMEL_IN = "numel_in"
    NUMEL_OUT = "numel_out"
    OTHER_RANK = "other_rank"
    OTHER_VERSION = "other_version"
    OVER = "over"
    PCI = "pci"
    PEER = "peer"
    PG = "pg"
    PG_DESC = "pg_desc"
    POD = "pod"
    RANK = "rank"
    RANKS = "ranks"
    SEQ = "seq"
    STACK = "stack"
    STEP = "step"
    TIMEOUT_MS = "timeout_ms"
    TIMEOUT_S = "timeout_s"
    TOTAL_STEPS = "total_steps"
    VERSION = "version"
    WORLD = "world"
    XID = "xid"
