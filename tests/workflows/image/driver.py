"""The driver of a cloud in memory, and its object storage, as a worker has them."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity

from devkit.simulated.cloud import FakeCloud
from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageManifest,
    ImageName,
    ImageRef,
)
from relight.domain.machine import Region
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    adopted_image,
)
from tests.workflows.image.cloud import TaskCloud

LIMITS = ImageLimits(
    delivery=Delivery.URL,
    copies=False,
    max_in_flight=6,
    stagger=timedelta(seconds=20),
    start_within=timedelta(minutes=10),
    finish_within=timedelta(hours=2),
)


class TaskDriver(FakeCloud):
    """A provider whose images are those of a cloud of tasks.

    Its machines are those of a cloud in memory.
    """

    def __init__(self, cloud: TaskCloud, limits: ImageLimits = LIMITS, name: str = "gcore") -> None:
        super().__init__(name)
        self.image_limits = limits
        self.cloud = cloud

    async def regions(self) -> tuple[Region, ...]:
        return tuple(
            Region(provider=self.name, name=each, architecture="amd64")
            for each in self.cloud.regions()
        )

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        listing: ImageListing = await self.ask("images", region, prefix)
        return listing

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        found: ImageAtProvider | None = await self.ask("image", ref)
        return found

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        if isinstance(disk, DiskFile):
            await self.ask("stage", spec.manifest.name)
        image: ImageAtProvider = await self.ask("import_image", spec, spec.manifest.name)
        return adopted_image(image, spec)

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        copied: ImageAtProvider = await self.ask("copy_image", spec, source)
        return copied

    async def delete_image(self, ref: ImageRef) -> bool:
        existed: bool = await self.ask("delete_image", ref)
        return existed

    async def image_of(self, provider_id: str) -> str | None:
        return None

    async def ask(self, name: str, *args: Any) -> Any:
        now = activity.info().current_attempt_scheduled_time
        return self.cloud.call(name, now, *args)


class TaskStaging:
    """Object storage beside the cloud."""

    def __init__(self, driver: TaskDriver) -> None:
        self._driver = driver

    async def stage(
        self, manifest: ImageManifest, path: Path, progress: Callable[[int], None]
    ) -> StagedDisk:
        assert (await asyncio.to_thread(path.stat)).st_size == manifest.disk_bytes
        progress(manifest.disk_bytes)
        key = await self._driver.ask("stage", manifest.name)
        return StagedDisk("bucket", key, f"https://storage.example/{key}?signature=secret")

    async def unstage(self, name: ImageName) -> None:
        await self._driver.ask("unstage", name)

    async def sweep(self, keep: Collection[ImageName]) -> Sequence[str]:
        swept: list[str] = await self._driver.ask("sweep", [*keep])
        return swept
