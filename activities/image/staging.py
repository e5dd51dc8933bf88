"""Where disks lie while a provider imports them, as the publication of images uses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from relight.domain.fault.error import DomainError
from relight.domain.image import ImageManifest
from relight.providers.image_driver import StagedDisk


class StagingError(DomainError):
    """The object storage cannot be used, or gave no answer."""

    kind = "image-staging"


class Staging(Protocol):
    """Object storage for one provider. Nothing in it is public, and each object expires.

    A publication has one object, whose key names the fleet's owner and the image. It lives from
    `stage` to `remove`, however many workers are killed meanwhile. Publications at one provider
    never overlap, so what else lies there was left by lost ones: `sweep` removes it.

    Each call may be repeated. Each raises a `DomainError` if the storage refuses it.
    """

    async def stage(
        self, manifest: ImageManifest, path: Path, progress: Callable[[int], None]
    ) -> None:
        """Upload a disk, unless its object is there and whole.

        Args:
            manifest: of the image.
            path: of the disk.
            progress: called with the bytes sent so far.
        """

    async def share(self, manifest: ImageManifest) -> StagedDisk:
        """Return the object, with a new URL that outlasts one import. It uploads nothing.

        Raises:
            StagingError: there is no such object.
        """

    async def remove(self, manifest: ImageManifest) -> bool:
        """Remove the object; first of all nobody can read it any more. Absent is success.

        Returns:
            Whether it was there.
        """

    async def sweep(self, keep: ImageManifest) -> int:
        """Remove the objects and unfinished uploads of all other images; return how many.

        Args:
            keep: the image that is being published.
        """
