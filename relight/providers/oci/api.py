"""Oracle Cloud Infrastructure's Compute API, as one account sees one compartment.

Each region has an API of its own, at a URL of its own. The vendor answers 404 for what does not
exist and for what we may not see alike: an instance is absent only if the listing of the
compartment, which has to succeed, lacks it too.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter

from relight.providers.api import ProviderApi, Response
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.oci.answers import (
    ATTACHMENT,
    INSTANCE,
    VNIC,
    AbsentOrForbiddenError,
    Instance,
    State,
    classify,
)
from relight.providers.oci.settings import OciSettings, assigns_public_ip
from relight.providers.oci.signature import OciSignature
from relight.providers.pages import Page, read_pages
from relight.providers.tags import OWNER

INSTANCES = "/instances"
MAX_VNIC_CALLS = 8
"""At once, for a listing whose addresses are not known yet."""

_ID = "ocid1.instance."

_REGION_CODES: Final = {
    "fra": "eu-frankfurt-1",
    "iad": "us-ashburn-1",
    "lhr": "uk-london-1",
    "phx": "us-phoenix-1",
}
"""In ids, the oldest regions have a code in place of their name."""

_ITEMS: TypeAdapter[list[JsonValue]] = TypeAdapter(list[JsonValue])

T = TypeVar("T")


@dataclass(frozen=True)
class Items(Generic[T]):
    """The items of a listing.

    Attributes:
        found: those that were understood.
        unread: the error of the first one that was not; None if each was.
    """

    found: Sequence[T]
    unread: ProviderAnswerError | None

    def whole(self) -> Sequence[T]:
        """Return all items.

        Raises:
            ProviderAnswerError: one was not understood; it may be any.
        """
        if self.unread is not None:
            raise self.unread
        return self.found


class OciApi:
    """The API in all regions of the settings."""

    def __init__(self, provider: str, settings: OciSettings, auth: OciSignature) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            settings: of the account.
            auth: signs its requests.
        """
        self._provider = provider
        self._settings = settings
        self._api = ProviderApi(provider, "", {}, settings.timeout, auth=auth, classify=classify)
        self._addresses: dict[str, dict[str, str]] = {region: {} for region in settings.locations}
        self._vnic_calls = asyncio.Semaphore(MAX_VNIC_CALLS)

    async def call(
        self, region: str, attempted: str, method: str, path: str, **options: Any
    ) -> Response:
        """Return the response to a request.

        Args:
            region: of the settings.
            attempted: the operation, for the words of an error.
            method: of HTTP.
            path: below the API's version.
            options: as of `ProviderApi.request`.

        Raises:
            AbsentOrForbiddenError: there is no such thing, or we may not see it.
            ProviderError: the request failed.
        """
        url = self._settings.url_of(region) + path
        return await self._api.existing(attempted, method, url, **options)

    async def elsewhere(self, attempted: str, method: str, url: str) -> Response:
        """Return the response to a request to another API of the vendor.

        Raises:
            ProviderError: as of `call`.
        """
        return await self._api.existing(attempted, method, url)

    def of_compartment(self, **query: str) -> dict[str, str]:
        """Return the query of a list, which is one of the compartment."""
        return {"compartmentId": self._settings.compartment, **query}

    async def items(
        self, region: str, attempted: str, path: str, adapter: TypeAdapter[T], **query: str
    ) -> Items[T]:
        """Return the items of all pages of a list."""
        unread: list[ProviderAnswerError] = []

        async def read(token: str | None) -> Page[T]:
            params = self.of_compartment(**query, **({} if token is None else {"page": token}))
            response = await self.call(region, attempted, "GET", path, params=params)
            found: list[T] = []
            for item in response.read(_ITEMS):
                try:
                    found.append(response.understood(partial(adapter.validate_python, item)))
                except ProviderAnswerError as error:
                    unread.append(error)
            return Page(found, response.headers.get("opc-next-page") or None)

        pages = await read_pages(self._provider, attempted, read)
        return Items(pages.items, unread[0] if unread else None)

    async def instances(self, region: str, attempted: str, **query: str) -> Items[Instance]:
        """Return the instances, TERMINATED ones too, that a query asks for: each once."""
        items = await self.items(region, attempted, INSTANCES, INSTANCE, **query)
        found = {each.id: each for each in items.found}
        return Items(tuple(found.values()), items.unread)

    async def instance(self, id: str, attempted: str) -> tuple[str, Instance] | None:
        """Return an instance and its region; None if it is gone.

        Raises:
            AbsentOrForbiddenError: we may not see it, though it is listed.
            UnknownLocationError: it is in a region that is not configured.
            ProviderError: it, or the listing that lacks it, could not be read.
        """
        for region in self.regions_of(id, attempted):
            try:
                response = await self.call(region, attempted, "GET", instance_path(id))
            except AbsentOrForbiddenError:
                listed = (await self.instances(region, attempted)).whole()
                if any(each.id == id and not each.is_gone for each in listed):
                    raise
                continue
            found = response.read(INSTANCE)
            if found.id != id:
                raise response.unreadable(f"it is about {found.id}, not {id}")
            return None if found.is_gone else (region, found)
        return None

    async def addresses(
        self, region: str, attempted: str, instances: Iterable[Instance], *, are_all: bool = False
    ) -> Mapping[str, str]:
        """Return the address of each running instance of a fleet that has one, by its id.

        An instance's address needs requests of its own. It stays as long as the instance does, so
        it is asked for once; and not at all for instances without a tag of an owner.

        Args:
            region: of the instances.
            attempted: the operation.
            instances: those that exist.
            are_all: whether these are all of the region, so that no other address is kept.
        """
        running = [
            each.id
            for each in instances
            if each.lifecycle_state is State.RUNNING and OWNER in each.freeform_tags
        ]
        known = self._addresses[region]
        if missing := set(running) - known.keys():
            await self._read_addresses(region, attempted, missing, known)
        found = {each: known[each] for each in running if each in known}
        if are_all:
            self._addresses[region] = dict(found)
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _read_addresses(
        self, region: str, attempted: str, ids: set[str], known: dict[str, str]
    ) -> None:
        """Add addresses to the known ones: those that can be read, also where another cannot."""
        query = {"instanceId": next(iter(ids))} if len(ids) == 1 else {}
        items = await self.items(region, attempted, "/vnicAttachments", ATTACHMENT, **query)
        vnics = {
            each.vnic_id: each.instance_id
            for each in items.found
            if each.instance_id in ids
            and each.lifecycle_state == "ATTACHED"
            and each.vnic_id is not None
        }

        async def read(vnic_id: str, owner: str) -> None:
            address = await self._address(region, attempted, vnic_id)
            if address is not None:
                known[owner] = address

        reads = (read(vnic_id, owner) for vnic_id, owner in vnics.items())
        ended = await asyncio.gather(*reads, return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _address(self, region: str, attempted: str, vnic_id: str) -> str | None:
        """Return the address of a VNIC if it is its instance's primary one."""
        async with self._vnic_calls:
            try:
                response = await self.call(region, attempted, "GET", f"/vnics/{quote(vnic_id)}")
            except AbsentOrForbiddenError as error:
                # It may have been detached meanwhile.
                raise ProviderUnavailableError(
                    self._provider, attempted, f"VNIC {vnic_id}: {error.answer}"
                ) from error
        vnic = response.read(VNIC)
        location = self._settings.location(self._provider, region)
        address = vnic.public_ip if assigns_public_ip(location) else vnic.private_ip
        return str(address) if vnic.is_primary and address is not None else None

    def regions_of(self, id: str, attempted: str) -> Sequence[str]:
        """Return where the instance of an id can be; nowhere if that is no id of an instance."""
        if not id.startswith(_ID):
            return ()
        part = id.removeprefix(_ID).split(".")[1:2]
        name = _REGION_CODES.get(part[0], part[0]) if part else ""
        if name in self._settings.locations:
            return (name,)
        if "-" in name:
            raise UnknownLocationError(
                self._provider, attempted, f"{id} is in {name}, which is not configured"
            )
        return tuple(self._settings.locations)


def instance_path(id: str) -> str:
    """Return the path of an instance."""
    return f"{INSTANCES}/{quote(id, safe='')}"
