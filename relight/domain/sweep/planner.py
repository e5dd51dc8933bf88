"""What is done about machines, records and operations that do not fit each other.

Nothing is destroyed that is not tagged ours, is younger than the grace or of unknown age, or whose
workflow may be under way. Where too much does not fit at once, it is our records or the provider's
listing that is wrong, as after a store was restored from yesterday's copy: nothing follows then.

The order of reading matters: first the provider's listing, then the open workflows, then the
records. What an operation created and wrote down before it ended is then always found on record.
The steps themselves are taken under the workflow id of what they are about (`lock_of`), and looked
at once more there: an operation that began since may have taken the machine up.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from relight.domain.machine import MachineStatus
from relight.domain.names import RouteId, route_workflow_id
from relight.domain.pool.pool import pool_machine_key, pool_workflow_id
from relight.domain.remediation import why_not_destroy
from relight.domain.sweep.sweep import (
    MachineAtProvider,
    MachineOnRecord,
    OpenOperation,
    ProviderListing,
    RecordedAs,
    SweepAction,
    SweepPlan,
    SweepPolicy,
    SweepStep,
)

LIVE = frozenset({RecordedAs.PLANNED, RecordedAs.RUNNING})
"""Records that say that a machine exists, or may."""

CHANGES = frozenset({SweepStep.ADOPT, SweepStep.DESTROY, SweepStep.MARK_LOST, SweepStep.CLOSE})
"""Steps that change something; the others are told only."""

_ROUTE_KEY = re.compile(r"(?P<route>[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?)-g(?P<number>[1-9][0-9]*)")


@dataclass(frozen=True)
class SweepView:
    """What a sweep sees, read in this order.

    Attributes:
        listings: what each provider has. One that could not be asked is not among them; one that
            came in part says nothing, neither of what is missing nor of what is there twice.
        open_workflows: the ids of all workflows that are under way.
        records: every machine on record, those that were destroyed too.
        operations: those that our record says are under way.
        route_ids: every route on record.
    """

    listings: Sequence[ProviderListing]
    open_workflows: Set[str]
    records: Sequence[MachineOnRecord]
    operations: Sequence[OpenOperation] = ()
    route_ids: Set[RouteId] = frozenset()


def plan_sweep(view: SweepView, policy: SweepPolicy, now: datetime) -> SweepPlan:
    """Return what is done about whatever does not fit, the same for the same view in any order.

    Args:
        view: what the sweep sees.
        policy: our ownership tag, the grace, and how much at once is not believed.
        now: the instant of the sweep, with its time zone.
    """
    found = [_operation(each, view, policy, now) for each in view.operations]
    records = {record.key: record for record in view.records}
    for listing in view.listings:
        if not listing.complete:
            continue
        found += _doubted(_of_provider(listing, records, view, policy, now), listing, view, policy)
    actions = sorted((each for each in found if each is not None), key=_order)
    changes = [each for each in actions if each.step in CHANGES]
    others = [each for each in actions if each.step not in CHANGES]
    return SweepPlan(
        actions=tuple(changes[: policy.at_most]),
        left=(*others, *changes[policy.at_most :]),
        counts=dict(sorted(Counter(each.step for each in actions).items())),
    )


def lock_of(key: str, provider: str, region: str, route_id: RouteId | None = None) -> str | None:
    """Return the id of the workflow that alone may work on a machine; None for no key of ours.

    Args:
        key: the machine's.
        provider: the driver's name.
        region: the provider's name of where it stands.
        route_id: the route that it belongs to by our record, whatever its key says.
    """
    if route_id is not None:
        return route_workflow_id(route_id)
    if pool_number(key, provider, region) is not None:
        return pool_workflow_id(provider, region)
    made_for = _ROUTE_KEY.fullmatch(key)
    return route_workflow_id(made_for["route"]) if made_for else None


def pool_number(key: str, provider: str, region: str) -> int | None:
    """Return a pool machine's number; None for a key that is not of this region's pool."""
    number = key.rpartition("-")[-1]
    if not re.fullmatch("[1-9][0-9]*", number):
        return None
    return int(number) if pool_machine_key(provider, region, int(number)) == key else None


def _operation(
    operation: OpenOperation, view: SweepView, policy: SweepPolicy, now: datetime
) -> SweepAction | None:
    if operation.workflow_id in view.open_workflows:
        return None
    step, reason = SweepStep.CLOSE, f"{operation.workflow_id}: its workflow is gone"
    if now - operation.opened_at < policy.grace:
        step, reason = SweepStep.WAIT, f"{reason}, but it began only at {operation.opened_at}"
    return SweepAction(step=step, reason=reason, operation=operation)


def _of_provider(
    listing: ProviderListing,
    records: Mapping[str, MachineOnRecord],
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> list[SweepAction]:
    """Return what follows for each machine of a listing, and for each record that it lacks."""
    found: list[SweepAction] = []
    copies = Counter(machine.key for machine in listing.machines)
    served = {record.route_id for record in records.values() if _serves(record)}
    for machine in listing.machines:
        record = records.get(machine.key)
        if machine.owner != policy.owner and (record is None or record.recorded_as not in LIVE):
            continue  # Another's, which is nothing to us.
        decided = (
            (SweepStep.ASK, f"{copies[machine.key]} machines have the key {machine.key}")
            if copies[machine.key] > 1
            else _machine(machine, record, view, served, policy, now)
        )
        if decided is not None:
            step, reason = decided
            found.append(
                SweepAction(
                    step=step,
                    reason=reason,
                    key=machine.key,
                    provider=listing.provider,
                    machine=machine,
                )
            )
    for record in records.values():
        missing = record.provider == listing.provider and record.key not in copies
        if missing and record.recorded_as in LIVE:
            step, reason = _missing(record, listing, view, policy, now)
            found.append(
                SweepAction(step=step, reason=reason, key=record.key, provider=listing.provider)
            )
    return found


def _machine(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    served: Set[RouteId | None],
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str] | None:
    """Return what is done about a machine that is ours, or has a key of ours; None if it fits."""
    if record is not None and record.recorded_as in LIVE:
        if why := _mismatch(record, machine, policy):
            return SweepStep.ASK, why
        if _serves(record):
            return None
    left_over = _leftover(machine, record, view, served)
    if left_over is None:
        return None
    if held := _held(machine, record, view, policy, now):
        return held
    mismatch: str | None = None
    if record is not None:
        mismatch = _mismatch(record, machine, policy)
    elif left_over[0] is SweepStep.DESTROY:
        mismatch = _not_its_key(machine)
    return (SweepStep.ASK, f"{left_over[1]}; {mismatch}") if mismatch else left_over


def _held(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str] | None:
    """Return why a machine is left as it is for now, whatever it is; None if nothing holds it."""
    key, route_id = machine.key, record.route_id if record else None
    if machine.status is MachineStatus.DELETING:
        return SweepStep.WAIT, f"machine {key} is on its way to its end"
    lock = lock_of(key, machine.provider, machine.region, route_id)
    if lock is None:
        return SweepStep.ASK, f"machine {key} bears our tag, and no key of ours"
    if lock in view.open_workflows:
        return SweepStep.WAIT, f"machine {key}: {lock} is under way"
    if machine.created_at is None:
        return SweepStep.ASK, f"machine {key}: its provider does not say how old it is"
    if now - machine.created_at < policy.grace:
        return SweepStep.WAIT, f"machine {key} was created only at {machine.created_at}"
    return None


def _leftover(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    served: Set[RouteId | None],
) -> tuple[SweepStep, str] | None:
    """Return what a machine of ours asks for once it is old enough; None if it fits."""
    if record is None:
        if pool_number(machine.key, machine.provider, machine.region) is not None:
            return SweepStep.ADOPT, f"machine {machine.key} is the pool's, and not on record"
        made_for = _ROUTE_KEY.fullmatch(machine.key)
        route_id = made_for["route"] if made_for else ""
        if route_id in view.route_ids and route_id not in served:
            return SweepStep.ADOPT, f"route {route_id} has no machine, and {machine.key} is its"
        whose = f"route {route_id} has another" if route_id in served else "its route is unknown"
        return SweepStep.DESTROY, f"machine {machine.key} is not on record, and {whose}"
    if record.recorded_as is RecordedAs.LOST:
        return SweepStep.ADOPT, f"machine {machine.key} was believed lost"
    if record.recorded_as is RecordedAs.DESTROYED:
        return SweepStep.DESTROY, f"machine {machine.key} should be gone, and is not"
    if record.route_id is not None and record.route_id in served:
        reason = f"machine {machine.key}: route {record.route_id} is served by another"
        return SweepStep.DESTROY, reason
    if record.recorded_as is RecordedAs.PLANNED:
        return SweepStep.ADOPT, f"machine {machine.key} was planned, and is there"
    return None


def _not_its_key(machine: MachineAtProvider) -> str | None:
    """Return why an unrecorded machine is not what its key says, None if its tag agrees."""
    made_for = _ROUTE_KEY.fullmatch(machine.key)
    if made_for is not None and machine.generation == int(made_for["number"]):
        return None
    return f"its tag says generation {machine.generation}"


def _mismatch(
    record: MachineOnRecord, machine: MachineAtProvider, policy: SweepPolicy
) -> str | None:
    """Return in what a record and the machine of its key differ, None if in nothing."""
    as_seen = record.model_copy(update={"serves": False})
    if record.provider_id is None:
        as_seen = as_seen.model_copy(update={"provider_id": machine.provider_id})
    return why_not_destroy(as_seen, machine, policy.owner)


def _missing(
    record: MachineOnRecord,
    listing: ProviderListing,
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str]:
    lock = lock_of(record.key, record.provider, record.region, record.route_id)
    if lock in view.open_workflows:
        return SweepStep.WAIT, f"machine {record.key} is not listed; {lock} is under way"
    if min(now, listing.asked_at) - record.recorded_at < policy.grace:
        return SweepStep.WAIT, f"machine {record.key} is on record only since {record.recorded_at}"
    return SweepStep.MARK_LOST, f"{record.provider} has no machine {record.key}"


def _doubted(
    found: Sequence[SweepAction],
    listing: ProviderListing,
    view: SweepView,
    policy: SweepPolicy,
) -> list[SweepAction]:
    """Return the steps, those that too much asks for at once turned into waiting."""
    ours = sum(machine.owner == policy.owner for machine in listing.machines)
    live = sum(
        record.provider == listing.provider and record.recorded_as in LIVE
        for record in view.records
    )
    doubts: dict[SweepStep, str] = {}
    for step, whole, what in (
        (SweepStep.DESTROY, ours, "machines would be destroyed: are our records whole?"),
        (SweepStep.MARK_LOST, live, "machines are not listed: is the listing whole?"),
    ):
        count = sum(each.step is step for each in found)
        if count >= policy.doubt_at_least and count > policy.doubt_share * whole:
            doubts[step] = f"{count} of {listing.provider}'s {whole} {what}"
    return [
        each.model_copy(
            update={"step": SweepStep.ASK, "reason": f"{each.reason}; {doubts[each.step]}"}
        )
        if each.step in doubts
        else each
        for each in found
    ]


def _serves(record: MachineOnRecord) -> bool:
    return record.serves and record.recorded_as is RecordedAs.RUNNING


# Records are put right first, so that what is destroyed comes last.
_FIRST = (SweepStep.CLOSE, SweepStep.MARK_LOST, SweepStep.ADOPT, SweepStep.DESTROY)


def _order(action: SweepAction) -> tuple[int, str, str, str, str]:
    turn = _FIRST.index(action.step) if action.step in _FIRST else len(_FIRST)
    machine_id = action.machine.provider_id if action.machine else ""
    workflow = action.operation.workflow_id if action.operation else ""
    return turn, action.provider, action.key, machine_id, workflow


def destroyed_by(plan: Iterable[SweepAction]) -> tuple[MachineAtProvider, ...]:
    """Return the machines that the steps destroy."""
    return tuple(each.machine for each in plan if each.step is SweepStep.DESTROY and each.machine)
