"""What Alibaba Cloud says of our access key and of the configured regions.

A creation is tried as a dry run: the vendor checks rights, parameters, quota and stock, and creates
nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pydantic import SecretBytes

from relight.providers.alibaba.creation import creation, where
from relight.providers.alibaba.errors import DryRunPassedError
from relight.providers.alibaba.region import AlibabaRegion
from relight.providers.driver import (
    MachineSpec,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.locations import Attempt, attempts
from relight.providers.report import ProviderReport, RegionReport

KEY = "relight-check"

ImageOf = Callable[[AlibabaRegion, MachineSpec], Awaitable[Mapping[str, str]]]


async def report_of(
    key_id: str, regions: Sequence[AlibabaRegion], image_of: ImageOf
) -> ProviderReport:
    """Return the report of an account.

    Args:
        key_id: of the access key.
        regions: the configured ones, ordered by name.
        image_of: returns the parameter that names a region's image.

    Raises:
        ProviderError: the provider could not be asked, or its instances may not be listed.
    """
    first, attempted = regions[0], "check the access key"
    # An instance that does not exist: only the right counts.
    await first.machines(attempted, {"InstanceIds": f'["i-{KEY}"]'})
    rights = ["ecs:DescribeInstances"]
    problems: list[str] = []
    limits: dict[str, str] = {}
    try:
        await first.exists(attempted, f"i-{KEY}")
        rights.append("ecs:DeleteInstance")
    except ProviderCredentialsError as error:
        problems.append(f"machines could not be destroyed: {error.answer}")
    reports: list[RegionReport] = []
    for region in regions:
        reports.append(await _region(region, image_of))
        try:
            found = await region.limits(attempted)
        except ProviderCredentialsError:
            continue  # Nothing else needs this right.
        limits |= {f"{region.name}: {name}": value for name, value in found.items()}
    if not all(each.problems for each in reports):
        rights.append("ecs:RunInstances")
    return ProviderReport(key_id, tuple(rights), tuple(reports), limits, tuple(problems))


async def _region(region: AlibabaRegion, image_of: ImageOf) -> RegionReport:
    spec = MachineSpec(
        region=region.name,
        user_data=SecretBytes(b"#cloud-config\n"),
        owner="relight",
        generation=1,
    )
    architecture = region.location.architecture
    try:
        image = await image_of(region, spec)
    except (ProviderInvalidError, ProviderCredentialsError) as error:
        return RegionReport(region.name, architecture, None, (error.answer,))
    params = {**creation(KEY, spec, region), **image, "DryRun": "true"}
    found = [await _why_not(region, attempt, params) for attempt in attempts(region.location)]
    problems = tuple(problem for problem in found if problem)
    return RegionReport(region.name, architecture, next(iter(image.values())), problems)


async def _why_not(
    region: AlibabaRegion, attempt: Attempt, params: Mapping[str, str]
) -> str | None:
    """Return why no machine could be created in a zone with a shape; None if one could."""
    try:
        await region.create(f"check {region.name}", {**params, **where(region, attempt)})
    except DryRunPassedError:
        return None
    except ProviderUnavailableError:
        raise
    except ProviderError as error:
        return f"{attempt}: {error.answer}"
    return f"{attempt}: the dry run has created a machine"
