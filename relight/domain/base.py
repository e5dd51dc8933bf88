"""The base of every message."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen model. Unknown fields are ignored, so that an older worker reads a newer sender."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Origin(Message):
    """Who asked for an operation, and why. Both are kept in the event log."""

    requested_by: str
    reason: str
