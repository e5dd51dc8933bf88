"""Base images at Gcore: each region fetches the disk from a URL, by a task.

Names are not unique, and an import has no key that makes it safe to repeat: as with machines, the
driver searches images and tasks before it orders. A task that Gcore has not begun within ten
minutes is given up by Gcore; few run at once, so few may be ordered. Who can use an image can only
be read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.driver import (
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.gcore.answers import (
    DEBIAN_ARCHITECTURE,
    GcoreConflictError,
    GcoreNotFoundError,
    Image,
    Task,
    failure,
    not_done,
)
from relight.providers.gcore.api import GcoreApi
from relight.providers.gcore.creation import GcoreSettings, Place, is_id
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageInUseError,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    image_named,
    no_copies,
    require_ours,
    sorted_images,
    the_staged,
    whole_answer,
)
from relight.providers.tags import ARCHITECTURE, IDENTITY, OWNER, image_tags_of

LIMITS = ImageLimits(
    delivery=Delivery.URL,
    copies=False,
    max_in_flight=6,
    stagger=timedelta(seconds=20),
    # Gcore gives up what it has not begun by then.
    start_within=timedelta(minutes=10),
    finish_within=timedelta(minutes=90),
)

REMEMBERED = timedelta(hours=24)
"""The age of the oldest tasks that are searched for an import."""

RECENT = timedelta(minutes=10)
"""For how long a listing may lack a new image."""

_TASK = "task:"
"""What the id of an order begins with: an image has another id than its task."""

_STATUSES = {
    "active": ImageStatus.AVAILABLE,
    "queued": ImageStatus.IMPORTING,
    "saving": ImageStatus.IMPORTING,
    "uploading": ImageStatus.IMPORTING,
    "importing": ImageStatus.IMPORTING,
    "pending_delete": ImageStatus.DELETING,
    "deleted": ImageStatus.DELETING,
    "killed": ImageStatus.FAILED,
    "deactivated": ImageStatus.FAILED,
}
"""A status that is not here says nothing: the image may still become usable."""

_TASK_STATUSES = {"NEW": ImageStatus.WAITING, "ERROR": ImageStatus.FAILED}
"""Every other state is of a task that Gcore works on."""

_VISIBILITIES = {"private": Visibility.PRIVATE, "public": Visibility.PUBLIC}

_IN_USE = re.compile(r"in use|used by|depend|snapshot|volumes?\b", re.IGNORECASE)


class GcoreImages:
    """The images of one project."""

    name = "gcore"
    image_limits = LIMITS

    def __init__(self, api: GcoreApi, settings: GcoreSettings) -> None:
        """Request nothing yet.

        Args:
            api: of the project.
            settings: of the account.
        """
        self._api = api
        self._settings = settings
        self._places = {name: Place.of(location) for name, location in settings.locations.items()}

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return our images in a region, and the tasks that are to make one there.

        A task that does not name its image may make any: the listing is then incomplete.
        """
        attempted = "list images"
        number = await self._number(attempted, region)
        pages = await self._api.image_pages(attempted, number, prefix)
        found = [each for each in pages.items if each.name.startswith(prefix)]
        since = datetime.now(UTC) - REMEMBERED
        tasks = await self._api.tasks(attempted, [number], since, "download_image")
        found += await self._unlisted(attempted, number, tasks, {each.id for each in pages.items})
        ours = [
            self._image_at(region, each)
            for each in found
            if each.name.startswith(prefix) and _is_ours(each)
        ]
        orders = [
            self._order(region, each)
            for each in _without_image(tasks, found)
            if (each.name or "").startswith(prefix)
        ]
        is_named = all(task.name is not None for task in tasks if task.is_pending)
        return ImageListing(
            images=sorted_images((*ours, *orders)), complete=pages.complete and is_named
        )

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image, or the task that is to make it."""
        attempted = f"read the image {ref.name}"
        number = await self._number(attempted, ref.region)
        image_id = ref.image_id
        if image_id.startswith(_TASK):
            task = await self._task(attempted, image_id)
            if task is None or task.state != "FINISHED":
                return None if task is None else self._order(ref.region, task, ref.name)
            image_id = task.image or ""
        image = await self._existing(attempted, number, image_id)
        return None if image is None else self._image_at(ref.region, image)

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Return the image in the region, or its task; order its import if there is neither."""
        name, disk = spec.manifest.name, the_staged(self.name, spec, disk)
        self._settings.location(self.name, spec.region)
        number = self._places[spec.region].region_id
        listing = await self.images(spec.region, name)
        for each in listing.images:
            if each.name == name and each.image_id.startswith(_TASK) and each.owner is None:
                words = f"{each.image_id}, which does not name its owner, is not done"
                raise ProviderUnavailableError(self.name, spec.attempted, words)
        found = image_named(self.name, listing, spec)
        if found is not None:
            return found
        for each in listing.images:
            if (each.name, each.status, each.owner) == (name, ImageStatus.FAILED, spec.owner):
                await self.delete_image(each)
        task_id = await self._api.import_image(spec.attempted, number, _import(spec, disk))
        return ImageAtProvider(
            name=name,
            provider=self.name,
            region=spec.region,
            image_id=f"{_TASK}{task_id}",
            status=ImageStatus.WAITING,
            architecture=spec.manifest.architecture,
            owner=spec.owner,
            identity=spec.manifest.identity,
        )

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Refuse: an image is in one region alone, and each region imports its own."""
        raise no_copies(self.name, spec, source)

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request the deletion of an image, and wait a while for its task.

        Raises:
            ImageInUseError: a volume or a snapshot needs it.
            MachineConflictError: the id belongs to an image with another name, or without owner.
            ProviderUnavailableError: the task that is to make it is not done, and none can be
                stopped; or the deletion's task failed.
        """
        attempted = f"delete the image {ref.name}"
        number = await self._number(attempted, ref.region)
        image_id = ref.image_id
        if image_id.startswith(_TASK):
            task = await self._task(attempted, image_id)
            if task is not None and task.is_pending:
                raise not_done(self.name, attempted, task)
            image_id = (task and task.image) or ""
        image = await self._existing(attempted, number, image_id)
        if image is None:
            return False
        found = self._image_at(ref.region, image)
        require_ours(found, ref)
        if found.status is ImageStatus.DELETING:
            return True
        try:
            task_id = await self._api.delete_image(attempted, number, image_id)
        except GcoreConflictError as error:
            if _IN_USE.search(error.answer):
                raise ImageInUseError(self.name, attempted, error.answer) from error
            raise
        if task_id is None:
            return False
        task = await self._api.ended(attempted, task_id)
        if task.state == "ERROR":
            is_used = _IN_USE.search(task.error or "")
            kind = ImageInUseError if is_used else ProviderUnavailableError
            raise failure(self.name, attempted, task, kind)
        return True

    # ------------------------------------------------------------------ one step each

    async def _number(self, attempted: str, region: str) -> int:
        """Return the number of a region: of a location, or of the vendor's region of this name.

        A location may have been removed, and its images are still there.

        Raises:
            UnknownLocationError: there is no such region, or its location has another name now.
        """
        place = self._places.get(region)
        if place is not None:
            return place.region_id
        found = [each.id for each in await self._api.regions(attempted) if each.slug == region]
        if not found:
            words = f"Gcore has no region {region}, nor has a location this name"
            raise UnknownLocationError(self.name, attempted, words)
        for name, other in self._places.items():
            if other.region_id == found[0]:
                # Its machines count under that name, so nothing may be decided under this one.
                words = f"the location of {region} is named {name}"
                raise UnknownLocationError(self.name, attempted, words)
        return found[0]

    async def _unlisted(
        self, attempted: str, number: int, tasks: Sequence[Task], listed: set[str]
    ) -> list[Image]:
        """Return the images that tasks have made a short while ago, and no listing has yet."""
        since = datetime.now(UTC) - RECENT
        made = [
            task.image
            for task in tasks
            if task.image and task.image not in listed and (task.finished_on or since) >= since
        ]
        found = [await self._existing(attempted, number, each) for each in made]
        return [each for each in found if each is not None]

    async def _existing(self, attempted: str, number: int, image_id: str) -> Image | None:
        if not is_id(image_id):
            return None  # It is none of Gcore's ids.
        image = await self._api.image(attempted, number, image_id)
        return None if image is None or image.status == "deleted" else image

    async def _task(self, attempted: str, image_id: str) -> Task | None:
        task_id = image_id.removeprefix(_TASK)
        if not is_id(task_id):
            return None
        try:
            return await self._api.task(attempted, task_id)
        except GcoreNotFoundError:
            return None

    def _image_at(self, region: str, image: Image) -> ImageAtProvider:
        tags = {tag.key: tag.value for tag in image.tags_v2}
        status = _STATUSES.get(image.status, ImageStatus.IMPORTING)
        return ImageAtProvider(
            name=image.name,
            provider=self.name,
            region=region,
            image_id=image.id,
            status=status,
            architecture=DEBIAN_ARCHITECTURE.get(image.architecture, image.architecture),
            visibility=_VISIBILITIES.get(image.visibility or "", Visibility.UNKNOWN),
            owner=tags.get(OWNER) or None,
            identity=tags.get(IDENTITY) or None,
            created_at=image.created_at,
            words=whole_answer(image.model_dump(mode="json"))
            if status is ImageStatus.FAILED
            else "",
        )

    def _order(self, region: str, task: Task, name: str = "") -> ImageAtProvider:
        """Return the image that a task is to make."""
        data = task.data if isinstance(task.data, dict) else {}
        tags = data.get("tags")
        texts = _texts(tags if isinstance(tags, dict) else {})
        status = _TASK_STATUSES.get(task.state, ImageStatus.IMPORTING)
        return ImageAtProvider(
            name=task.name or name,
            provider=self.name,
            region=region,
            image_id=f"{_TASK}{task.id}",
            status=status,
            architecture=texts.get(ARCHITECTURE),
            owner=texts.get(OWNER) or None,
            identity=texts.get(IDENTITY) or None,
            created_at=task.created_on,
            words=whole_answer(task.model_dump(mode="json"))
            if status is ImageStatus.FAILED
            else "",
        )


def _import(spec: ImageSpec, disk: StagedDisk) -> Mapping[str, JsonValue]:
    """Return the body of an import. Volumes are independent of it: so it can be deleted."""
    manifest = spec.manifest
    distribution, _, version = manifest.distribution.partition("-")
    is_arm64 = manifest.architecture == "arm64"
    tags: dict[str, JsonValue] = {**image_tags_of(spec)}
    return {
        "name": manifest.name,
        "url": disk.url,
        "architecture": "aarch64" if is_arm64 else "x86_64",
        "hw_firmware_type": "uefi" if is_arm64 else "bios",
        "cow_format": False,
        "os_type": "linux",
        "os_distro": distribution,
        "os_version": version,
        "ssh_key": "allow",
        "tags": tags,
    }


def _is_ours(image: Image) -> bool:
    """Return whether it is one of the project, also if everybody can use it."""
    return image.visibility != "public" or any(tag.key == OWNER for tag in image.tags_v2)


def _without_image(tasks: Sequence[Task], images: Sequence[Image]) -> Iterator[Task]:
    """Yield the pending tasks whose image is not there yet."""
    makers = {each.creator_task_id for each in images}
    unfinished = {
        each.name for each in images if _STATUSES.get(each.status) is ImageStatus.IMPORTING
    }
    for task in tasks:
        if task.is_pending and task.id not in makers and task.name not in unfinished:
            yield task


def _texts(tags: Mapping[str, JsonValue]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if isinstance(value, str)}
