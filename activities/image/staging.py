"""Where disks lie while a provider imports them, as the publication of images uses it."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from relight.domain.image.image import ImageManifest, ImageName
from relight.providers.image_driver import StagedDisk


class Staging(Protocol):
    """Object storage for one provider. Nothing in it is public, and each object expires.

    A publication has one object, from the first `stage` to `unstage`, however many workers are
    killed meanwhile. Publications at one provider never overlap, so what else lies there was left
    by lost ones. Each call may be repeated, and raises a `DomainError` if the storage refuses it.
    """

    async def stage(
        self, manifest: ImageManifest, path: Path, progress: Callable[[int], None]
    ) -> StagedDisk:
        """Return a disk in storage, with a new URL; upload it unless it is there already.

        Args:
            manifest: of the disk.
            path: of its file.
            progress: called with the bytes sent so far.
        """

    async def unstage(self, name: ImageName) -> None:
        """Delete an image's disk, so that its URLs are dead; absent is success."""

    async def sweep(self, keep: Collection[ImageName]) -> Sequence[str]:
        """Delete what lost publications have left; return its keys.

        Args:
            keep: images that are being published.
        """
