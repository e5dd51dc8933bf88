"""Base images of a provider in memory, and what can go wrong with those of any provider."""

import itertools
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.driver import ProviderError
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageInUseError,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    adopted_image,
    image_named,
    require_ours,
    sorted_images,
)


class ImageTrap(StrEnum):
    """What a provider does as long as a test leaves it on: `fake.image_traps.add(...)`."""

    NEVER_STARTS = "an import waits for ever"
    REAPED = "an import that waits is given up by the provider"
    FAILS = "an import fails"
    PUBLIC = "everybody can use what is imported"
    UNREADABLE_VISIBILITY = "nothing says who can use what is imported"
    UNKNOWN_STATUS = "images have a status that no driver knows"


class SimulatedImages:
    """The images of one account in memory.

    Each read of an image takes its next step: waiting, importing, available.

    Attributes:
        image_limits: as of a driver; a test may replace them.
        image_traps: what is wrong until it is removed.
        used_images: the ids of the images that something needs.
        images_deleted: the names of the images that were deleted, in order.
    """

    TRAPS = frozenset(ImageTrap) - {ImageTrap.UNKNOWN_STATUS}

    def __init__(self, name: str) -> None:
        self.name = name
        self.image_limits = ImageLimits(
            delivery=Delivery.UPLOAD,
            copies=True,
            max_in_flight=6,
            stagger=timedelta(0),
            start_within=timedelta(minutes=10),
            finish_within=timedelta(hours=1),
        )
        self.image_traps: set[ImageTrap] = set()
        self.used_images: set[str] = set()
        self.images_deleted: list[str] = []
        self._images: dict[str, ImageAtProvider] = {}
        self._image_numbers = itertools.count(1)

    # ------------------------------------------------------------------ the driver's calls

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        with self._call(Call.READ, "list images"):
            found = sorted_images(
                each
                for each in self._images.values()
                if each.region == region and each.name.startswith(prefix)
            )
            for image in found:
                self._step(image)
            return ImageListing(images=found)

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        with self._call(Call.READ, f"read the image {ref.name}"):
            found = self._images.get(ref.image_id)
            if found is not None:
                self._step(found)
            return found

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        found = image_named(self.name, await self.images(spec.region, spec.manifest.name), spec)
        if found is not None:
            return found
        attempted = f"publish {spec.manifest.name} to {spec.region}"
        with self._call(Call.CREATE, attempted):
            if isinstance(disk, DiskFile):
                disk.progress(spec.manifest.disk_bytes)
            return self._begin(spec)

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        found = image_named(self.name, await self.images(spec.region, spec.manifest.name), spec)
        if found is not None:
            return found
        attempted = f"copy {spec.manifest.name} to {spec.region}"
        with self._call(Call.CREATE, attempted):
            original = self._images.get(source.image_id)
            if original is None or original.status is not ImageStatus.AVAILABLE:
                raise ProviderError(self.name, attempted, f"{source.image_id} is not available")
            adopted_image(original, spec)
            return self._begin(spec)

    async def delete_image(self, ref: ImageRef) -> bool:
        with self._call(Call.DESTROY, f"delete the image {ref.name}") as fault:
            found = self._images.get(ref.image_id)
            if found is None:
                return False
            require_ours(found, ref)
            if ref.image_id in self.used_images:
                words = "409 a machine uses it"
                raise ImageInUseError(self.name, f"delete the image {ref.name}", words)
            if fault is not ProviderFault.ACCEPTED_NOT_DONE:
                self.images_deleted.append(found.name)
                del self._images[ref.image_id]
            return True

    # ------------------------------------------------------------------ what a test does

    def add_foreign_image(self, name: str, region: str) -> str:
        """Make an image as somebody else does, without our tags, and return its id."""
        image = ImageAtProvider(
            name=name,
            provider=self.name,
            region=region,
            image_id=self._new_image_id(),
            status=ImageStatus.AVAILABLE,
            visibility=Visibility.PRIVATE,
            created_at=datetime.now(UTC),
        )
        self._images[image.image_id] = image
        return image.image_id

    def put_image(self, image: ImageAtProvider) -> None:
        """Let the account have an image."""
        self._images[image.image_id] = image

    def lose_image(self, image_id: str) -> None:
        """Delete an image as somebody else does."""
        del self._images[image_id]

    def images_named(self, name: str) -> int:
        """Return how many images have a name, in all regions, without failed ones."""
        return sum(
            each.name == name and each.status is not ImageStatus.FAILED
            for each in self._images.values()
        )

    def use_image(self, image_id: str) -> None:
        """Let something need an image."""
        self.used_images.add(image_id)

    def release_image(self, image_id: str) -> None:
        """Let nothing need an image any more."""
        self.used_images.discard(image_id)

    def change_image(self, image_id: str, **fields: object) -> None:
        """Change fields of an image."""
        self._images[image_id] = self._images[image_id].model_copy(update=fields)

    # ------------------------------------------------------------------ its state

    def _call(self, call: Call, attempted: str) -> AbstractContextManager[ProviderFault | None]:
        """Record a call, and fail it with the fault that is injected into it, if any."""
        raise NotImplementedError

    def _begin(self, spec: ImageSpec) -> ImageAtProvider:
        image = ImageAtProvider(
            name=spec.manifest.name,
            provider=self.name,
            region=spec.region,
            image_id=self._new_image_id(),
            status=ImageStatus.WAITING,
            architecture=spec.manifest.architecture,
            visibility=self._visibility(),
            owner=spec.owner,
            identity=spec.manifest.identity,
            created_at=datetime.now(UTC),
        )
        self._images[image.image_id] = image
        return image

    def _visibility(self) -> Visibility:
        if ImageTrap.PUBLIC in self.image_traps:
            return Visibility.PUBLIC
        if ImageTrap.UNREADABLE_VISIBILITY in self.image_traps:
            return Visibility.UNKNOWN
        return Visibility.PRIVATE

    def _step(self, image: ImageAtProvider) -> None:
        status, words = self._next(image.status)
        self.change_image(image.image_id, status=status, words=words or image.words)

    def _next(self, status: ImageStatus) -> tuple[ImageStatus, str]:
        if status is ImageStatus.WAITING:
            if ImageTrap.NEVER_STARTS in self.image_traps:
                return status, ""
            if ImageTrap.REAPED in self.image_traps:
                return ImageStatus.FAILED, "it did not start in time"
            return ImageStatus.IMPORTING, ""
        if status is ImageStatus.IMPORTING:
            if ImageTrap.FAILS in self.image_traps:
                return ImageStatus.FAILED, "the disk cannot be read"
            return ImageStatus.AVAILABLE, ""
        return status, ""

    def _new_image_id(self) -> str:
        return f"{self.name}-image-{next(self._image_numbers)}"
