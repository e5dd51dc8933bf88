"""Publication of images: which regions have one, and what to begin next. Pure.

A published image is an image in a region that was proven to be there: its provider reports it as
available, of our build, and private.
"""

from enum import StrEnum
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from relight.domain.base import Message, ShortText
from relight.domain.image import ImageName
from relight.domain.release import ArchitectureName
from relight.domain.text import visible_head

MAX_ANSWER_BYTES = 8192

Answer = Annotated[str, AfterValidator(partial(visible_head, max_bytes=MAX_ANSWER_BYTES))]
"""A provider's whole answer about an image, visible and cut to 8 KiB. No message carries it."""

MAX_REGIONS = 500
"""Of one publication: its result has to fit into a payload."""


def image_workflow_id(name: ImageName) -> str:
    """Return the workflow id of an image's publication. The id is the image's lock."""
    return f"image/{name}"


def region_workflow_id(name: ImageName, provider: str, region: str) -> str:
    """Return the workflow id of the publication of an image in one region."""
    return f"{image_workflow_id(name)}/{provider}/{region}"


# ---------------------------------------------------------------- what is on record


class PublicationStatus(StrEnum):
    """Whether a region has an image.

    `waiting`: its import is not begun, or is begun once more later. `importing`: the provider works
    on it. `published`: proven to be there. `failed`: it is not there.
    """

    WAITING = "waiting"
    IMPORTING = "importing"
    PUBLISHED = "published"
    FAILED = "failed"


class ImageInRegion(Message):
    """An image in a region, on record.

    Attributes:
        architecture: Debian's name, as in `amd64`.
        recorded_at: when the image was first put on record: the newest one is the newest image.
        image_id: at the provider; None before its import has begun.
        status: whether the region has it.
        reason: why not; of a published one, why the last publication could not prove it again.
        answer: the provider's whole answer, when it failed.
        attempts: imports that the last publication has begun.
        changed_at: of the status.
        published_at: when it was last proven to be there; None: never.
        pinned: a person has chosen it for the region, whatever is newer. It is not pruned.
    """

    name: ImageName
    provider: str = Field(min_length=1)
    region: str = Field(min_length=1)
    architecture: ArchitectureName
    recorded_at: AwareDatetime
    image_id: str | None
    status: PublicationStatus
    reason: ShortText = ""
    answer: Answer = ""
    attempts: int = Field(default=0, ge=0)
    changed_at: AwareDatetime
    published_at: AwareDatetime | None = None
    pinned: bool = False

    @property
    def place(self) -> str:
        """Provider and region, as in `gcore/76`."""
        return f"{self.provider}/{self.region}"
