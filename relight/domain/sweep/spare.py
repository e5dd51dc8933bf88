"""Whether a machine that is spare by our records may serve a route by now.

Records that were restored from a backup do not know which route has claimed a machine of a pool
since. Two things show that: the provider has machines that are newer than the record, or lacks one
that a route has on record.
"""

from datetime import datetime

from relight.domain.machine import MachineAtProvider, RecordedAs
from relight.domain.sweep.planner import SweepView, plan_sweep
from relight.domain.sweep.sweep import ProviderListing, SweepPolicy, SweepStep


def why_spare_may_serve(
    view: SweepView, spare: MachineAtProvider, policy: SweepPolicy, now: datetime
) -> str | None:
    """Return why a spare machine may serve a route; None if nothing speaks for that.

    Args:
        view: what the machine's provider lists, with the records of that.
        spare: the machine.
        policy: of a sweep.
        now: the current time, with its time zone.
    """
    for listing in view.listings:
        if not listing.complete:
            return f"the listing of {listing.provider} is not complete"
    plan = plan_sweep(view, policy, now)
    newer = (each.reason for each in plan.left if each.step is SweepStep.DOUBT)
    missing = (_missing(view, listing, spare) for listing in view.listings)
    return next(newer, None) or next(filter(None, missing), None)


def _missing(view: SweepView, listing: ProviderListing, spare: MachineAtProvider) -> str | None:
    """Return which route has a machine on record that its provider lacks; None if none has."""
    listed = {each.key for each in listing.machines}
    ids = {each.provider_id for each in listing.machines}
    serving = {each.route_id: each.key for each in view.records if each.serves}
    for record in view.records:
        if (record.provider, record.region) != (spare.provider, spare.region):
            continue
        is_lost = record.recorded_as is RecordedAs.LOST and not record.draining
        if not (record.serves or is_lost) or record.route_id not in view.route_ids:
            continue
        has_another = serving.get(record.route_id) not in (None, record.key)
        if not has_another and record.key not in listed and record.provider_id not in ids:
            return (
                f"{listing.provider} has no machine {record.key}, which route "
                f"{record.route_id} has on record"
            )
    return None
