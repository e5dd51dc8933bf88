"""Whether a machine that is spare by our records may serve a route by now. Nothing is changed.

Records that were restored from a backup do not know which route has claimed a machine of a pool
since. Two things show that: the provider has machines that are newer than the record, or lacks one
that a route has on record.
"""

from collections.abc import Sequence

from activities.machine.listing import list_machines
from activities.machine.record_plan import plan_of_records
from relight.domain.machine import MachineAtProvider, MachineOnRecord, RecordedAs
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import ProviderListing, SweepPolicy, SweepStep
from relight.providers.driver import ProviderDriver
from relight.store.store import Store
from relight.store.threads import in_thread


class RecordDoubt:
    """Compares the record with a listing of the provider."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store = store
        self._owner = owner

    async def why(self, driver: ProviderDriver, spare: MachineAtProvider) -> str | None:
        """Return why a spare machine may serve a route; None if nothing speaks for that.

        Raises:
            ProviderError: the provider gave no listing.
        """
        listing = await list_machines(driver)
        if not listing.complete:
            return f"the listing of {driver.name} is not complete"
        return await in_thread(self._judge, listing, spare)

    def _judge(self, listing: ProviderListing, spare: MachineAtProvider) -> str | None:
        records = self._store.sweeps.machines({each.key for each in listing.machines})
        plan = plan_of_records(self._store, [listing], records, SweepPolicy(owner=self._owner))
        newer = next((each.reason for each in plan.left if each.step is SweepStep.DOUBT), None)
        return newer or self._missing(listing, records, spare)

    def _missing(
        self,
        listing: ProviderListing,
        records: Sequence[MachineOnRecord],
        spare: MachineAtProvider,
    ) -> str | None:
        """Return which route has a machine on record that its provider lacks; None if none has."""
        listed = {each.key for each in listing.machines}
        ids = {each.provider_id for each in listing.machines}
        serving = {
            route.route_id: route.machine.key if route.machine else None
            for route in self._store.routes.list()
            if route.status is not RouteStatus.RETIRED
        }
        for record in records:
            if (record.provider, record.region) != (spare.provider, spare.region):
                continue
            is_lost = record.recorded_as is RecordedAs.LOST and not record.draining
            if not (record.serves or is_lost) or record.route_id not in serving:
                continue
            has_another = serving[record.route_id] not in (None, record.key)
            if not has_another and record.key not in listed and record.provider_id not in ids:
                return (
                    f"{listing.provider} has no machine {record.key}, which route "
                    f"{record.route_id} has on record"
                )
        return None
