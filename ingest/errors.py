"""What can go wrong with what is to be read.

IngestError
└── Unreadable    a source's bytes end early: denied, truncated, corrupt. What came before it counts.
"""


class IngestError(Exception):
    """Something is wrong with what is to be read."""


class Unreadable(IngestError):
    """The rest of a source cannot be read. `source` is its name, `reason` one line."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"
