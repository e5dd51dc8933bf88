"""What Oracle Cloud Infrastructure says of the configured regions: images, zones, shapes."""

from collections.abc import AsyncIterator
from urllib.parse import quote

from relight.providers.driver import ProviderCredentialsError, ProviderInvalidError
from relight.providers.images import BaseImage, Remembered, newest_image
from relight.providers.locations import LocationSettings
from relight.providers.oci.answers import IMAGE, SHAPE, AbsentOrForbiddenError, Offered
from relight.providers.oci.api import INSTANCES, OciApi
from relight.providers.oci.settings import OciSettings, Shape
from relight.providers.report import ProviderReport, RegionReport

_IMAGE_ID = "ocid1.image."

_LISTS = {
    "instances": INSTANCES,
    "addresses of instances": "/vnicAttachments",
    "images": "/images",
}
"""What a fleet needs to list, by its path."""

_NO_SUCH = (ProviderCredentialsError, ProviderInvalidError)
"""OCI answers what is not there, and what we may not see, by one of these."""


class OciImages:
    """The ids of images, by region, shape and name."""

    def __init__(self, provider: str, api: OciApi) -> None:
        """Look up nothing yet.

        Args:
            provider: the driver's name.
            api: of the account.
        """
        self._provider = provider
        self._api = api
        self._newest: Remembered[str] = Remembered()

    async def id_of(
        self, region: str, shape: str, location: LocationSettings, named: str | None = None
    ) -> str:
        """Return the id of the image for a shape: as it is set, or the newest one of its name.

        Args:
            region: of the settings.
            shape: the vendor's name; an image boots on some shapes only.
            location: what the region offers.
            named: an id or a name instead of the location's image.

        Raises:
            ProviderInvalidError: there is none.
            ProviderError: the images could not be read.
        """
        name = named or location.image
        if name.startswith(_IMAGE_ID):
            return name
        pattern = name or f"{location.image_prefix}*"
        asked = f"{region}/{shape}/{pattern}"

        async def read() -> str:
            newest = await self._read(region, shape, name, name or location.image_prefix)
            if newest is None:
                raise ProviderInvalidError(
                    self._provider,
                    f"find an image in {region}",
                    f"there is none named {pattern} that boots on {shape}",
                )
            return newest.id

        return await self._newest.get(asked, read)

    async def close(self) -> None:
        """Cancel what is being read."""
        await self._newest.close()

    async def _read(self, region: str, shape: str, name: str, prefix: str) -> BaseImage | None:
        query = {"lifecycleState": "AVAILABLE", "shape": shape}
        if name:
            query["displayName"] = name
        attempted = f"list images in {region}"
        found = (await self._api.items(region, attempted, "/images", IMAGE, **query)).whole()
        images = [
            BaseImage(each.id, each.display_name, each.time_created)
            for each in found
            if name in {"", each.display_name}
        ]
        return newest_image(images, prefix)


async def report_of(settings: OciSettings, api: OciApi, images: OciImages) -> ProviderReport:
    """Return what is said of the account and of each configured region.

    Raises:
        ProviderError: it could not be asked.
    """
    rights: dict[str, bool] = {}
    regions = [
        await _region(region, location, api, images, rights)
        for region, location in sorted(settings.locations.items())
    ]
    return ProviderReport(
        account=f"user {settings.user} of tenancy {settings.tenancy}",
        rights=tuple(right for right, permitted in rights.items() if permitted),
        regions=tuple(regions),
        problems=tuple(
            f"no permission in the compartment {settings.compartment} to {right}"
            for right, permitted in rights.items()
            if not permitted
        ),
    )


async def _region(
    region: str,
    location: LocationSettings,
    api: OciApi,
    images: OciImages,
    rights: dict[str, bool],
) -> RegionReport:
    attempted = f"check {region}"
    problems: list[str] = []
    for what, path in _LISTS.items():
        right = f"list {what}"
        try:
            await api.call(region, attempted, "GET", path, params=api.of_compartment(limit="1"))
            permitted = True
        except AbsentOrForbiddenError:
            permitted = False
        rights[right] = rights.get(right, True) and permitted
    offered = [each async for each in _offered(region, location, api, problems)]
    shapes = {Shape.read(each).name for each in location.shapes}
    missing = shapes - {each.shape for each in offered}
    problems += [f"no zone of it offers the shape {shape}" for shape in sorted(missing)]
    try:
        await api.call(region, attempted, "GET", f"/subnets/{quote(location.subnet, safe='')}")
    except _NO_SUCH as error:
        problems.append(f"subnet {location.subnet}: {error.answer}")
    image: str | None = None
    for shape in sorted(shapes):
        try:
            image = await images.id_of(region, shape, location)
        except _NO_SUCH as error:
            problems.append(f"image for {shape}: {error.answer}")
    return RegionReport(region, location.architecture, image, tuple(problems))


async def _offered(
    region: str, location: LocationSettings, api: OciApi, problems: list[str]
) -> AsyncIterator[Offered]:
    """Give the shapes of each zone; what is wrong with a zone is added to the problems."""
    for zone in dict.fromkeys(each.partition("/")[0] for each in location.zones):
        query = {"availabilityDomain": zone}
        try:
            found = await api.items(region, f"check {region}", "/shapes", SHAPE, **query)
        except _NO_SUCH as error:
            problems.append(f"zone {zone}: {error.answer}")
        else:
            for each in found.whole():
                yield each
