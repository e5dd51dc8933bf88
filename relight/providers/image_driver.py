"""The part of a driver's contract that is about base images.

One contract test, `tests/providers/test_image_contract.py`, runs against every driver that has it.
"""

import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

from pydantic import JsonValue

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageManifest,
    ImageRef,
    ImageStatus,
)
from relight.domain.image.image import StagedDisk as StagedDisk  # noqa: PLC0414 - drivers take it from here
from relight.domain.names import OwnerTag
from relight.domain.text import visible_head, without_queries
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderError,
    ProviderInvalidError,
)

MAX_ANSWER_BYTES: Final = 4096
"""How much is kept of what a provider says of an image."""

_OVER: Final = frozenset({ImageStatus.FAILED, ImageStatus.DELETING})


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
        first: where `copies` is set, the only region that can import the disk; empty: any can.
    """

    delivery: Delivery
    copies: bool
    max_in_flight: int
    stagger: timedelta
    start_within: timedelta
    finish_within: timedelta
    first: str = ""


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

    @property
    def attempted(self) -> str:
        """What is attempted with it, for the words of an error."""
        return f"publish {self.manifest.name} to {self.region}"


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


def the_file(provider: str, spec: ImageSpec, disk: DiskFile | StagedDisk) -> DiskFile:
    """Return a disk on the worker.

    Raises:
        ProviderInvalidError: it is a staged one.
    """
    if not isinstance(disk, DiskFile):
        raise ProviderInvalidError(provider, spec.attempted, "it takes the disk itself")
    return disk


def the_staged(provider: str, spec: ImageSpec, disk: DiskFile | StagedDisk) -> StagedDisk:
    """Return a disk in object storage.

    Raises:
        ProviderInvalidError: it is a file on the worker.
    """
    if not isinstance(disk, StagedDisk):
        raise ProviderInvalidError(provider, spec.attempted, "it takes a staged disk")
    return disk


def no_copies(provider: str, spec: ImageSpec, source: ImageRef) -> ProviderInvalidError:
    """Return the error of a provider whose regions import the disk, each its own."""
    words = f"images are not copied from {source.region}: import the disk"
    return ProviderInvalidError(provider, spec.attempted, words)


def adopted_image(found: ImageAtProvider, spec: ImageSpec) -> ImageAtProvider:
    """Return a found image if it has the spec's owner and identity.

    Raises:
        MachineConflictError: it has another owner or identity.
    """
    if (found.owner, found.identity) != (spec.owner, spec.manifest.identity):
        raise MachineConflictError(
            found.provider,
            spec.attempted,
            f"{found.image_id} has this name: its owner is {found.owner or 'unknown'} and its "
            f"identity {found.identity or 'unknown'}, not {spec.owner} and "
            f"{spec.manifest.identity}",
        )
    return found


def image_named(provider: str, listing: ImageListing, spec: ImageSpec) -> ImageAtProvider | None:
    """Return the image with the spec's name; None if there is none, or only failed ones.

    Where a provider has made two of one order, both are the same image: the one that can be used is
    returned.

    Raises:
        MachineConflictError: one of another owner or identity has the name.
        ProviderAnswerError: it is not listed, and the listing is incomplete.
    """
    found = {
        each.image_id: each
        for each in listing.images
        if each.name == spec.manifest.name and each.status not in _OVER
    }
    if found:
        ours = [adopted_image(each, spec) for each in found.values()]
        return min(ours, key=lambda each: (each.status is not ImageStatus.AVAILABLE, each.image_id))
    if not listing.complete:
        words = "the listing of images is incomplete"
        raise ProviderAnswerError(provider, spec.attempted, words)
    return None


def sorted_images(images: Iterable[ImageAtProvider]) -> tuple[ImageAtProvider, ...]:
    """Return images ordered by name and id, each once."""
    unique = {each.image_id: each for each in images}
    return tuple(sorted(unique.values(), key=lambda each: (each.name, each.image_id)))


def require_ours(found: ImageAtProvider, ref: ImageRef) -> None:
    """Check that an image is the one of a reference, and that it has an owner's tag.

    Raises:
        MachineConflictError: it has another name, or no tag of an owner.
    """
    attempted = f"delete the image {ref.name}"
    if found.name != ref.name:
        words = f"{ref.image_id} is named {found.name}"
        raise MachineConflictError(ref.provider, attempted, words)
    if found.owner is None:
        words = f"{ref.image_id} has no tag of an owner"
        raise MachineConflictError(ref.provider, attempted, words)


def whole_answer(answer: JsonValue) -> str:
    """Return what a provider says of an image, made visible and bounded, without URLs' queries."""
    text = without_queries(json.dumps(answer, ensure_ascii=False))
    return visible_head(text, MAX_ANSWER_BYTES)
