"""Base images at Linode: one image, uploaded once, with a copy in each region that asks for it.

Only regions with object storage take a copy. A request for copies names **all** regions of the
image: those that it leaves out lose theirs. So each request begins with a look, and those of one
worker come one after another; the publication of an image is alone at a provider.

The URL of an upload is told once. An image that still waits for its upload is therefore of no use
to another worker: it is deleted, and the upload begins again. Linode removes what it could not
read, without a word: then there is no image.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel, JsonValue, TypeAdapter

from relight.domain.image.image import ImageAtProvider, ImageListing, ImageRef, ImageStatus
from relight.providers.api import ProviderApi, Response
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    adopted_image,
    image_named,
    require_ours,
    sorted_images,
    the_file,
)
from relight.providers.linode.answers import REGION, LinodeImage, image_at
from relight.providers.linode.disk import pack, packed_file, send
from relight.providers.linode.listing import read_listing
from relight.providers.rate import Call
from relight.providers.tags import as_texts, image_tags_of

MAX_TAG_CHARACTERS = 50
"""Longer tags are refused."""

LIMITS = ImageLimits(
    delivery=Delivery.UPLOAD,
    copies=True,
    max_in_flight=6,
    stagger=timedelta(seconds=10),
    # The driver sends the disk: nothing waits for a start.
    start_within=timedelta(hours=2),
    finish_within=timedelta(hours=2),
)

_ID = re.compile(r"private/[0-9]{1,18}")


class _Upload(BaseModel):
    """The answer to the request for an upload."""

    image: JsonValue
    upload_to: str


_UPLOAD = TypeAdapter(_Upload)
_IMAGE = TypeAdapter(LinodeImage)
_OBJECT: TypeAdapter[dict[str, JsonValue]] = TypeAdapter(dict[str, JsonValue])

_Entry = tuple[LinodeImage, JsonValue]
"""An image, and all that Linode says of it."""


class LinodeImages:
    """The images of one account."""

    name = "linode"
    image_limits = LIMITS

    def __init__(self, api: ProviderApi) -> None:
        """Request nothing yet.

        Args:
            api: of the account.
        """
        self._api = api
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._uploaded: set[str] = set()

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the images of the account that are in a region, or are ordered for it."""
        entries, complete = await self._entries("list images", prefix)
        found = [image_at(image, region, self.name, answer) for image, answer in entries]
        return ImageListing(
            images=sorted_images(each for each in found if each is not None), complete=complete
        )

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image as it is in the region of the reference."""
        entry = await self._entry(f"read the image {ref.name}", ref.image_id)
        return None if entry is None else image_at(entry[0], ref.region, self.name, entry[1])

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Return the image in the region; upload it if the account has none of this name.

        One that other regions have is copied.
        """
        name, disk = spec.manifest.name, the_file(self.name, spec, disk)
        if spec.manifest.architecture != "amd64":
            words = f"Linode has no machines of {spec.manifest.architecture}"
            raise ProviderInvalidError(self.name, spec.attempted, words)
        async with self._locks[name]:
            found = await self._named(spec)
            if found is None:
                return await self._upload(spec, disk)
            image, answer = found
            if image.status == "pending_upload" and image.id not in self._uploaded:
                await self._api.request(spec.attempted, "DELETE", _path(image.id))
                return await self._upload(spec, disk)
            return await self._copied(spec, image, answer)

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Return the image in the region; request a copy if it is not there."""
        async with self._locks[spec.manifest.name]:
            entry = await self._entry(spec.attempted, source.image_id)
            if entry is None:
                words = f"there is no image {source.image_id}"
                raise ProviderError(self.name, spec.attempted, words)
            image, answer = entry
            whole = image_at(image, None, self.name, answer)
            if whole is not None:
                adopted_image(whole, spec)
            return await self._copied(spec, image, answer)

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request that the region loses its copy; without any, the image is deleted."""
        attempted = f"delete the image {ref.name}"
        async with self._locks[ref.name]:
            entry = await self._entry(attempted, ref.image_id)
            found = entry and image_at(entry[0], ref.region, self.name, entry[1])
            if entry is None or found is None:
                return False
            require_ours(found, ref)
            left = [each for each in entry[0].kept_regions if each != ref.region]
            if found.status is ImageStatus.DELETING:
                return True
            if left:
                await self._set_regions(attempted, ref.image_id, left, Call.DESTROY)
                return True
            deleted = await self._api.request(attempted, "DELETE", _path(ref.image_id))
            if deleted is not None:
                deleted.read(_OBJECT)
            return deleted is not None

    # ------------------------------------------------------------------ one step each

    async def _named(self, spec: ImageSpec) -> _Entry | None:
        """Return the account's image of the spec's name, in whichever regions it is."""
        name = spec.manifest.name
        entries, complete = await self._entries(spec.attempted, name)
        by_id = {image.id: (image, answer) for image, answer in entries if image.label == name}
        seen = [image_at(image, None, self.name, answer) for image, answer in by_id.values()]
        listing = ImageListing(
            images=tuple(each for each in seen if each is not None), complete=complete
        )
        found = image_named(self.name, listing, spec)
        return None if found is None else by_id[found.image_id]

    async def _upload(self, spec: ImageSpec, disk: DiskFile) -> ImageAtProvider:
        attempted = spec.attempted
        tags: list[JsonValue] = [
            *as_texts(image_tags_of(spec) | {REGION: spec.region}, MAX_TAG_CHARACTERS)
        ]
        body: dict[str, JsonValue] = {
            "label": spec.manifest.name,
            "region": spec.region,
            "description": f"{spec.manifest.distribution}, contract "
            f"{spec.manifest.contract_sha256[:12]}",
            "cloud_init": True,
            "tags": tags,
        }
        with packed_file(disk.path) as packed:
            disk.progress(0)
            await pack(self.name, attempted, disk.path, packed)
            response = await self._api.existing(attempted, "POST", "/images/upload", json=body)
            upload = response.read(_UPLOAD)
            image = _read(response, upload.image)
            found = image_at(image, spec.region, self.name, upload.image)
            if found is None or found.name != spec.manifest.name:
                raise response.unreadable(f"it is about {image.label} in other regions")
            await send(self.name, attempted, upload.upload_to, packed, disk.progress)
        self._uploaded.add(image.id)
        return found

    async def _copied(
        self, spec: ImageSpec, image: LinodeImage, answer: JsonValue
    ) -> ImageAtProvider:
        """Return the image in the spec's region; request a copy if it is not on its way there."""
        attempted = spec.attempted
        found = image_at(image, spec.region, self.name, answer)
        if found is not None and found.status is ImageStatus.DELETING:
            raise ProviderUnavailableError(self.name, attempted, "its copy there is being deleted")
        if found is not None and found.status is not ImageStatus.FAILED:
            return found
        if image.status != "available":
            words = f"{image.id} is {image.status}, and can be copied once it is available"
            raise ProviderUnavailableError(self.name, attempted, words)
        regions = [*image.kept_regions, spec.region]
        response = await self._set_regions(attempted, image.id, regions, Call.CREATE)
        changed = response.read(_IMAGE)
        copy = image_at(changed, spec.region, self.name, response.read(_OBJECT))
        lost = sorted(set(regions) - set(changed.kept_regions))
        if copy is None or lost:
            raise ProviderUnavailableError(
                self.name, attempted, f"after the request {', '.join(lost)} has no copy"
            )
        return copy

    async def _set_regions(
        self, attempted: str, image_id: str, regions: Sequence[str], call: Call
    ) -> Response:
        body = {"regions": list(dict.fromkeys(regions))}
        return await self._api.existing(
            attempted, "POST", f"{_path(image_id)}/regions", call=call, json=body
        )

    async def _entry(self, attempted: str, image_id: str) -> _Entry | None:
        if not _ID.fullmatch(image_id):
            return None  # It is none of the account's ids.
        response = await self._api.request(attempted, "GET", _path(image_id))
        if response is None:
            return None
        image = response.read(_IMAGE)
        if image.id != image_id:
            raise response.unreadable(f"it is about {image.id}, not {image_id}")
        return image, response.read(_OBJECT)

    async def _entries(self, attempted: str, prefix: str) -> tuple[Sequence[_Entry], bool]:
        """Return the account's own images, and whether nothing can be missing."""
        pages = await read_listing(self._api, self.name, attempted, "/images", {})
        entries: list[_Entry] = []
        complete = pages.complete
        for response, entry in pages.items:
            try:
                image = _read(response, entry)
            except ProviderAnswerError:
                complete = False
                continue
            if _ID.fullmatch(image.id) and image.label.startswith(prefix):
                entries.append((image, entry))
        return entries, complete


def _read(response: Response, entry: JsonValue) -> LinodeImage:
    return response.understood(lambda: _IMAGE.validate_python(entry))


def _path(image_id: str) -> str:
    return f"/images/{image_id}"
