"""Publication of images: which regions have one, on record and at the end of a publication.

A published image is an image in a region that was proven to be there: its provider reports it as
available, of our build, and private.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from relight.domain.base import Message, Origin, ShortText
from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageName, ImageRef
from relight.domain.release import ArchitectureName
from relight.domain.text import visible_head

MAX_ANSWER_BYTES = 8192

Answer = Annotated[str, AfterValidator(partial(visible_head, max_bytes=MAX_ANSWER_BYTES))]
"""A provider's whole answer about an image, visible and cut to 8 KiB. No message carries it."""

MAX_NAMED = 10
"""So many regions are named in a sentence; the others are counted."""


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
    on it. `published`: proven to be there. `failed`: it is not there. `deleting`: a prune has begun
    to delete it, so no machine is made of it; the next prune or publication goes on.
    """

    WAITING = "waiting"
    IMPORTING = "importing"
    PUBLISHED = "published"
    FAILED = "failed"
    DELETING = "deleting"


ABANDONED_AFTER = timedelta(days=1)
"""No publication takes longer: what is under way on record since then was left by a lost one."""


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

    def is_under_way(self, now: datetime) -> bool:
        """Return whether a publication works on it."""
        under_way = {PublicationStatus.WAITING, PublicationStatus.IMPORTING}
        return self.status in under_way and now - self.changed_at <= ABANDONED_AFTER

    @property
    def ref(self) -> ImageRef | None:
        """The image at its provider, if the region has it; else None."""
        if self.status is not PublicationStatus.PUBLISHED or self.image_id is None:
            return None
        return ImageRef(
            name=self.name, provider=self.provider, region=self.region, image_id=self.image_id
        )


# ---------------------------------------------------------------- what a publication is asked for


class PublishImageInput(Message):
    """Bring an image to regions.

    Attributes:
        name: of the image: a worker has its disk and its manifest.
        provider: only this one; None for all that images can be published to.
        region: only this one of `provider`.
        missing: only regions that are not on record as published.
        max_attempts: imports that are begun in one region.
    """

    name: ImageName
    provider: str | None = None
    region: str | None = None
    missing: bool = False
    max_attempts: int = Field(default=2, ge=1, le=10)
    origin: Origin


# ---------------------------------------------------------------- how a publication ends


class PublicationOutcome(StrEnum):
    """How a publication ended. `partial`: some regions have the image, and some do not."""

    PUBLISHED = "published"
    PARTIAL = "partial"
    FAILED = "failed"


class RegionOutcome(Message):
    """How a publication ended in one region; in all of a provider's, if `region` is empty.

    Attributes:
        image_id: at the provider, if it was published.
        attempts: imports that were begun.
        fault: why it was not, in brief.
    """

    provider: str
    region: str
    image_id: str | None = None
    attempts: int = 0
    fault: Fault | None = None

    @property
    def place(self) -> str:
        """Provider and region, as in `gcore/76`."""
        return f"{self.provider}/{self.region}" if self.region else self.provider


class ImagePublication(Message):
    """The result of a publication.

    Attributes:
        regions: one for each region that was asked for, by provider and region.
    """

    name: ImageName
    regions: tuple[RegionOutcome, ...]

    @property
    def failed(self) -> tuple[RegionOutcome, ...]:
        """The regions that do not have the image."""
        return tuple(each for each in self.regions if each.fault is not None)

    @property
    def outcome(self) -> PublicationOutcome:
        """How it ended."""
        if not self.failed:
            return PublicationOutcome.PUBLISHED
        if len(self.failed) == len(self.regions):
            return PublicationOutcome.FAILED
        return PublicationOutcome.PARTIAL

    @property
    def text(self) -> str:
        """The result in one sentence, with the regions that failed."""
        text = f"{self.name}: {len(self.regions) - len(self.failed)} of {len(self.regions)} regions"
        if not self.failed:
            return f"{text} have it"
        named = ", ".join(each.place for each in self.failed[:MAX_NAMED])
        more = len(self.failed) - MAX_NAMED
        return f"{text} have it; without it: {named}{f' and {more} more' if more > 0 else ''}"
