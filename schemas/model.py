"""What all models of the vocabulary share: they are frozen and refuse fields that they do not know."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen value whose unknown fields are an error, so that a misspelt key is found where it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")
