"""The base of every message."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen model. Unknown fields are ignored, so that an older worker reads a newer sender."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Origin(Message):
    """Who requested an operation, and the reason. Both go to the event log."""

    requested_by: str
    reason: str
