"""The part of a driver's contract that is about base images.

One contract test, `tests/providers/test_image_contract.py`, runs against every driver that has it.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from relight.domain.image import ImageAtProvider, ImageListing, ImageManifest, ImageRef
from relight.domain.image import StagedDisk as StagedDisk  # noqa: PLC0414 - drivers take it from here
from relight.domain.names import OwnerTag
from relight.providers.driver import ProviderError


class ImageInUseError(ProviderError):
    """The image cannot be deleted: a machine, a volume or another region needs it."""

    kind = "image-in-use"


class Delivery(StrEnum):
    """How a disk comes to a provider.

    `upload`: the driver sends the file. `url`: the provider fetches a URL, which must not need a
    login. `bucket`: the provider reads an object of our account's object storage.
    """

    UPLOAD = "upload"
    URL = "url"
    BUCKET = "bucket"


class ImageLimits(NamedTuple):
    """What a provider can do, and at which speed.

    Attributes:
        delivery: how the disk comes there.
        copies: whether further regions get the image from the first one, and not the disk itself.
        max_in_flight: how many regions may be under way at once.
        stagger: between two beginnings.
        start_within: an import that waits for longer is given up by the provider, or by us.
        finish_within: for a whole import or copy.
    """

    delivery: Delivery
    copies: bool
    max_in_flight: int
    stagger: timedelta
    start_within: timedelta
    finish_within: timedelta


class ImageSpec(NamedTuple):
    """An image to bring to a region.

    Attributes:
        manifest: of the build.
        region: the provider's name of it.
        owner: the fleet's ownership tag, written to the image.
    """

    manifest: ImageManifest
    region: str
    owner: OwnerTag


class DiskFile(NamedTuple):
    """A disk on the worker.

    Attributes:
        path: of the qcow2 file.
        progress: called with the bytes sent so far.
    """

    path: Path
    progress: Callable[[int], None]


@runtime_checkable
class ImageDriver(Protocol):
    """A provider that base images can be published to. Every call may be repeated.

    Attributes:
        image_limits: what it can do.
    """

    image_limits: ImageLimits

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the images of our account in a region whose names begin with a prefix.

        Orders that have no image yet are in it, with the id of their task. Images that the provider
        offers to all its customers are not.
        """

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image, or the state of the task that makes it; None if there is neither."""

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Return the image of this name in the region; begin its import if there is none.

        A found one is adopted only with our owner and the same identity. It is `waiting` or
        `importing` at first.

        Raises:
            MachineConflictError: an image of another owner or identity has this name.
            ProviderUnavailableError: it is not known whether the import has begun.
            ProviderError: it has not begun.
        """

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Return the image of this name in the region; begin its copy from another region.

        Only a driver with `image_limits.copies` is asked. The errors are those of `import_image`.
        """

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request the deletion of an image or of its order; return whether it still existed.

        The id and the name must both match, and the owner must be in the account's tags; absent is
        success.

        Raises:
            ImageInUseError: something needs it.
            MachineConflictError: the id belongs to an image with another name.
        """

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the image that a machine was made of; None if that is not known."""
