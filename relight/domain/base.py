"""The base of every message."""

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from relight.domain.text import visible_head


class Message(BaseModel):
    """A frozen model. Unknown fields are ignored, so that an older worker reads a newer sender."""

    model_config = ConfigDict(frozen=True, extra="ignore")


ShortText = Annotated[str, AfterValidator(partial(visible_head, max_bytes=1000))]
"""A visible text of a person or of a check, cut to 1,000 bytes: many messages carry it."""


class Origin(Message):
    """Who requested an operation, and the reason. Both go to the event log."""

    requested_by: ShortText
    reason: ShortText
