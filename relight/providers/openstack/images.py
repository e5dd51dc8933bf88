"""Base images of an OpenStack cloud: glance's API, in each region its own.

An image is created first, and its disk is sent after that. Its id is ours: it is made of what the
image is, so that a second creation of the same image is refused. Glance keeps the ids of deleted
images, so there is a series of ids.
"""

import json
import math
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.api import Response
from relight.providers.disk_stream import DiskStream
from relight.providers.driver import (
    ProviderError,
    ProviderInvalidError,
)
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    image_named,
    no_copies,
    require_ours,
    sorted_images,
    the_file,
    whole_answer,
)
from relight.providers.openstack.api import OpenStackApi, Service
from relight.providers.openstack.errors import IdTakenError
from relight.providers.pages import Page, read_pages
from relight.providers.tags import IDENTITY, OWNER, image_tags_of

GIB: Final = 1024**3
MAX_IDS: Final = 100
"""So many images of one build may have been deleted in a region."""

LIMITS: Final = ImageLimits(
    delivery=Delivery.UPLOAD,
    copies=False,
    max_in_flight=2,
    stagger=timedelta(seconds=1),
    start_within=timedelta(minutes=10),
    finish_within=timedelta(hours=2),
)
"""One worker sends the disk to each region: more at once are no faster."""

_STATUSES: Final[Mapping[str, ImageStatus]] = {
    "queued": ImageStatus.WAITING,
    "saving": ImageStatus.IMPORTING,
    "uploading": ImageStatus.IMPORTING,
    "importing": ImageStatus.IMPORTING,
    "active": ImageStatus.AVAILABLE,
    "pending_delete": ImageStatus.DELETING,
    "killed": ImageStatus.FAILED,
    "deactivated": ImageStatus.FAILED,
}
"""A status that is not here says nothing: the image may still become usable."""

DELETED: Final = "deleted"
DISK_BYTES: Final = "relight-disk-bytes"
"""The property with the size of the disk that is sent: some clouds keep what came of it."""

_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_DEBIAN: Final = {theirs: ours for ours, theirs in _ARCHITECTURES.items()}


class _Image(BaseModel):
    """An image, with those of its properties that we write."""

    id: str
    name: str | None = None
    status: str
    visibility: str | None = None
    architecture: str | None = None
    created_at: AwareDatetime | None = None
    owner_tag: str | None = Field(default=None, alias=OWNER)
    identity: str | None = Field(default=None, alias=IDENTITY)
    size: int | None = None
    disk_bytes: str | None = Field(default=None, alias=DISK_BYTES)

    @property
    def is_cut(self) -> bool:
        """Whether less than its disk arrived: who sent it ended early."""
        return self.disk_bytes is not None and str(self.size) != self.disk_bytes


class _Images(BaseModel):
    items: list[JsonValue] = Field(alias="images")
    next: str | None = None


_IMAGE, _IMAGES = TypeAdapter(_Image), TypeAdapter(_Images)
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class OpenStackImages:
    """The part of the driver that is about base images."""

    def __init__(self, provider: str, api: OpenStackApi) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            api: of the cloud.
        """
        self.image_limits = LIMITS
        self._provider = provider
        self._api = api

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the images of the project; one that is not understood makes it incomplete."""
        attempted = f"list images in {region}"
        # Without it, those that the cloud offers to all its projects are there too.
        query = {"owner": await self._api.project(), "limit": "500"}

        async def read(marker: str | None) -> Page[JsonValue]:
            params = query if marker is None else {**query, "marker": marker}
            response = await self._api.existing(
                Service.IMAGE, region, attempted, "GET", "/images", params=params
            )
            page = response.read(_IMAGES)
            following = parse_qs(urlsplit(page.next or "").query).get("marker")
            return Page(page.items, following[0] if following else None)

        found: list[ImageAtProvider] = []
        is_complete = True
        for entry in (await read_pages(self._provider, attempted, read)).items:
            try:
                image = _IMAGE.validate_python(entry)
            except ValidationError:
                is_complete = False
            else:
                if image.status != DELETED:
                    found.append(self._at_provider(region, image, entry))
        named = (each for each in found if each.name.startswith(prefix))
        return ImageListing(images=sorted_images(named), complete=is_complete)

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image; None if the region has none with its id."""
        return await self._find_image(ref.region, f"find the image {ref.name}", ref.image_id)

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Adopt the image, or create it; send the disk unless that was done.

        It returns once the disk was sent. An image whose disk is being sent is returned as it is.
        """
        attempted, disk = spec.attempted, the_file(self._provider, spec, disk)
        try:
            body = DiskStream(disk)
        except OSError as error:
            words = f"{disk.path.name} cannot be read: {error.strerror}"
            raise ProviderInvalidError(self._provider, attempted, words) from error
        listing = await self.images(spec.region, spec.manifest.name)
        found = image_named(self._provider, listing, spec)
        if found is None:
            found = await self._create_image(attempted, spec, body)
        if found.status is not ImageStatus.WAITING:
            return found
        await self._send_disk(attempted, found, body)
        return await self._find_image(spec.region, attempted, found.image_id) or found

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Refuse: each region takes the disk itself."""
        raise no_copies(self._provider, spec, source)

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request the deletion of an image, in whatever state it is."""
        attempted = f"delete the image {ref.name}"
        found = await self._find_image(ref.region, attempted, ref.image_id)
        if found is None:
            return False
        require_ours(found, ref)
        response = await self._api.request(
            Service.IMAGE, ref.region, attempted, "DELETE", _path(ref.image_id)
        )
        if response is not None and response.body:
            raise response.unreadable("glance answers a deletion with nothing")
        return response is not None

    async def _create_image(
        self, attempted: str, spec: ImageSpec, body: DiskStream
    ) -> ImageAtProvider:
        """Create an image without its disk."""
        manifest = spec.manifest
        image: dict[str, JsonValue] = {
            "name": manifest.name,
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "private",
            "min_disk": math.ceil(manifest.virtual_bytes / GIB),
            "architecture": _ARCHITECTURES.get(manifest.architecture, manifest.architecture),
            **image_tags_of(spec),
            DISK_BYTES: body.headers["Content-Length"],
        }
        project = await self._api.project()
        for number in range(MAX_IDS):
            image_id = _id_of(project, spec, number)
            try:
                response = await self._api.existing(
                    Service.IMAGE,
                    spec.region,
                    attempted,
                    "POST",
                    "/images",
                    json={"id": image_id, **image},
                )
            except IdTakenError:
                found = await self._find_image(spec.region, attempted, image_id)
                if found is not None and found.status is not ImageStatus.FAILED:
                    raise  # Another run has created it after we looked.
                continue
            if (created := self._read_image(spec.region, response, image_id)) is None:
                raise response.unreadable("a new image is deleted")
            return created
        raise ProviderError(
            self._provider, attempted, f"{MAX_IDS} images of this build were deleted there"
        )

    async def _send_disk(self, attempted: str, image: ImageAtProvider, body: DiskStream) -> None:
        response = await self._api.existing(
            Service.IMAGE,
            image.region,
            attempted,
            "PUT",
            f"{_path(image.image_id)}/file",
            content=body,
            headers=body.headers,
            timeout=self.image_limits.finish_within,
        )
        if response.body:
            raise response.unreadable("glance answers a disk with nothing")

    async def _find_image(self, region: str, attempted: str, id: str) -> ImageAtProvider | None:
        response = await self._api.request(Service.IMAGE, region, attempted, "GET", _path(id))
        return None if response is None else self._read_image(region, response, id)

    def _read_image(self, region: str, response: Response, id: str) -> ImageAtProvider | None:
        """Return the image that a response is about; None if it is deleted."""
        image = response.read(_IMAGE)
        if image.id != id:
            raise response.unreadable(f"it is about {image.id}, not {id}")
        if image.status == DELETED:
            return None
        return self._at_provider(region, image, response.read(_JSON))

    def _at_provider(self, region: str, image: _Image, entry: JsonValue) -> ImageAtProvider:
        status = _STATUSES.get(image.status, ImageStatus.IMPORTING)
        if status is ImageStatus.AVAILABLE and image.is_cut:
            status = ImageStatus.FAILED
        return ImageAtProvider(
            name=image.name or image.id,
            provider=self._provider,
            region=region,
            image_id=image.id,
            status=status,
            architecture=_DEBIAN.get(image.architecture or "", image.architecture),
            visibility=_visibility(image.visibility),
            owner=image.owner_tag,
            identity=image.identity,
            created_at=image.created_at,
            words=whole_answer(entry) if status is ImageStatus.FAILED else "",
        )


def _visibility(theirs: str | None) -> Visibility:
    """Return who can use an image. One that is shared can be used by other projects too."""
    if theirs is None:
        return Visibility.UNKNOWN
    return Visibility.PRIVATE if theirs == "private" else Visibility.PUBLIC


def _id_of(project: str, spec: ImageSpec, number: int) -> str:
    manifest = spec.manifest
    parts = [project, spec.owner, manifest.name, manifest.identity, number]
    return str(uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(parts)))


def _path(id: str) -> str:
    return f"/images/{quote(id, safe='')}"
