"""Base images of the lab: an archive or a disk is sent to one region, and copied to the other."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, JsonValue, StringConstraints, TypeAdapter

from relight.domain.error_words import error_words
from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.domain.text import visible_head
from relight.providers.api import ProviderApi, Response
from relight.providers.disk_stream import DiskStream
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import (
    MAX_ANSWER_BYTES,
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
    the_file,
)
from relight.providers.tags import IDENTITY, OWNER, image_tags_of

LIMITS = ImageLimits(
    delivery=Delivery.UPLOAD,
    copies=True,
    max_in_flight=2,
    stagger=timedelta(0),
    start_within=timedelta(minutes=10),
    finish_within=timedelta(minutes=30),
)

UPLOAD_TIMEOUT = timedelta(minutes=10)
"""The lab answers once it has unpacked what was sent."""

_Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class _LabImage(BaseModel):
    """An image as the lab's API returns it."""

    id: _Text
    name: _Text
    region: _Text
    architecture: str | None = None
    status: str
    visibility: str | None = None
    created_at: AwareDatetime | None = None
    tags: Mapping[str, str] = {}
    reason: str | None = None


_IMAGE = TypeAdapter(_LabImage)
_IMAGES: TypeAdapter[list[JsonValue]] = TypeAdapter(list[JsonValue])

_STATUSES = {
    "waiting": ImageStatus.WAITING,
    "importing": ImageStatus.IMPORTING,
    "available": ImageStatus.AVAILABLE,
    "failed": ImageStatus.FAILED,
}
"""A status that is not here says nothing: the image may still become usable."""

_VISIBILITIES = {"private": Visibility.PRIVATE, "public": Visibility.PUBLIC}


class LabImages:
    """The images of a lab."""

    name = "lab"
    image_limits = LIMITS

    def __init__(self, api: ProviderApi) -> None:
        """Request nothing yet.

        Args:
            api: of the lab.
        """
        self._api = api

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the images of a region."""
        response = await self._api.existing("list images", "GET", "/v1/images")
        found: list[ImageAtProvider] = []
        complete = True
        for entry in response.read(_IMAGES):
            try:
                found.append(self._read(response, entry))
            except ProviderAnswerError:
                complete = False
        here = (each for each in found if each.region == region and each.name.startswith(prefix))
        return ImageListing(images=sorted_images(here), complete=complete)

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image."""
        response = await self._api.request(f"read the image {ref.name}", "GET", _path(ref))
        return None if response is None else self._one(response, ref.image_id)

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Return the image in the region; send its content, unless that is there."""
        attempted, disk = spec.attempted, the_file(self.name, spec, disk)
        found = await self._named(spec)
        if found is None:
            body: JsonValue = {
                "name": spec.manifest.name,
                "region": spec.region,
                "tags": {**image_tags_of(spec)},
            }
            response = await self._api.existing(attempted, "POST", "/v1/images", json=body)
            found = self._one(response)
        if found.status is not ImageStatus.WAITING:
            return found
        return await self._send(attempted, found, disk)

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Return the image in the region; request its copy if it is not there."""
        attempted = spec.attempted
        found = await self._named(spec)
        if found is not None:
            return found
        original = await self.image(source)
        if original is None:
            raise ProviderError(self.name, attempted, f"there is no image {source.image_id}")
        adopted_image(original, spec)
        path, body = f"{_path(source)}/copies", {"region": spec.region}
        return self._one(await self._api.existing(attempted, "POST", path, json=body))

    async def delete_image(self, ref: ImageRef) -> bool:
        """Delete an image.

        Raises:
            ImageInUseError: a machine was made of it.
        """
        attempted = f"delete the image {ref.name}"
        found = await self.image(ref)
        if found is None:
            return False
        require_ours(found, ref)
        try:
            response = await self._api.request(attempted, "DELETE", _path(ref))
        except ProviderUnavailableError as error:
            if error.answer.startswith("409 "):
                raise ImageInUseError(self.name, attempted, error.answer) from error
            raise
        if response is not None:
            self._one(response, ref.image_id)
        return response is not None

    async def _named(self, spec: ImageSpec) -> ImageAtProvider | None:
        """Return the image with the spec's name; a failed one is deleted: names are unique."""
        listing = await self.images(spec.region, spec.manifest.name)
        found = image_named(self.name, listing, spec)
        for each in listing.images:
            is_failed = (each.name, each.status) == (spec.manifest.name, ImageStatus.FAILED)
            if found is None and is_failed:
                await self.delete_image(adopted_image(each, spec))
        return found

    async def _send(
        self, attempted: str, image: ImageAtProvider, disk: DiskFile
    ) -> ImageAtProvider:
        try:
            content = DiskStream(disk)
        except OSError as error:
            words = f"{disk.path.name}: {error_words(error)}"
            raise ProviderError(self.name, attempted, words) from error
        response = await self._api.existing(
            attempted,
            "PUT",
            f"{_path(image)}/content",
            timeout=UPLOAD_TIMEOUT,
            content=content,
            headers=content.headers,
        )
        return self._one(response, image.image_id)

    def _one(self, response: Response, image_id: str | None = None) -> ImageAtProvider:
        found = self._shown(response, response.read(_IMAGE))
        if image_id not in {None, found.image_id}:
            raise response.unreadable(f"it is about {found.image_id}, not {image_id}")
        return found

    def _read(self, response: Response, entry: JsonValue) -> ImageAtProvider:
        return self._shown(response, response.understood(lambda: _IMAGE.validate_python(entry)))

    def _shown(self, response: Response, found: _LabImage) -> ImageAtProvider:
        return response.understood(
            lambda: ImageAtProvider(
                name=found.name,
                provider=self.name,
                region=found.region,
                image_id=found.id,
                status=_STATUSES.get(found.status, ImageStatus.IMPORTING),
                architecture=found.architecture,
                visibility=_VISIBILITIES.get(found.visibility or "", Visibility.UNKNOWN),
                owner=found.tags.get(OWNER) or None,
                identity=found.tags.get(IDENTITY) or None,
                created_at=found.created_at,
                words=visible_head(found.reason or "", MAX_ANSWER_BYTES),
            )
        )


def _path(ref: ImageRef) -> str:
    return f"/v1/images/{quote(ref.image_id, safe='')}"
