"""Floating addresses: of machines in a network that is not reachable from outside.

One is created together with its association, after the machine, and stays when the machine is
deleted: so it names its machine, and is deleted before it.
"""

from typing import Final

from pydantic import BaseModel, TypeAdapter

from relight.providers.driver import ProviderUnavailableError
from relight.providers.openstack.api import OpenStackApi, Service

_DESCRIPTION: Final = "relight-machine="


class _Port(BaseModel):
    id: str
    device_id: str


class _Ports(BaseModel):
    ports: list[_Port]


class _Address(BaseModel):
    id: str
    port_id: str | None = None
    description: str | None = None


class _Addresses(BaseModel):
    floatingips: list[_Address]


_PORTS, _ADDRESSES = TypeAdapter(_Ports), TypeAdapter(_Addresses)


class FloatingAddresses:
    """The floating addresses of a project."""

    def __init__(self, provider: str, api: OpenStackApi) -> None:
        self._provider = provider
        self._api = api

    async def ensure(self, region: str, network_id: str, key: str, provider_id: str) -> None:
        """Give a machine an address of an external network, unless it has one.

        Raises:
            ProviderUnavailableError: the machine has no port yet.
            ProviderQuotaError: a limit of the project is reached.
            ProviderCapacityError: the network has no free address.
            ProviderError: it is not known whether it has one.
        """
        attempted = f"give {key} a floating address"
        found = await self._find(region, attempted, provider_id)
        if any(address.port_id for address in found):
            return
        response = await self._api.existing(
            Service.NETWORK, region, attempted, "GET", "/ports", params={"device_id": provider_id}
        )
        ports = [port for port in response.read(_PORTS).ports if port.device_id == provider_id]
        if not ports:
            raise ProviderUnavailableError(self._provider, attempted, "it has no port yet")
        wanted = {
            "floating_network_id": network_id,
            "port_id": ports[0].id,
            "description": _DESCRIPTION + provider_id,
        }
        await self._api.existing(
            Service.NETWORK, region, attempted, "POST", "/floatingips", json={"floatingip": wanted}
        )

    async def release(self, region: str, key: str, provider_id: str) -> None:
        """Delete the addresses that were made for a machine; none is success."""
        attempted = f"release the floating address of {key}"
        for address in await self._find(region, attempted, provider_id):
            await self._api.request(
                Service.NETWORK, region, attempted, "DELETE", f"/floatingips/{address.id}"
            )

    async def _find(self, region: str, attempted: str, provider_id: str) -> list[_Address]:
        description = _DESCRIPTION + provider_id
        response = await self._api.existing(
            Service.NETWORK,
            region,
            attempted,
            "GET",
            "/floatingips",
            params={"description": description},
        )
        found = response.read(_ADDRESSES).floatingips
        return [each for each in found if each.description == description]
