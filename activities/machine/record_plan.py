"""What a sweep would do about listed machines and their records, whatever operations run."""

from collections.abc import Sequence
from datetime import UTC, datetime

from relight.domain.machine import MachineOnRecord
from relight.domain.sweep.planner import SweepView, plan_sweep
from relight.domain.sweep.sweep import ProviderListing, SweepPlan, SweepPolicy
from relight.store.store import Store


def plan_of_records(
    store: Store,
    listings: Sequence[ProviderListing],
    records: Sequence[MachineOnRecord],
    policy: SweepPolicy,
) -> SweepPlan:
    """Return the plan for these listings and records.

    Running operations do not count: the caller holds the machine's lock, or changes nothing.
    """
    view = SweepView(
        listings=listings,
        open_workflows=frozenset(),
        records=records,
        route_ids=store.sweeps.route_ids(),
        newest=store.sweeps.newest(),
    )
    return plan_sweep(view, policy, datetime.now(UTC))
