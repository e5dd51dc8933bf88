"""Publications of images, and those at clouds in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from relight.domain.image.image import ImageManifest
from relight.domain.image.publication import (
    ImageInRegion,
    ImagePublication,
    PublishImageInput,
    image_workflow_id,
)
from relight.providers.image_driver import ImageLimits
from tests.support.image_disks import write_disk
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.image.cloud import TaskCloud
from tests.workflows.image.driver import LIMITS, TaskDriver, TaskStaging
from tests.workflows.installation import small_installation
from workflows.endings import result_of
from workflows.image.publish import PublishImage

NAME = "base-1-amd64"


def write_image(folder: Path, name: str = NAME) -> ImageManifest:
    """Write a small disk with its manifest, as a build does."""
    folder.mkdir(exist_ok=True)
    manifest, _ = write_disk(folder, name)
    (folder / f"{name}.json").write_text(manifest.model_dump_json())
    return manifest


@dataclass
class Publishing:
    """An installation with images.

    Attributes:
        folder: of the images.
    """

    harness: Harness
    folder: Path

    async def start(
        self, name: str = NAME, **options: Any
    ) -> WorkflowHandle[PublishImage, ImagePublication]:
        return await self.harness.client.start_workflow(
            PublishImage.run,
            PublishImageInput.model_validate(
                {"name": name, "provider": "gcore", "origin": ORIGIN, **options}
            ),
            id=image_workflow_id(name),
            task_queue=self.harness.task_queue,
        )

    async def publish(self, name: str = NAME, **options: Any) -> ImagePublication:
        """Return how a publication ends, also one that failed with its result."""
        return await result_of((await self.start(name, **options)).result(), ImagePublication)

    def recorded(self, name: str = NAME) -> dict[str, ImageInRegion]:
        return {each.region: each for each in self.harness.store.images.list(name=name)}


@dataclass
class CloudPublishing(Publishing):
    """One whose only providers of images are clouds in memory.

    Attributes:
        cloud: of the provider `gcore`.
    """

    cloud: TaskCloud

    def add(self, cloud: TaskCloud, limits: ImageLimits = LIMITS) -> TaskDriver:
        """Add a provider that imports images."""
        driver = TaskDriver(cloud, limits, cloud.name)
        self.harness.drivers[cloud.name] = driver
        self.harness.hosts.add(driver)
        return driver


@asynccontextmanager
async def publishing(
    client: Client, folder: Path, cloud: TaskCloud, limits: ImageLimits = LIMITS
) -> AsyncIterator[CloudPublishing]:
    """Run an installation with a worker, and an image in its folder."""
    images = folder / "images"
    write_image(images)
    stagings: dict[str, TaskStaging] = {}
    async with small_installation(
        client, folder, image_folder=images, stagings=stagings
    ) as harness:
        made = CloudPublishing(harness, images, cloud)
        stagings[cloud.name] = TaskStaging(made.add(cloud, limits))
        yield made
