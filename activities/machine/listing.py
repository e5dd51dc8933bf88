"""The machines that a provider lists, within a time limit."""

import asyncio
from datetime import timedelta

from relight.domain.duration import span
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import ProviderDriver, ProviderUnavailableError

LISTING_TIMEOUT = timedelta(seconds=60)


async def list_machines(driver: ProviderDriver, region: str | None = None) -> ProviderListing:
    """Return a provider's machines in a region; None means all regions.

    Raises:
        ProviderError: it failed, or there was no answer within `LISTING_TIMEOUT`.
    """
    try:
        async with asyncio.timeout(LISTING_TIMEOUT.total_seconds()):
            return await driver.list(region)
    except TimeoutError as error:
        raise ProviderUnavailableError(
            driver.name,
            f"list the machines in {region or 'all regions'}",
            f"no listing within {span(LISTING_TIMEOUT)}",
        ) from error
