"""The ids of what the settings name: flavors, images and networks of a region."""

import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from relight.providers.driver import ProviderInvalidError
from relight.providers.locations import LocationSettings
from relight.providers.openstack.api import Link, OpenStackApi, Service, has_more
from relight.providers.pages import Page, read_pages

KEPT_FOR = timedelta(minutes=10)
"""How long an id is used without another look: a new image is found after this."""

SHOWN_NAMES = 20

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_ARCHITECTURES = {"amd64": {"x86_64", "amd64"}, "arm64": {"aarch64", "arm64"}}
"""Glance's names of an architecture, by Debian's."""

T = TypeVar("T", bound=BaseModel)


class _Flavor(BaseModel):
    id: str
    name: str


class _Flavors(BaseModel):
    items: list[_Flavor] = Field(alias="flavors")
    links: list[Link] = Field(default=[], alias="flavors_links")


class _Image(BaseModel):
    """An image; `architecture` is a property that many images lack."""

    id: str
    name: str | None = None
    architecture: str | None = None
    image_type: str | None = None
    created_at: AwareDatetime


class _Images(BaseModel):
    items: list[_Image] = Field(alias="images")
    next: str | None = None


class _Network(BaseModel):
    id: str
    name: str


class _Networks(BaseModel):
    items: list[_Network] = Field(alias="networks")


_FLAVORS, _IMAGES, _NETWORKS = (
    TypeAdapter(_Flavors),
    TypeAdapter(_Images),
    TypeAdapter(_Networks),
)


class OpenStackNames:
    """Finds ids, and keeps them for a while."""

    def __init__(
        self, provider: str, api: OpenStackApi, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider = provider
        self._api = api
        self._clock = clock
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}

    def forget(self) -> None:
        """Forget all ids: one of them was refused."""
        self._kept.clear()

    async def flavor(self, region: str, name: str) -> str:
        """Return the id of a flavor by its name or id.

        Raises:
            ProviderInvalidError: the region has no such flavor.
        """

        async def find() -> str:
            attempted = f"find the flavor {name} in {region}"
            found = await self._flavors(region, attempted)
            for flavor in found:
                if name in {flavor.id, flavor.name}:
                    return flavor.id
            raise self._unknown(attempted, "flavors", [each.name for each in found])

        return await self._once(("flavor", region, name), find)

    async def image(self, region: str, location: LocationSettings, named: str | None) -> str:
        """Return the id of an image for the location's architecture.

        Args:
            region: where the machine will be.
            location: names the default image.
            named: an id or a whole name that counts before it.

        Raises:
            ProviderInvalidError: the region has no such image.
        """
        wanted = named or location.image
        if _ID.fullmatch(wanted):
            return wanted
        return await self._once(
            ("image", region, wanted or location.image_prefix + "*", location.architecture),
            lambda: self._newest_image(region, location, wanted),
        )

    async def network(self, region: str, name: str) -> str:
        """Return the id of a network by its name or id.

        Raises:
            ProviderInvalidError: the region has none, or several, of this name.
        """
        if _ID.fullmatch(name):
            return name

        async def find() -> str:
            attempted = f"find the network {name} in {region}"
            response = await self._api.existing(
                Service.NETWORK, region, attempted, "GET", "/networks", params={"name": name}
            )
            found = [each.id for each in response.read(_NETWORKS).items if each.name == name]
            if len(found) != 1:
                raise ProviderInvalidError(
                    self._provider, attempted, f"{len(found)} networks have this name: use an id"
                )
            return found[0]

        return await self._once(("network", region, name), find)

    async def _once(self, key: tuple[str, ...], find: Callable[[], Any]) -> str:
        until, found = self._kept.get(key, (0.0, ""))
        if self._clock() >= until:
            found = await find()
            self._kept[key] = (self._clock() + KEPT_FOR.total_seconds(), found)
        return found

    async def _flavors(self, region: str, attempted: str) -> Sequence[_Flavor]:
        async def read(marker: str | None) -> Page[_Flavor]:
            # To an administrator nova lists other flavors than the public ones only with this.
            params = {"is_public": "None"} | ({"marker": marker} if marker else {})
            response = await self._api.existing(
                Service.COMPUTE, region, attempted, "GET", "/flavors", params=params
            )
            page = response.read(_FLAVORS)
            more = page.items and has_more(page.links)
            return Page(page.items, page.items[-1].id if more else None)

        return (await read_pages(self._provider, attempted, read)).items

    async def _newest_image(self, region: str, location: LocationSettings, name: str) -> str:
        attempted = f"find the image {name or location.image_prefix + '*'} in {region}"
        found = await self._images(region, attempted, name)
        fitting = [image for image in found if _fits(image, location, name)]
        if not fitting:
            raise self._unknown(
                attempted,
                f"images for {location.architecture} of this name; its images",
                [each.name or each.id for each in found],
            )
        # An image that says its architecture counts before one that does not.
        return max(fitting, key=lambda image: (image.architecture is not None, image.created_at)).id

    async def _images(self, region: str, attempted: str, name: str) -> Sequence[_Image]:
        async def read(marker: str | None) -> Page[_Image]:
            params = {"status": "active", "limit": "500"}
            params |= {"name": name} if name else {}
            params |= {"marker": marker} if marker else {}
            response = await self._api.existing(
                Service.IMAGE, region, attempted, "GET", "/images", params=params
            )
            page = response.read(_IMAGES)
            following = parse_qs(urlsplit(page.next or "").query).get("marker")
            return Page(page.items, following[0] if following else None)

        return (await read_pages(self._provider, attempted, read)).items

    def _unknown(self, attempted: str, what: str, known: Sequence[str]) -> ProviderInvalidError:
        shown = ", ".join(sorted(known)[:SHOWN_NAMES]) or "none"
        return ProviderInvalidError(
            self._provider, attempted, f"there is none; {what} there: {shown}"
        )


def _fits(image: _Image, location: LocationSettings, name: str) -> bool:
    own_name = image.name or ""
    is_named = own_name == name if name else own_name.startswith(location.image_prefix)
    architectures = {None, *_ARCHITECTURES.get(location.architecture, ())}
    return is_named and image.architecture in architectures and image.image_type != "snapshot"
