"""Base images of Alibaba Cloud ECS.

One region imports the disk from the object storage of our account, and the others copy from it. An
image has its id from the beginning. A region has no two images of one name, also while they are
made, so a name is the lock of an import and of a copy.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, TypeAdapter

from relight.domain.image.image import (
    ImageAtProvider,
    ImageListing,
    ImageRef,
    ImageStatus,
    Visibility,
)
from relight.providers.alibaba.answers import DONE, Id, Tags
from relight.providers.alibaba.errors import (
    ImageCopyingError,
    ImagePublicError,
    NoSuchImageError,
)
from relight.providers.alibaba.region import ARCHITECTURES, MAX_PAGE, AlibabaRegion
from relight.providers.alibaba.settings import AlibabaSettings
from relight.providers.api import Response
from relight.providers.driver import ProviderAnswerError, ProviderInvalidError
from relight.providers.image_driver import (
    Delivery,
    DiskFile,
    ImageLimits,
    ImageSpec,
    StagedDisk,
    image_named,
    require_ours,
    sorted_images,
    the_staged,
    whole_answer,
)
from relight.providers.locations import require_vendors_name
from relight.providers.pages import Page, next_offset, read_numbered_pages
from relight.providers.rate import Call
from relight.providers.tags import IDENTITY, OWNER, image_tags_of

GIB: Final = 1024**3

_STATUSES: Final[Mapping[str, ImageStatus]] = {
    "Waiting": ImageStatus.WAITING,
    "Creating": ImageStatus.IMPORTING,
    "Available": ImageStatus.AVAILABLE,
    # No machine can be made of these, and they do not change.
    "UnAvailable": ImageStatus.FAILED,
    "CreateFailed": ImageStatus.FAILED,
    "Deprecated": ImageStatus.FAILED,
}
"""A status that is not here says nothing: the image may still become usable."""

ALL_STATUSES: Final = ",".join(_STATUSES)
"""Without it only images that are available are listed."""

_DEBIAN: Final = {theirs: ours for ours, theirs in ARCHITECTURES.items()}
_PLATFORMS: Final = {"debian": "Debian", "ubuntu": "Ubuntu"}


class _Image(BaseModel):
    id: Id = Field(alias="ImageId")
    name: str = Field(default="", alias="ImageName")
    status: str = Field(alias="Status")
    architecture: str | None = Field(default=None, alias="Architecture")
    is_public: bool | None = Field(default=None, alias="IsPublic")
    is_shared: bool | Literal[""] = Field(default="", alias="IsSelfShared")
    created_at: AwareDatetime | None = Field(default=None, alias="CreationTime")
    tags: Tags = Field(default=Tags(), alias="Tags")


class _Entries(BaseModel):
    all: list[JsonValue] = Field(alias="Image")


class _ImagesPage(BaseModel):
    images: _Entries = Field(alias="Images")
    total: int = Field(alias="TotalCount", ge=0)
    number: int = Field(alias="PageNumber")


class _Made(BaseModel):
    id: Id = Field(alias="ImageId")


_IMAGE, _IMAGES_PAGE, _MADE = TypeAdapter(_Image), TypeAdapter(_ImagesPage), TypeAdapter(_Made)


class AlibabaImages:
    """The part of the driver that is about base images."""

    def __init__(
        self, provider: str, settings: AlibabaSettings, open_region: Callable[[str], AlibabaRegion]
    ) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            settings: of the account.
            open_region: returns a region by its name, also one that no location names.
        """
        self.image_limits = ImageLimits(
            delivery=Delivery.BUCKET,
            copies=True,
            # A region works on five copies at once, and lets others wait.
            max_in_flight=5,
            stagger=timedelta(seconds=5),
            start_within=timedelta(hours=1),
            finish_within=timedelta(hours=3),
            # The others cannot read the object storage there.
            first=settings.staging_region,
        )
        self._provider = provider
        self._regions = {name: open_region(name) for name in settings.locations}
        self._retired: dict[str, AlibabaRegion] = {}
        self._open_region = open_region
        self._settings = settings

    async def images(self, region: str, prefix: str = "") -> ImageListing:
        """Return the account's images; one that is not understood makes it incomplete."""
        named = {"ImageName": f"{prefix}*"} if prefix else {}
        found, is_complete = await self._listed(f"list images in {region}", region, named)
        understood = [each for each in found if isinstance(each, ImageAtProvider)]
        return ImageListing(
            # The vendor matches a part of the name.
            images=sorted_images(each for each in understood if each.name.startswith(prefix)),
            complete=is_complete and len(understood) == len(found),
        )

    async def image(self, ref: ImageRef) -> ImageAtProvider | None:
        """Return an image; None if the region lists none with its id."""
        attempted = f"find the image {ref.name}"
        found, _ = await self._listed(attempted, ref.region, {"ImageId": ref.image_id})
        for each in found:
            if isinstance(each, ProviderAnswerError):
                raise each
            if each.image_id == ref.image_id:
                return each
        return None

    async def import_image(self, spec: ImageSpec, disk: DiskFile | StagedDisk) -> ImageAtProvider:
        """Adopt the image, or import its disk from the object storage of the same region."""
        manifest, attempted = spec.manifest, spec.attempted
        self._settings.location(self._provider, spec.region)
        disk = the_staged(self._provider, spec, disk)
        if self.image_limits.first not in {"", spec.region}:
            raise ProviderInvalidError(
                self._provider,
                attempted,
                f"its disk is staged in {self.image_limits.first}: publish the image there first",
            )
        if (found := await self._adopted(spec)) is not None:
            return found
        mapping = {
            "OSSBucket": disk.bucket,
            "OSSObject": disk.key,
            "Format": "QCOW2",
            "DiskImageSize": str(math.ceil(manifest.virtual_bytes / GIB)),
        }
        params = {
            "ImageName": manifest.name,
            "Architecture": ARCHITECTURES.get(manifest.architecture, manifest.architecture),
            "OSType": "linux",
            "Platform": _PLATFORMS.get(manifest.distribution.partition("-")[0], "Others Linux"),
            "BootMode": "UEFI" if manifest.architecture == "arm64" else "BIOS",
            "Features.NvmeSupport": "supported",
            **{f"DiskDeviceMapping.1.{name}": value for name, value in mapping.items()},
        }
        return await self._make(spec, spec.region, "ImportImage", params)

    async def copy_image(self, spec: ImageSpec, source: ImageRef) -> ImageAtProvider:
        """Adopt the image, or copy it from another region."""
        for each in (source.region, spec.region):
            self._settings.location(self._provider, each)
        if (found := await self._adopted(spec)) is not None:
            return found
        params = {
            "ImageId": source.image_id,
            "DestinationRegionId": spec.region,
            "DestinationImageName": spec.manifest.name,
        }
        return await self._make(spec, source.region, "CopyImage", params)

    async def delete_image(self, ref: ImageRef) -> bool:
        """Request the deletion of an image. A copy that is under way is cancelled.

        Raises:
            WrongStatusError: its import is under way, which cannot be cancelled.
        """
        attempted = f"delete the image {ref.name}"
        found = await self.image(ref)
        if found is None:
            return False
        require_ours(found, ref)
        params = {"ImageId": ref.image_id}
        act = partial(self._act, attempted, ref.region, call=Call.DESTROY)
        try:
            try:
                await act("DeleteImage", params)
            except ImageCopyingError:
                await act("CancelCopyImage", params)
            except ImagePublicError:
                await act("ModifyImageSharePermission", {**params, "IsPublic": "false"})
                await act("DeleteImage", params)
        except NoSuchImageError:
            return False
        return True

    async def image_of(self, provider_id: str) -> str | None:
        """Return the id of the image that an instance was made of."""
        region, _, instance_id = provider_id.rpartition(":")
        regions = [self._region(region)] if region else [*self._regions.values()]
        attempted = f"find the image of {provider_id}"
        found = await asyncio.gather(*(each.image_of(attempted, instance_id) for each in regions))
        return next((each for each in found if each), None)

    def _region(self, name: str) -> AlibabaRegion:
        self._settings.location(self._provider, name)
        return self._regions[name]

    def _region_of_images(self, attempted: str, name: str) -> AlibabaRegion:
        """Return a region, also one that no location names any more."""
        if name in self._regions:
            return self._regions[name]
        if name not in self._retired:
            require_vendors_name(self._provider, attempted, name)
            self._retired[name] = self._open_region(name)
        return self._retired[name]

    async def _adopted(self, spec: ImageSpec) -> ImageAtProvider | None:
        """Return the region's image of this name; None once its name is free.

        An image that failed keeps the name, so ours is deleted.
        """
        self._region(spec.region)
        listing = await self.images(spec.region, spec.manifest.name)
        found = image_named(self._provider, listing, spec)
        if found is None:
            for each in listing.images:
                if each.name == spec.manifest.name and each.owner == spec.owner:
                    await self.delete_image(each)
        return found

    async def _make(
        self, spec: ImageSpec, region: str, action: str, params: Mapping[str, str]
    ) -> ImageAtProvider:
        """Order an image, and return it as it is at first."""
        tags = image_tags_of(spec)
        numbered = {
            f"Tag.{number}.{part}": text
            for number, tag in enumerate(tags.items(), start=1)
            for part, text in zip(("Key", "Value"), tag, strict=True)
        }
        response = await self._act(
            spec.attempted, region, action, {**params, **numbered}, call=Call.CREATE
        )
        return ImageAtProvider(
            name=spec.manifest.name,
            provider=self._provider,
            region=spec.region,
            image_id=response.read(_MADE).id,
            status=ImageStatus.WAITING,
            architecture=spec.manifest.architecture,
            owner=spec.owner,
            identity=spec.manifest.identity,
        )

    async def _act(
        self, attempted: str, region: str, action: str, params: Mapping[str, str], call: Call
    ) -> Response:
        api = self._region_of_images(attempted, region)
        response = await api.existing(attempted, action, params, call)
        response.read(DONE)
        return response

    async def _listed(
        self, attempted: str, region: str, params: Mapping[str, str]
    ) -> tuple[Sequence[ImageAtProvider | ProviderAnswerError], bool]:
        """Return the images that parameters select, and whether no page lacks any."""
        api = self._region_of_images(attempted, region)
        asked = {"ImageOwnerAlias": "self", "Status": ALL_STATUSES, "PageSize": str(MAX_PAGE)}

        async def read(token: str | None) -> Page[ImageAtProvider | ProviderAnswerError]:
            offset = int(token or 0)
            number = 1 + offset // MAX_PAGE
            response = await api.existing(
                attempted,
                "DescribeImages",
                {**asked, **params, "PageNumber": str(number)},
            )
            page = response.read(_IMAGES_PAGE)
            if page.number != number:
                raise response.unreadable(f"it is page {page.number}, not {number}")
            entries = page.images.all
            following = next_offset(offset, MAX_PAGE if entries else 0, page.total)
            items = [self._at_provider(response, region, each) for each in entries]
            return Page(items, following, page.total)

        def id_of(item: ImageAtProvider | ProviderAnswerError) -> str:
            return item.image_id if isinstance(item, ImageAtProvider) else str(item)

        pages = await read_numbered_pages(self._provider, attempted, read, id_of)
        return pages.items, pages.complete

    def _at_provider(
        self, response: Response, region: str, entry: JsonValue
    ) -> ImageAtProvider | ProviderAnswerError:
        def read() -> ImageAtProvider:
            image = _IMAGE.validate_python(entry)
            tags = image.tags.texts
            status = _STATUSES.get(image.status, ImageStatus.IMPORTING)
            return ImageAtProvider(
                name=image.name or image.id,
                provider=self._provider,
                region=region,
                image_id=image.id,
                status=status,
                architecture=_DEBIAN.get(image.architecture or "", image.architecture),
                visibility=_visibility(image),
                owner=tags.get(OWNER),
                identity=tags.get(IDENTITY),
                created_at=image.created_at,
                words=whole_answer(entry) if status is ImageStatus.FAILED else "",
            )

        try:
            return response.understood(read)
        except ProviderAnswerError as error:
            return error


def _visibility(image: _Image) -> Visibility:
    """Return who can use an image. One that is shared can be used by other accounts too."""
    if image.is_public or image.is_shared:
        return Visibility.PUBLIC
    return Visibility.UNKNOWN if image.is_public is None else Visibility.PRIVATE
