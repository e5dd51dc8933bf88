"""Base images of Oracle Cloud Infrastructure.

Each region imports the disk itself, from one object of our object storage, in whatever region that
is. Names need not be unique: the retry token of a creation keeps two of them from making two
images. An import that failed leaves an image that is DELETED; its work request says why.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, TypeAdapter
from pydantic.alias_generators import to_camel

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.api import Response
from relight.providers.driver import ProviderError
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
    the_staged,
    whole_answer,
)
from relight.providers.locations import require_vendors_name
from relight.providers.oci.answers import AbsentOrForbiddenError, Text, TokenSpentError
from relight.providers.oci.api import Items, OciApi
from relight.providers.oci.settings import OciSettings, Shape
from relight.providers.rate import Call
from relight.providers.tags import ARCHITECTURE, IDENTITY, OWNER, image_tags_of

IMAGES: Final = "/images"
WORK_REQUESTS: Final = "/workRequests"
MAX_TOKENS: Final = 5
"""How many images of one build may end in a region within a day before no other one is made."""

LIMITS: Final = ImageLimits(
    delivery=Delivery.BUCKET,
    copies=False,
    max_in_flight=10,
    stagger=timedelta(seconds=5),
    start_within=timedelta(minutes=30),
    finish_within=timedelta(hours=2),
)

DELETED: Final = "DELETED"
_STATUSES: Final[Mapping[str, ImageStatus]] = {
    "PROVISIONING": ImageStatus.WAITING,
    "IMPORTING": ImageStatus.IMPORTING,
    "AVAILABLE": ImageStatus.AVAILABLE,
    # Machines are made of it all the same.
    "EXPORTING": ImageStatus.AVAILABLE,
    "DISABLED": ImageStatus.FAILED,
    DELETED: ImageStatus.FAILED,
}
"""A state that is not here says nothing: the image may still become usable."""

_SYSTEMS: Final = {"debian": "Debian", "ubuntu": "Canonical Ubuntu"}


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Image(_Answer):
    """An image; those that the vendor offers to all have no compartment."""

    id: Text
    compartment_id: str | None = None
    display_name: Text
    lifecycle_state: str
    freeform_tags: Mapping[str, str] = {}
    listing_type: str | None = None
    time_created: AwareDatetime


class _Compatible(_Answer):
    shape: Text


class _WorkRequest(_Answer):
    id: Text
    status: str


_IMAGE, _COMPATIBLE, _WORK_REQUEST = (
    TypeAdapter(_Image),
    TypeAdapter(list[_Compatible]),
    TypeAdapter(_WorkRequest),
)
_NAMESPACE, _JSON = TypeAdapter(Text), TypeAdapter[JsonValue](JsonValue)


class OciBaseImages:
    """The part of the driver that is about base images."""

    def __init__(self, provider: str, api: OciApi, settings: OciSettings) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            api: of the account.
            settings: likewise.
        """
        self.image_limits = LIMITS
        self._provider = provider
        self._api = api
        self._settings = settings

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the compartment's images; one that is not understood makes it incomplete."""
        items = await self._listed(f"list images in {region}", region)
        found = [self._at_provider(region, each) for each in items.found]
        return ImageListing(
            images=sorted_images(each for each in found if each.name.startswith(prefix)),
            complete=items.unread is None,
        )

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image; one whose import failed as long as its work request is known.

        An image boots on the shapes that are on its list. Once it is available, the location's are
        added to it.
        """
        attempted = f"find the image {ref.name}"
        found = await self._read(attempted, ref)
        if found is not None and found.status is ImageStatus.AVAILABLE and found.owner is not None:
            await self._fit_to_shapes(attempted, ref)
        return found

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Adopt the image, or import its disk from object storage."""
        name, attempted = spec.manifest.name, spec.attempted
        self._settings.location(self._provider, spec.region)
        disk = the_staged(self._provider, spec, disk)
        found = image_named(self._provider, await self.images(spec.region, name), spec)
        if found is not None:
            return found
        distribution, _, version = spec.manifest.distribution.partition("-")
        body = {
            "compartmentId": self._settings.compartment,
            "displayName": name,
            "freeformTags": image_tags_of(spec),
            "launchMode": "PARAVIRTUALIZED",
            "imageSourceDetails": {
                "sourceType": "objectStorageUri",
                "sourceUri": await self._address(attempted, spec.region, disk),
                "sourceImageType": "QCOW2",
                "operatingSystem": _SYSTEMS.get(distribution, "Custom"),
                "operatingSystemVersion": version,
            },
        }
        token = _token(spec, body)
        for _ in range(MAX_TOKENS):
            try:
                response = await self._call(
                    spec.region,
                    attempted,
                    "POST",
                    IMAGES,
                    headers={"opc-retry-token": token},
                    json=body,
                )
            except TokenSpentError:
                pass  # What this token has made is gone, as the listing says.
            else:
                image = response.read(_IMAGE)
                if image.display_name != name:
                    raise response.unreadable(f"it is about {image.display_name}")
                if image.lifecycle_state != DELETED:
                    return self._at_provider(spec.region, image)
            token = hashlib.sha256(token.encode()).hexdigest()
        raise ProviderError(
            self._provider, attempted, f"{MAX_TOKENS} images of this build have ended within a day"
        )

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Refuse: each region imports the disk."""
        raise no_copies(self._provider, spec, source)

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request the deletion of an image. Machines that were made of it do not need it."""
        attempted = f"delete the image {ref.name}"
        found = await self._read(attempted, ref)
        if found is None:
            return False
        require_ours(found, ref)
        try:
            response = await self._call(ref.region, attempted, "DELETE", _path(ref.image_id))
        except AbsentOrForbiddenError:
            # Somebody else was faster; or we may read images, and not delete them.
            if any(each.id == ref.image_id for each in await self._whole(attempted, ref.region)):
                raise
            return False
        if response.body:
            raise response.unreadable("it is not empty")
        return True

    async def _call(
        self, region: str, attempted: str, method: str, path: str, **options: Any
    ) -> Response:
        require_vendors_name(self._provider, attempted, region)
        return await self._api.call(region, attempted, method, path, **options)

    async def _read(self, attempted: str, ref: ImageRef) -> ImageAtProvider | None:
        try:
            response = await self._call(ref.region, attempted, "GET", _path(ref.image_id))
        except AbsentOrForbiddenError:
            if any(each.id == ref.image_id for each in await self._whole(attempted, ref.region)):
                raise
            return None
        image = response.read(_IMAGE)
        if image.id != ref.image_id:
            raise response.unreadable(f"it is about {image.id}, not {ref.image_id}")
        found = self._at_provider(ref.region, image)
        if found.status is ImageStatus.FAILED:
            why = await self._why_failed(attempted, ref)
            if image.lifecycle_state == DELETED and not why:
                return None  # It was deleted by us.
            words = whole_answer([response.read(_JSON), *why])
            return found.model_copy(update={"words": words})
        return found

    async def _address(self, attempted: str, region: str, disk: StagedDisk) -> str:
        """Return the address of a staged disk. Importing needs our rights: it is not signed."""
        staging = self._settings.staging
        place = region if staging is None else staging.region
        url = self._settings.storage_url.replace("{region}", place)
        response = await self._api.elsewhere(attempted, "GET", f"{url}/n")
        namespace = response.read(_NAMESPACE)
        return f"{url}/n/{namespace}/b/{disk.bucket}/o/{quote(disk.key, safe='')}"

    async def _why_failed(self, attempted: str, ref: ImageRef) -> Sequence[JsonValue]:
        """Return what the failed work requests of an image say."""
        items = await self._api.items(
            ref.region, attempted, WORK_REQUESTS, _WORK_REQUEST, resourceId=ref.image_id
        )
        failed = [each.id for each in items.found if each.status == "FAILED"]
        answers = await asyncio.gather(
            *(
                self._call(
                    ref.region, attempted, "GET", f"{WORK_REQUESTS}/{quote(each, safe='')}/errors"
                )
                for each in failed
            )
        )
        return [each.read(_JSON) for each in answers]

    async def _fit_to_shapes(self, attempted: str, ref: ImageRef) -> None:
        """Add the location's shapes to those that an image boots on."""
        location = self._settings.locations.get(ref.region)
        if location is None:
            return  # No machine is made there any more.
        shapes = dict.fromkeys(Shape.read(each).name for each in location.shapes)
        path = f"{_path(ref.image_id)}/shapes"
        response = await self._call(ref.region, attempted, "GET", path)
        known = {each.shape for each in response.read(_COMPATIBLE)}
        for shape in [each for each in shapes if each not in known]:
            entry = f"{path}/{quote(shape, safe='')}"
            await self._call(ref.region, attempted, "PUT", entry, call=Call.READ, json={})

    async def _whole(self, attempted: str, region: str) -> Sequence[_Image]:
        return (await self._listed(attempted, region)).whole()

    async def _listed(self, attempted: str, region: str) -> Items[_Image]:
        """Return the compartment's own images that are not deleted."""
        require_vendors_name(self._provider, attempted, region)
        items = await self._api.items(region, attempted, IMAGES, _IMAGE)
        own = self._settings.compartment
        found = [
            each
            for each in items.found
            if each.compartment_id == own and each.lifecycle_state != DELETED
        ]
        return Items(found, items.unread)

    def _at_provider(self, region: str, image: _Image) -> ImageAtProvider:
        tags = image.freeform_tags
        status = _STATUSES.get(image.lifecycle_state, ImageStatus.IMPORTING)
        is_failed = status is ImageStatus.FAILED
        return ImageAtProvider(
            name=image.display_name,
            provider=self._provider,
            region=region,
            image_id=image.id,
            status=status,
            architecture=tags.get(ARCHITECTURE),
            # Only the applications of a market are offered to others.
            visibility=Visibility.PUBLIC if image.listing_type else Visibility.PRIVATE,
            owner=tags.get(OWNER),
            identity=tags.get(IDENTITY),
            created_at=image.time_created,
            words=f"its state is {image.lifecycle_state}" if is_failed else "",
        )


def _token(spec: ImageSpec, body: Mapping[str, Any]) -> str:
    """Return the same token for the same request of a fleet: 64 characters."""
    return hashlib.sha256(json.dumps([spec.owner, spec.region, body]).encode()).hexdigest()


def _path(image_id: str) -> str:
    return f"{IMAGES}/{quote(image_id, safe='')}"
