"""What machines do at their providers: one listing per region and interval, for all that wait.

A request for each machine would exceed the rate limits of providers: a hundred machines that boot
are one request per interval here.
"""

import asyncio
import time
from datetime import timedelta

from activities.machine.listing import list_machines
from relight.domain.machine import MachineAtProvider
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    ProviderDriver,
    ProviderRateLimitedError,
)
from relight.shared_reads import SharedReads

POLL = timedelta(seconds=2)
"""Between the beginnings of two listings of a region."""

MAX_POLL = timedelta(minutes=1)
"""While a provider limits the rate of requests, the interval doubles up to this, or is what the
provider asks for. Then it is an error: whoever waits is tried again."""


async def search(
    driver: ProviderDriver, key: str, provider_id: str | None
) -> MachineAtProvider | None:
    """Return the machine with a key, or else with an id; None if the provider has neither.

    A search by key may lack a machine that another worker has just created, or that somebody
    relabelled.

    Raises:
        ProviderError: it gave no answer.
    """
    found = await driver.find(key)
    return found if found is not None or not provider_id else await driver.get(provider_id)


class MachinePolls:
    """The listings of all regions that something waits for."""

    def __init__(self) -> None:
        self._reads: SharedReads[ProviderListing] = SharedReads()
        self._began: dict[str, float] = {}

    async def next(
        self, driver: ProviderDriver, region: str | None, key: str, provider_id: str | None
    ) -> MachineAtProvider | None:
        """Return what the next listing has of a machine; None if the provider has none.

        A listing may lack a new machine, or be incomplete: what it does not have once is searched.

        Args:
            driver: of the provider.
            region: of the machine; None lists all regions.
            key: of the machine.
            provider_id: of the machine; None if it is not known.

        Raises:
            ProviderError: the listing or the search failed.
        """
        name = f"{driver.name}/{region or '*'}"
        listing = await self._reads.get(name, lambda: self._list(name, driver, region))
        found = [machine for machine in listing.machines if machine.key == key]
        return found[0] if len(found) == 1 else await search(driver, key, provider_id)

    async def _list(self, name: str, driver: ProviderDriver, region: str | None) -> ProviderListing:
        interval = POLL
        while True:
            since = time.monotonic() - self._began.get(name, float("-inf"))
            await asyncio.sleep(max(interval.total_seconds() - since, 0))
            self._began[name] = time.monotonic()
            try:
                return await list_machines(driver, region)
            except ProviderRateLimitedError as error:
                asked = error.retry_after or timedelta(0)
                if interval >= MAX_POLL or asked > MAX_POLL:
                    raise
                interval = min(max(interval * 2, asked), MAX_POLL)
