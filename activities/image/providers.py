"""The providers that images can be published to, and what each needs for it."""

from collections.abc import Mapping
from pathlib import Path

from activities.image.staging import Staging
from relight.domain.fault.error import DomainError
from relight.domain.image.image import ImageManifest
from relight.domain.image.imports import ImportLimits
from relight.domain.image.prune import LocationImage
from relight.domain.machine import Region
from relight.images.folder import ImageFolder
from relight.providers.driver import (
    ProviderDriver,
    UnknownLocationError,
    driver_named,
    region_named,
)
from relight.providers.image_driver import Delivery, ImageDriver
from relight.providers.locations import LocationSettings


class ImageUnstagedError(DomainError):
    """A provider imports from object storage, and none is set for it."""

    kind = "image-unstaged"


class ImageProviders:
    """The drivers that have the calls for images, with their object storage.

    Attributes:
        folder: of the disks on this worker.
        owner: the fleet's ownership tag.
    """

    def __init__(
        self,
        drivers: Mapping[str, ProviderDriver],
        stagings: Mapping[str, Staging],
        folder: Path,
        owner: str,
        locations: Mapping[str, Mapping[str, LocationSettings]],
    ) -> None:
        self._locations = locations
        self._drivers = drivers
        self._stagings = stagings
        self.folder = ImageFolder(folder)
        self.owner = owner

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, ordered."""
        return tuple(
            sorted(name for name, each in self._drivers.items() if isinstance(each, ImageDriver))
        )

    def driver(self, provider: str) -> ImageDriver:
        """Return a provider's driver.

        Raises:
            UnknownLocationError: there is none, or it has no calls for images.
        """
        driver = driver_named(self._drivers, provider)
        if not isinstance(driver, ImageDriver):
            known = ", ".join(self.names) or "none"
            raise UnknownLocationError(
                provider, "publish an image", f"it takes no images; those that do: {known}"
            )
        return driver

    def limits(self, provider: str) -> ImportLimits:
        """Return what a provider can do, and at which speed."""
        limits = self.driver(provider).image_limits
        return ImportLimits(
            copies=limits.copies,
            first=limits.first if limits.copies else "",
            staged=limits.delivery is not Delivery.UPLOAD,
            max_in_flight=limits.max_in_flight,
            stagger=limits.stagger,
            start_within=limits.start_within,
            finish_within=limits.finish_within,
        )

    def staging(self, provider: str) -> Staging:
        """Return a provider's object storage.

        Raises:
            ImageUnstagedError: none is set.
        """
        staging = self._stagings.get(provider)
        if staging is None:
            raise ImageUnstagedError(
                f"{provider} imports disks from object storage only, and `providers.toml` has no"
                f" table [{provider}.staging]"
            )
        return staging

    def location_image(self, provider: str, region: str) -> LocationImage | None:
        """Return what the settings say of the image of a location; None if there is none."""
        location = self._locations.get(provider, {}).get(region)
        if location is None:
            return None
        return LocationImage(image=location.image, prefix=location.image_prefix)

    async def all_regions(self, provider: str) -> tuple[str, ...]:
        """Return all regions that a provider's locations name."""
        self.driver(provider)
        return tuple(each.name for each in await self._drivers[provider].regions())

    async def regions(self, provider: str, manifest: ImageManifest) -> tuple[str, ...]:
        """Return a provider's regions whose machines have the image's architecture."""
        self.driver(provider)
        regions = await self._drivers[provider].regions()
        return tuple(each.name for each in regions if _fits(each, manifest))

    async def region(self, provider: str, region: str, manifest: ImageManifest) -> str:
        """Return a region of a provider.

        Raises:
            UnknownLocationError: there is none, or its machines have another architecture.
        """
        self.driver(provider)
        found = await region_named(self._drivers[provider], region)
        if not _fits(found, manifest):
            raise UnknownLocationError(
                provider,
                f"publish {manifest.name} to {region}",
                f"its machines are {found.architecture}, and the image is {manifest.architecture}",
            )
        return found.name


def _fits(region: Region, manifest: ImageManifest) -> bool:
    return region.architecture == manifest.architecture
