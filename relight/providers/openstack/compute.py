"""The servers of a region: nova's API.

A listing of nova lacks what was deleted softly, and with any filter what stands in a part of the
cloud that is down. So three requests show that a machine is absent, and one that it exists.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from pydantic import JsonValue, TypeAdapter, ValidationError

from relight.providers.api import Response
from relight.providers.driver import ProviderAnswerError, ProviderUnavailableError
from relight.providers.openstack.api import OpenStackApi, Service, has_more
from relight.providers.openstack.server import (
    DELETED,
    SOFT_DELETED,
    Console,
    CreatedServer,
    FoundServer,
    ListedName,
    Server,
    ServerPage,
)
from relight.providers.pages import Page, read_pages
from relight.providers.rate import Call

CONSOLE_LINES: Final = 1000

_SOFT_DELETED: Final = {"status": SOFT_DELETED, "changes-since": "1970-01-01T00:00:00Z"}
"""Without a time nova lists none of them to anyone but an administrator."""

_PAGE, _FOUND = TypeAdapter(ServerPage), TypeAdapter(FoundServer)
_CREATED, _CONSOLE = TypeAdapter(CreatedServer), TypeAdapter(Console)
_SERVER, _NAME = TypeAdapter(Server), TypeAdapter(ListedName)


class Compute:
    """Servers by region."""

    def __init__(self, provider: str, api: OpenStackApi) -> None:
        self._provider = provider
        self._api = api

    async def get(self, region: str, attempted: str, provider_id: str) -> Server | None:
        """Return a server by its id; None if there is none.

        Raises:
            ProviderAnswerError: it stands in a part of the cloud that is down.
        """
        response = await self._request(region, attempted, "GET", _path(provider_id))
        if response is None:
            return None
        found = response.read(_FOUND).server
        if found.id != provider_id:
            raise response.unreadable(f"it is about {found.id}, not {provider_id}")
        return None if found.status == DELETED else found

    async def listed(self, region: str) -> tuple[list[Server], bool]:
        """Return all servers, and whether none can be missing."""
        attempted = f"list the machines in {region}"
        found, is_complete = await self._detailed(region, attempted, {})
        soft_deleted, none_is_missing = await self._detailed(region, attempted, _SOFT_DELETED)
        return found + soft_deleted, is_complete and none_is_missing

    async def named(self, region: str, key: str) -> list[Server]:
        """Return the servers with a name.

        Raises:
            ProviderAnswerError: one of them is not understood.
            ProviderUnavailableError: a part of the cloud is down, which may have it.
        """
        attempted = f"find {key}"
        by_name = {"name": f"^{key}$"}
        for query in (by_name, by_name | _SOFT_DELETED):
            found, is_complete = await self._detailed(region, attempted, query)
            if not is_complete:
                raise ProviderAnswerError(
                    self._provider, attempted, f"an entry of the listing of {region} is no server"
                )
            named = [server for server in found if server.name == key]
            if named:
                return named
        return await self._named_unfiltered(region, attempted, key)

    async def create(self, region: str, attempted: str, server: Mapping[str, JsonValue]) -> str:
        """Create a server, and return its id."""
        response = await self._api.existing(
            Service.COMPUTE, region, attempted, "POST", "/servers", json={"server": server}
        )
        try:
            return response.read(_CREATED).server.id
        except ProviderAnswerError as error:
            # Its words repeat the answer, which has the server's password.
            raise ProviderAnswerError(
                self._provider, error.attempted, "the answer is not understood: it has no server"
            ) from None

    async def delete(self, region: str, attempted: str, server: Server) -> bool:
        """Request a server's deletion, and return whether it still existed."""
        if server.status == SOFT_DELETED:
            response = await self._request(
                region,
                attempted,
                "POST",
                f"{_path(server.id)}/action",
                json={"forceDelete": None},
                call=Call.DESTROY,
            )
        else:
            response = await self._request(region, attempted, "DELETE", _path(server.id))
        if response is not None and response.body:
            raise response.unreadable("nova answers a deletion with nothing")
        return response is not None

    async def console(self, region: str, attempted: str, provider_id: str) -> str | None:
        """Return the last lines of a server's console; None if there is no such server."""
        response = await self._request(
            region,
            attempted,
            "POST",
            f"{_path(provider_id)}/action",
            json={"os-getConsoleOutput": {"length": CONSOLE_LINES}},
            call=Call.READ,
        )
        return None if response is None else response.read(_CONSOLE).output

    async def _request(
        self, region: str, attempted: str, method: str, path: str, **options: Any
    ) -> Response | None:
        return await self._api.request(Service.COMPUTE, region, attempted, method, path, **options)

    async def _detailed(
        self, region: str, attempted: str, query: Mapping[str, str]
    ) -> tuple[list[Server], bool]:
        """Return the servers of a listing, each once, and whether every entry was understood."""
        found: dict[str, Server] = {}
        is_complete = True
        for entry in await self._entries(region, attempted, "/servers/detail", query):
            try:
                server = _SERVER.validate_python(entry)
            except ValidationError:
                is_complete = False
            else:
                found[server.id] = server
        return [each for each in found.values() if each.status != DELETED], is_complete

    async def _named_unfiltered(self, region: str, attempted: str, key: str) -> list[Server]:
        ids: set[str] = set()
        hidden = 0
        for entry in await self._entries(region, attempted, "/servers", {}):
            try:
                listed = _NAME.validate_python(entry)
            except ValidationError:
                hidden += 1
                continue
            if listed.name == key:
                ids.add(listed.id)
            hidden += listed.name is None
        found = [await self.get(region, attempted, each) for each in sorted(ids)]
        if hidden and not ids:
            raise ProviderUnavailableError(
                self._provider,
                attempted,
                f"a part of {region} is down: {hidden} servers there are listed without a name",
            )
        return [server for server in found if server is not None]

    async def _entries(
        self, region: str, attempted: str, path: str, query: Mapping[str, str]
    ) -> Sequence[JsonValue]:
        async def read(marker: str | None) -> Page[JsonValue]:
            params = dict(query) if marker is None else {**query, "marker": marker}
            response = await self._api.existing(
                Service.COMPUTE, region, attempted, "GET", path, params=params
            )
            page = response.read(_PAGE)
            if not page.servers or not has_more(page.links):
                return Page(page.servers)
            last = response.understood(lambda: _NAME.validate_python(page.servers[-1]))
            return Page(page.servers, last.id)

        # No `limit`: with one, nova leaves out what stands in a part of the cloud that is down.
        return (await read_pages(self._provider, attempted, read)).items


def _path(provider_id: str) -> str:
    return f"/servers/{quote(provider_id, safe='')}"
