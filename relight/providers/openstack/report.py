"""What an OpenStack cloud says of our project and of the configured regions."""

from collections.abc import Awaitable, Mapping
from typing import Final

from pydantic import BaseModel, Field, JsonValue, TypeAdapter

from relight.providers.driver import ProviderInvalidError
from relight.providers.locations import LocationSettings
from relight.providers.openstack.api import OpenStackApi, Service
from relight.providers.openstack.names import OpenStackNames
from relight.providers.report import RegionReport

_LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "machines": ("totalInstancesUsed", "maxTotalInstances"),
    "cores": ("totalCoresUsed", "maxTotalCores"),
    "memory in MiB": ("totalRAMUsed", "maxTotalRAMSize"),
}
"""Nova's names of what is used and of its limit."""


class _Zone(BaseModel):
    class _State(BaseModel):
        available: bool

    name: str = Field(alias="zoneName")
    state: _State = Field(alias="zoneState")


class _Zones(BaseModel):
    zones: list[_Zone] = Field(alias="availabilityZoneInfo")


class _Limits(BaseModel):
    class _Absolute(BaseModel):
        absolute: Mapping[str, JsonValue]

    limits: _Absolute


_ZONES, _LIMITS_ANSWER = TypeAdapter(_Zones), TypeAdapter(_Limits)


async def limits_of(api: OpenStackApi, region: str) -> dict[str, str]:
    """Return what the project uses in a region, and of how much.

    Raises:
        ProviderError: nova could not be asked.
    """
    attempted = f"read the limits in {region}"
    response = await api.existing(Service.COMPUTE, region, attempted, "GET", "/limits")
    absolute = response.read(_LIMITS_ANSWER).limits.absolute
    return {
        f"{what} in {region}": f"{absolute[used]} of {_shown(absolute[limit])}"
        for what, (used, limit) in _LIMITS.items()
        if used in absolute and limit in absolute
    }


async def region_report(
    api: OpenStackApi, names: OpenStackNames, region: str, location: LocationSettings
) -> RegionReport:
    """Return what of a region's settings the region has.

    Raises:
        ProviderError: a service could not be asked.
    """
    problems: list[str] = []
    for shape in location.shapes:
        await _found(names.flavor(region, shape), problems)
    image = await _found(names.image(region, location, None), problems)
    networks = [location.subnet, str(location.extra.get("floating_network", ""))]
    for network in filter(None, networks):
        await _found(names.network(region, network), problems)
    problems += await _closed_zones(api, region, location)
    return RegionReport(region, location.architecture, image, tuple(problems))


async def _found(finding: Awaitable[str], problems: list[str]) -> str | None:
    try:
        return await finding
    except ProviderInvalidError as error:
        problems.append(f"{error.attempted}: {error.answer}")
        return None


async def _closed_zones(api: OpenStackApi, region: str, location: LocationSettings) -> list[str]:
    attempted = f"list the zones of {region}"
    response = await api.existing(
        Service.COMPUTE, region, attempted, "GET", "/os-availability-zone"
    )
    zones = response.read(_ZONES).zones
    open_zones = sorted(zone.name for zone in zones if zone.state.available)
    return [
        f"the zone {zone} is not available; those that are: {', '.join(open_zones) or 'none'}"
        for zone in location.zones
        if zone not in open_zones
    ]


def _shown(limit: JsonValue) -> str:
    """Return a limit in words; nova says -1 for none."""
    return "no limit" if limit == -1 else str(limit)
