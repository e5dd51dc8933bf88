"""What is observed outside of the store: machines at providers, open workflows, connectivity."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from temporalio.client import Client

from activities.machine.listing import list_machines
from relight.connectivity import ConnectivityCheck, run_all
from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.fault.error import DomainError
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import ProviderDriver

OPEN_OPERATIONS = (
    "ExecutionStatus = 'Running' AND (WorkflowId STARTS_WITH 'route/' "
    "OR WorkflowId STARTS_WITH 'machine/' OR WorkflowId STARTS_WITH 'pool/' "
    "OR WorkflowId STARTS_WITH 'rollout/')"
)


@dataclass(frozen=True)
class Outside:
    """What was observed outside of the store.

    Attributes:
        listings: of the providers that answered.
        unobserved: what could not be observed, each with the reason.
        open_workflows: the ids of the workflows that run.
        connectivity: the results of all connectivity checks.
    """

    listings: tuple[ProviderListing, ...]
    unobserved: tuple[str, ...]
    open_workflows: frozenset[str]
    connectivity: tuple[ConnectivityResult, ...]


@dataclass(frozen=True)
class OutsideObserver:
    """Observes it, first the providers, then the workflows, as the sweep needs it."""

    drivers: Mapping[str, ProviderDriver]
    connectivity: Sequence[ConnectivityCheck]
    temporal: Client

    async def observe(self) -> Outside:
        """Ask the providers and the connectivity checks, then Temporal."""
        connectivity, answers = await asyncio.gather(
            run_all(self.connectivity),
            asyncio.gather(*(self._list(name) for name in sorted(self.drivers))),
        )
        listings = tuple(each for each in answers if isinstance(each, ProviderListing))
        return Outside(
            listings=listings,
            unobserved=(
                *(each for each in answers if isinstance(each, str)),
                *(
                    f"{each.provider}: the listing is incomplete"
                    for each in listings
                    if not each.complete
                ),
            ),
            open_workflows=await self.open_workflows(),
            connectivity=connectivity,
        )

    async def _list(self, provider: str) -> ProviderListing | str:
        """Return the machines at a provider, or why it gave no listing."""
        try:
            return await list_machines(self.drivers[provider])
        except DomainError as error:
            return str(error)

    async def open_workflows(self) -> frozenset[str]:
        """Return the ids of the running operations on routes, machines, pools and rollouts."""
        found = self.temporal.list_workflows(OPEN_OPERATIONS)
        return frozenset([execution.id async for execution in found])
