"""The closed sets of words in which relight speaks: severities, impacts, provenances and their like."""

from enum import StrEnum
from functools import cached_property


class Severity(StrEnum):
    """How bad a line is for the run that it was found in, from least to worst."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @cached_property
    def rank(self) -> int:
        """Return the place in the order of severities, 0 for `info`."""
        return list(Severity).index(self)

    @property
    def serious(self) -> bool:
        """Tell whether a process dies of it."""
        return self.rank >= Severity.ERROR.rank


class Impact(StrEnum):
    """What an incident did to its run: ended it, hurt it, or nothing."""

    FAILED = "failed"
    DEGRADED = "degraded"
    NONE = "none"


class Provenance(StrEnum):
    """Who wrote a line. `unknown` where nothing vouches for it, as in a file that someone handed over.

    `monitor`: a monitoring system says what it has measured or concluded. It has seen nothing itself.
    """

    KERNEL = "kernel"
    APP = "app"
    SCHEDULER = "scheduler"
    CONTAINER = "container"
    FABRIC = "fabric"
    MONITOR = "monitor"
    UNKNOWN = "unknown"


class Kept(StrEnum):
    """Why a store keeps a line: a signature matched it, it is a warning or worse, it is near one, or all are kept."""

    EVIDENCE = "evidence"
    LEVEL = "level"
    CONTEXT = "context"
    ALL = "all"


class Outcome(StrEnum):
    """How a run ended. `incomplete`: the log stops, and neither success nor failure is in it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


class Domain(StrEnum):
    """Whose fault a failure is: the machines', the training program's and its input, or it cannot be told."""

    INFRASTRUCTURE = "infrastructure"
    WORKLOAD = "workload"
    UNKNOWN = "unknown"


class RetryOutlook(StrEnum):
    """Whether a run that is started again, with nothing changed by a person, can get past the fault."""

    MAY_RECOVER = "may_recover"
    CANNOT_RECOVER = "cannot_recover"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What a signature's line says about a run.

    `fault`: something broke. `start`, `progress`, `success`: where the run's story stands.
    `teardown`: what a machine says while it is being taken down; it explains nothing.
    `reading`: the line tells numbers of a machine, and nothing about a run.
    `place`: the line tells where something runs, and nothing about how it fares.
    `noise`: the line is no evidence, whatever else matches it (advice, echoed settings, known harmless errors).
    """

    FAULT = "fault"
    START = "start"
    PROGRESS = "progress"
    SUCCESS = "success"
    TEARDOWN = "teardown"
    READING = "reading"
    PLACE = "place"
    NOISE = "noise"


class Culprit(StrEnum):
    """The sort of thing that a fault is blamed on."""

    GPU = "gpu"
    NIC = "nic"
    HOST = "host"
    RANK = "rank"
    FILE = "file"
    JOB = "job"


class Layer(StrEnum):
    """The layer of the machine room in which a fault sits."""

    HARDWARE = "hardware"
    DRIVER = "driver"
    NETWORK = "network"
    HOST = "host"
    STORAGE = "storage"
    SCHEDULER = "scheduler"
    FRAMEWORK = "framework"
    TRAINING = "training"
    SOFTWARE = "software"
    LAUNCHER = "launcher"
    NONE = "none"
