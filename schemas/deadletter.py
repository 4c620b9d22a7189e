"""Dead letters: records that a stage could not read, kept whole with the reason and the place they came from."""

from pydantic import Field

from schemas.model import Blob, Model


class RecordRefused(Model):
    """A stage could not read a record and went on without it. `key`, `value` and header values are kept as base64."""

    stage: str
    reason: str
    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    key: Blob | None = None
    value: Blob | None = None
    headers: tuple[tuple[str, Blob], ...] = ()
    refused_ms: int = Field(ge=0)


class RecordRetried(Model):
    """A person had a dead letter appended to its topic again. `letter` is the id of its `record.refused`."""

    letter: str
    retried_ms: int = Field(ge=0)
