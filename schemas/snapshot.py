"""Snapshots: a stage's state as bytes, in parts that fit a record, with the position in its input that it covers."""

from pydantic import Field

from schemas.model import Blob, Model


class SnapshotPart(Model):
    """A part of a snapshot. The `body` of all `parts` together is the state, compressed with zstd.

    `covers` is the offset of the first record of the stage's input that is not in it.
    """

    stage: str
    key: str
    version: int
    covers: int = Field(ge=0)
    part: int = Field(ge=0)
    parts: int = Field(ge=1)
    body: Blob
