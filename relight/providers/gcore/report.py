"""What Gcore says of our account and of the configured regions; nothing is created for it."""

from collections.abc import Mapping

from relight.providers.gcore.answers import DEBIAN_ARCHITECTURE
from relight.providers.gcore.api import GcoreApi
from relight.providers.gcore.creation import GcoreSettings, Place, is_id, newest_image
from relight.providers.locations import LocationSettings
from relight.providers.report import ProviderReport, RegionReport

_QUOTAS = ("vm_count", "cpu_count", "ram", "volume_count", "volume_size", "external_ip_count")
"""The quotas that a machine with its boot volume uses."""


async def report(api: GcoreApi, settings: GcoreSettings) -> ProviderReport:
    """Return what Gcore says now; nothing is changed.

    Raises:
        ProviderError: it could not be asked.
    """
    project = await api.project()
    problems = () if project.state == "ACTIVE" else (f"the project is {project.state}",)
    limits: dict[str, str] = {}
    regions: list[RegionReport] = []
    for name, location in sorted(settings.locations.items()):
        region = await _region(api, name, location)
        regions.append(region)
        if region.image is not None:
            quotas = await api.quotas(project.client_id, Place.of(location).region_id)
            limits |= {f"{quota} in {name}": text for quota, text in _used(quotas).items()}
    # The API does not say what a key may do; to read the project and its regions is in it.
    return ProviderReport(f"project {project.name}", (), tuple(regions), limits, problems)


async def _region(api: GcoreApi, name: str, location: LocationSettings) -> RegionReport:
    region_id = Place.of(location).region_id
    state = await api.region(region_id)
    if state is None:
        missing = (f"Gcore has no region {region_id}",)
        return RegionReport(name, location.architecture, None, missing)
    problems: list[str] = []
    if state.state != "ACTIVE":
        problems.append(f"{state.display_name} is {state.state}")
    if not state.has_kvm:
        problems.append(f"{state.display_name} has no virtual machines")
    flavors = {each.flavor_name: each for each in await api.flavors(region_id)}
    for shape in location.shapes:
        flavor = flavors.get(shape)
        if flavor is None or flavor.disabled:
            problems.append(f"there is no shape {shape}")
        elif DEBIAN_ARCHITECTURE.get(flavor.architecture) != location.architecture:
            problems.append(f"the shape {shape} is {flavor.architecture}")
    wanted = location.image
    part = "" if is_id(wanted) else wanted or location.image_prefix
    images = await api.images("list images", region_id, part)
    image = newest_image(images, location, wanted)
    if image is None:
        words = wanted or f"{location.image_prefix}*"
        problems.append(f"there is no image {words} for {location.architecture}")
    found = None if image is None else image.name
    return RegionReport(name, location.architecture, found, tuple(problems))


def _used(quotas: Mapping[str, int | None]) -> dict[str, str]:
    return {
        name: f"{quotas.get(f'{name}_usage') or 0} of {quotas[f'{name}_limit']}"
        for name in _QUOTAS
        if quotas.get(f"{name}_limit") is not None
    }
