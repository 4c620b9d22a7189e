"""What all models of the vocabulary share: they are frozen and refuse fields that they do not know."""

from base64 import b64decode, b64encode
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema


class Model(BaseModel):
    """A frozen value whose unknown fields are an error, so that a misspelt key is found where it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _decoded(value: object) -> object:
    return b64decode(value, validate=True) if isinstance(value, str) else value


Blob = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(lambda value: b64encode(value).decode("ascii"), when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes, which JSON holds as base64."""
