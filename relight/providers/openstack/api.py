"""The APIs of an OpenStack cloud: one token, and the endpoints that its catalog names."""

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from relight.domain.error_words import error_words
from relight.providers.api import ProviderApi, Response
from relight.providers.driver import ProviderInvalidError
from relight.providers.locations import SecretFileError
from relight.providers.openstack.cloud import Cloud
from relight.providers.openstack.errors import TokenRefusedError, classify
from relight.providers.rate import Call, RateLimits

T = TypeVar("T")

MICROVERSION: Final = "2.69"
"""Of nova's API: OpenStack Stein (2019) and later. The first in which a listing shows that a part
of the cloud is down; before it, the machines there were just missing."""

RENEW_BEFORE_END: Final = timedelta(minutes=2)
"""A token that ends sooner is not used: a request may take as long as that."""


class Service(StrEnum):
    """The services in use, by their type in the catalog."""

    COMPUTE = "compute"
    IMAGE = "image"
    NETWORK = "network"


_VERSION: Final[Mapping[Service, str]] = {
    Service.COMPUTE: "/v2.1",
    Service.IMAGE: "/v2",
    Service.NETWORK: "/v2.0",
}
"""What follows an endpoint's URL if the catalog names it without its version."""

_VERSIONED = re.compile(r"/v\d")
_HEADERS: Final[Mapping[Service, Mapping[str, str]]] = {
    Service.COMPUTE: {"OpenStack-API-Version": f"compute {MICROVERSION}"}
}


class Link(BaseModel):
    """A link of a page of a listing."""

    rel: str


def has_more(links: Sequence[Link]) -> bool:
    """Return whether a page's links name a next one.

    Its address is not used: behind a proxy it is often another one than ours.
    """
    return any(link.rel == "next" for link in links)


class _Endpoint(BaseModel):
    interface: str
    region: str | None = None
    region_id: str | None = None
    url: str


class _CatalogEntry(BaseModel):
    type: str
    endpoints: Sequence[_Endpoint]


class _Named(BaseModel):
    name: str


class _Project(_Named):
    id: str


class _Token(BaseModel):
    issued_at: AwareDatetime
    expires_at: AwareDatetime
    catalog: Sequence[_CatalogEntry]
    user: _Named
    project: _Project
    roles: Sequence[_Named] = ()


class _TokenAnswer(BaseModel):
    token: _Token


_TOKEN = TypeAdapter(_TokenAnswer)


@dataclass(frozen=True)
class _Session:
    """A token with its catalog.

    Attributes:
        renew_at: when it is not used any more, on our clock.
        account: the user and the project.
        project: its id.
        roles: of the user in the project.
    """

    value: str = field(repr=False)
    renew_at: float
    catalog: Sequence[_CatalogEntry]
    account: str
    project: str
    roles: tuple[str, ...]


class OpenStackApi:
    """One project at one cloud."""

    def __init__(
        self,
        provider: str,
        cloud: Cloud,
        timeout: timedelta,
        limits: RateLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Request nothing yet.

        Args:
            provider: the driver's name.
            cloud: where, and how to log in.
            timeout: for a whole answer.
            limits: of the project.
            clock: seconds.
        """
        self._provider = provider
        self._cloud = cloud
        self._clock = clock
        self._api = ProviderApi(
            provider,
            cloud.auth_url,
            {"Accept": "application/json"},
            timeout,
            classify=classify,
            limits=limits,
            trusted=None if cloud.cacert is None else _trusting(cloud.cacert),
        )
        self._session: _Session | None = None
        self._logging_in = asyncio.Lock()

    async def request(
        self,
        service: Service,
        region: str,
        attempted: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Response | None:
        """Return the response of a service in a region; None if there is no such thing.

        A token that is refused is renewed, and the request repeated, once: nothing was done.

        Args:
            service: whose API.
            region: of the cloud.
            attempted: the operation, for the words of an error.
            method: of HTTP.
            path: below the service's endpoint.
            headers: besides those of every request.
            options: as of `ProviderApi.request`.

        Raises:
            ProviderCredentialsError: the login is refused, or lacks a right.
            ProviderInvalidError: the cloud has no such service or region.
            ProviderError: the request failed.
        """
        send = partial(self._api.request, attempted, method, **options)
        return await self._logged_in(send, service, region, attempted, path, headers)

    async def existing(
        self,
        service: Service,
        region: str,
        attempted: str,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Response:
        """Return the response to a request of what always exists, as a list.

        Raises:
            ProviderError: as `request`; or the service says that there is no such thing.
        """
        send = partial(self._api.existing, attempted, method, **options)
        return await self._logged_in(send, service, region, attempted, path, headers)

    async def account(self) -> tuple[str, tuple[str, ...]]:
        """Return the user with the project, and the user's roles there.

        Raises:
            ProviderCredentialsError: the login is refused.
            ProviderError: it failed.
        """
        session = await self._current()
        return session.account, session.roles

    async def project(self) -> str:
        """Return the project's id.

        Raises:
            ProviderCredentialsError: the login is refused.
            ProviderError: it failed.
        """
        return (await self._current()).project

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _logged_in(
        self,
        send: Callable[..., Awaitable[T]],
        service: Service,
        region: str,
        attempted: str,
        path: str,
        headers: Mapping[str, str] | None,
    ) -> T:
        """Send a request with the token, and with a new one if that is refused."""

        async def sent(session: _Session) -> T:
            url = self._endpoint(session, service, region, attempted) + path
            own = {"X-Auth-Token": session.value, **_HEADERS.get(service, {})}
            return await send(url, headers={**own, **(headers or {})})

        session = await self._current()
        try:
            return await sent(session)
        except TokenRefusedError:
            return await sent(await self._current(refused=session))

    def _endpoint(self, session: _Session, service: Service, region: str, attempted: str) -> str:
        found = [
            endpoint
            for entry in session.catalog
            if entry.type == service
            for endpoint in entry.endpoints
            if endpoint.interface == self._cloud.interface
        ]
        for endpoint in found:
            if region in {endpoint.region, endpoint.region_id}:
                url = endpoint.url.rstrip("/")
                return url if _VERSIONED.search(url) else url + _VERSION[service]
        known = sorted({each.region or each.region_id or "" for each in found})
        raise ProviderInvalidError(
            self._provider,
            attempted,
            f"the catalog has no {self._cloud.interface} endpoint of the service {service} in "
            f"{region}; it has one in: {', '.join(known) or 'no region'}",
        )

    async def _current(self, refused: _Session | None = None) -> _Session:
        """Return a token that may be used; a new one if the last is over, or was refused."""
        async with self._logging_in:
            session = self._session
            if session is None or session is refused or self._clock() >= session.renew_at:
                session = self._session = await self._log_in()
            return session

    async def _log_in(self) -> _Session:
        response = await self._api.existing(
            "log in", "POST", "/auth/tokens", json=self._cloud.login, call=Call.READ
        )
        token = response.read(_TOKEN).token
        value = response.headers.get("X-Subject-Token", "")
        if not value:
            raise response.unreadable("it has no X-Subject-Token")
        # Both times are of keystone's clock, which may differ from ours.
        life = token.expires_at - token.issued_at
        usable = life - min(RENEW_BEFORE_END, life / 2)
        return _Session(
            value=value,
            renew_at=self._clock() + usable.total_seconds(),
            catalog=token.catalog,
            account=f"{token.user.name} in {token.project.name}",
            project=token.project.id,
            roles=tuple(role.name for role in token.roles),
        )


def _trusting(cacert: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(cacert))
    except OSError as error:  # that of TLS is one
        raise SecretFileError(f"cacert {cacert} cannot be used: {error_words(error)}") from error
