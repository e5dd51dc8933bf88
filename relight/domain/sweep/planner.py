"""The plan of a sweep: what is done about machines, records and operations that do not match.

A machine is destroyed only if it has our tag, is older than the grace, and no workflow may be
working on it. With too many mismatches at once our records or the provider's listing are probably
wrong, as after a restore of an old backup of the store: then a person is asked.

The order of reading matters: first the provider's listing, then the open workflows, then the
records. Whatever an operation created and recorded before it ended is then always on record. Each
step runs under the workflow id that locks its machine (`lock_of`) and checks the machine again
there, because an operation may have started since.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from relight.domain.clock import is_future
from relight.domain.destruction import destruction_refusal
from relight.domain.machine import MachineAtProvider, MachineOnRecord, MachineStatus, RecordedAs
from relight.domain.names import (
    RouteId,
    key_number,
    machine_workflow_id,
    route_workflow_id,
)
from relight.domain.pool.pool import pool_machine_key, pool_workflow_id
from relight.domain.sweep.sweep import (
    OpenOperation,
    ProviderListing,
    SweepAction,
    SweepPlan,
    SweepPolicy,
    SweepStep,
)

LIVE = frozenset({RecordedAs.PLANNED, RecordedAs.RUNNING})
"""Recorded statuses of machines that exist or may exist."""

CHANGES = frozenset({SweepStep.ADOPT, SweepStep.DESTROY, SweepStep.MARK_LOST, SweepStep.CLOSE})
"""Steps that change something; the others are only reported."""

_ROUTE_KEY = re.compile(r"(?P<route>[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?)-g(?P<number>[1-9][0-9]*)")


@dataclass(frozen=True)
class SweepView:
    """The input of a sweep, read in this order.

    Attributes:
        listings: the machines of each provider. A provider that did not answer is missing; an
            incomplete listing is ignored.
        open_workflows: the ids of all open workflows.
        records: every machine on record that may exist, and those of the listings that are recorded
            as destroyed.
        operations: the operations that are open on record.
        route_ids: every route on record.
        newest: the highest number of all keys on record, by the key without its number.
    """

    listings: Sequence[ProviderListing]
    open_workflows: Set[str]
    records: Sequence[MachineOnRecord]
    operations: Sequence[OpenOperation] = ()
    route_ids: Set[RouteId] = frozenset()
    newest: Mapping[str, int] = field(default_factory=dict)


def plan_sweep(view: SweepView, policy: SweepPolicy, now: datetime) -> SweepPlan:
    """Return the steps of a sweep. The result does not depend on the order of the input.

    Args:
        view: the input.
        policy: our ownership tag, the grace, and the limits.
        now: the time of the sweep, with its time zone.
    """
    found = [_operation_step(each, view, policy, now) for each in view.operations]
    records = {record.key: record for record in view.records}
    for listing in view.listings:
        if not listing.complete:
            continue
        steps = _provider_steps(listing, records, view, policy, now)
        found += _ask_if_too_many(steps, listing, view, policy)
    actions = sorted((each for each in found if each is not None), key=_order)
    changes = [each for each in actions if each.step in CHANGES]
    others = [each for each in actions if each.step not in CHANGES]
    return SweepPlan(
        actions=tuple(changes[: policy.max_steps]),
        left=(*others, *changes[policy.max_steps :]),
        counts=dict(sorted(Counter(each.step for each in actions).items())),
    )


def lock_of(key: str, provider: str, region: str, route_id: RouteId | None = None) -> str | None:
    """Return the workflow id that locks a machine; None for a key that is not ours.

    Args:
        key: the machine's.
        provider: name of the provider's driver.
        region: the provider's name of the region.
        route_id: its route on record, which may differ from the route in its key.
    """
    if route_id is not None:
        return route_workflow_id(route_id)
    if pool_number(key, provider, region) is not None:
        return pool_workflow_id(provider, region)
    made_for = _ROUTE_KEY.fullmatch(key)
    return route_workflow_id(made_for["route"]) if made_for else None


def lock_of_record(record: MachineOnRecord) -> str | None:
    """Return the workflow id that locks a recorded machine; a draining or kept one has its own."""
    if record.draining or record.kept:
        return machine_workflow_id(record.key)
    return lock_of(record.key, record.provider, record.region, record.route_id)


def pool_number(key: str, provider: str, region: str) -> int | None:
    """Return a pool machine's number; None for a key that does not belong to this region's pool."""
    number = key.rpartition("-")[-1]
    if not re.fullmatch("[1-9][0-9]*", number):
        return None
    return int(number) if pool_machine_key(provider, region, int(number)) == key else None


def numbered(key: str) -> tuple[str, int]:
    """Return a key without its number, and the number: `eu-1-g2` is `eu-1-g` and 2."""
    number = key_number(key)
    return key.removesuffix(str(number)), number


def _operation_step(
    operation: OpenOperation, view: SweepView, policy: SweepPolicy, now: datetime
) -> SweepAction | None:
    if operation.workflow_id in view.open_workflows:
        return None
    step, reason = SweepStep.CLOSE, f"{operation.workflow_id}: its workflow has ended"
    # Of one that was opened in the future the age is unknown; its workflow is checked again.
    if now - operation.opened_at < policy.grace and not is_future(operation.opened_at, now):
        step, reason = SweepStep.WAIT, f"{reason}, but it began only at {operation.opened_at}"
    return SweepAction(step=step, reason=reason, operation=operation)


def _provider_steps(
    listing: ProviderListing,
    records: Mapping[str, MachineOnRecord],
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> list[SweepAction]:
    """Return the steps for the machines of a listing, and for the records missing in it."""
    found: list[SweepAction] = []
    copies = Counter(machine.key for machine in listing.machines)
    ids = {machine.provider_id for machine in listing.machines}
    served = {record.route_id for record in records.values() if _serves(record)}
    for machine in listing.machines:
        record = records.get(machine.key)
        if machine.owner != policy.owner and (record is None or record.recorded_as not in LIVE):
            continue  # Not ours.
        decided = (
            (SweepStep.ASK, f"{copies[machine.key]} machines have the key {machine.key}")
            if copies[machine.key] > 1
            else _doubt(machine, record, records, view, copies)
            or _machine_step(machine, record, view, served, policy, now)
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
        # One that somebody relabelled has its id still.
        missing = (
            record.provider == listing.provider
            and record.key not in copies
            and record.provider_id not in ids
        )
        if missing and record.recorded_as in LIVE:
            step, reason = _missing_step(record, listing, view, policy, now)
            found.append(
                SweepAction(step=step, reason=reason, key=record.key, provider=listing.provider)
            )
    return found


def _doubt(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    records: Mapping[str, MachineOnRecord],
    view: SweepView,
    listed: Mapping[str, int],
) -> tuple[SweepStep, str] | None:
    """Return `doubt` if a machine is newer than our records, None if it is not.

    Every key is on record before its machine is created. A machine that was only planned may serve
    its route by now, if the one that serves it on record does not exist. And a removal begins once
    another machine serves, and that is on record.
    """
    if record is None:
        stem, number = numbered(machine.key)
        newest = view.newest.get(stem, 0)
        ours = lock_of(machine.key, machine.provider, machine.region) is not None
        if not ours or machine.generation != number or number <= newest:
            return None
        known = f"the newest on record is {stem}{newest}" if newest else "none is on record"
        return SweepStep.DOUBT, f"machine {machine.key} is not on record; {known}"
    if _serves(record) and machine_workflow_id(record.key) in view.open_workflows:
        adopt = "`relight store adopt-current`, with --serves,"
        keep = f"`relight machine keep {record.key}` ends it if the record is right"
        reason = f"machine {record.key} serves route {record.route_id} on record, and its removal"
        reason = f"{reason} runs: {adopt} records which machine serves it now, {keep}"
        return SweepStep.DOUBT, reason
    if record.recorded_as is not RecordedAs.PLANNED or record.route_id is None:
        return None
    serving = [each for each in records.values() if _serves(each)]
    for each in serving:
        if each.route_id == record.route_id and each.key not in listed:
            reason = f"machine {record.key} is only planned on record, and {each.key}, which serves"
            return SweepStep.DOUBT, f"{reason} route {each.route_id} on record, is not listed"
    return None


def _machine_step(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    served: Set[RouteId | None],
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str] | None:
    """Return the step for a machine with our tag or our key; None if it matches its record."""
    if record is not None and record.recorded_as in LIVE:
        if mismatch := _mismatch(record, machine, policy):
            return SweepStep.ASK, mismatch
        if _serves(record):
            return None
    leftover = _kept(record) or _leftover(machine, record, view, served)
    if leftover is None:
        return None
    if postponed := _postponed(machine, record, view, policy, now):
        return postponed
    mismatch = None
    if record is not None:
        mismatch = _mismatch(record, machine, policy)
    elif leftover[0] is SweepStep.DESTROY:
        mismatch = _tag_mismatch(machine)
    return (SweepStep.ASK, f"{leftover[1]}; {mismatch}") if mismatch else leftover


def _postponed(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str] | None:
    """Return `wait` or `ask` with the reason if a machine may not be changed now, else None."""
    key, route_id = machine.key, record.route_id if record else None
    if machine.status is MachineStatus.DELETING:
        return SweepStep.WAIT, f"machine {key} is being deleted"
    lock = lock_of(key, machine.provider, machine.region, route_id)
    if lock is None:
        return SweepStep.ASK, f"machine {key} has our tag, but not a key of ours"
    if (holder := _holder(key, lock, view)) is not None:
        return SweepStep.WAIT, f"machine {key}: {holder} is under way"
    if machine.created_at is None:
        return SweepStep.ASK, f"machine {key}: its provider does not report its age"
    if is_future(machine.created_at, now):
        when = f"{machine.created_at:%Y-%m-%d %H:%M} UTC"
        return SweepStep.ASK, f"machine {key} was created at {when}, in the future: check the clock"
    if now - machine.created_at < policy.grace:
        return SweepStep.WAIT, f"machine {key} was created only at {machine.created_at}"
    return None


def _holder(key: str, lock: str | None, view: SweepView) -> str | None:
    """Return the open workflow that may be working on a machine: under `lock`, or its removal."""
    holders = (lock, machine_workflow_id(key))
    return next((each for each in holders if each in view.open_workflows), None)


def _kept(record: MachineOnRecord | None) -> tuple[SweepStep, str] | None:
    if record is None or not record.kept:
        return None
    remove = f"`relight machine remove {record.key}` removes it"
    return SweepStep.KEEP, f"a person keeps machine {record.key}: {remove}"


def _leftover(
    machine: MachineAtProvider,
    record: MachineOnRecord | None,
    view: SweepView,
    served: Set[RouteId | None],
) -> tuple[SweepStep, str] | None:
    """Return the step for a machine of ours that is old enough; None if it is in use."""
    if record is None:
        if pool_number(machine.key, machine.provider, machine.region) is not None:
            return SweepStep.ADOPT, f"pool machine {machine.key} is not on record"
        made_for = _ROUTE_KEY.fullmatch(machine.key)
        route_id = made_for["route"] if made_for else ""
        if route_id in view.route_ids and route_id not in served:
            reason = f"route {route_id} has no machine, and {machine.key} has its key"
            return SweepStep.ADOPT, reason
        route = f"route {route_id} has another" if route_id in served else "its route is unknown"
        return SweepStep.DESTROY, f"machine {machine.key} is not on record, and {route}"
    if record.recorded_as is RecordedAs.LOST:
        return SweepStep.ADOPT, f"machine {machine.key} is recorded as lost, but exists"
    if record.recorded_as is RecordedAs.DESTROYED:
        return SweepStep.DESTROY, f"machine {machine.key} is recorded as destroyed, but exists"
    if record.draining or (record.route_id is not None and record.route_id in served):
        reason = f"machine {machine.key} does not serve route {record.route_id} any more"
        return SweepStep.DESTROY, reason
    if record.recorded_as is RecordedAs.PLANNED:
        return SweepStep.ADOPT, f"machine {machine.key} is recorded as planned, and exists"
    return None


def _tag_mismatch(machine: MachineAtProvider) -> str | None:
    """Return how the tag of an unrecorded machine differs from its key, None if it does not."""
    made_for = _ROUTE_KEY.fullmatch(machine.key)
    if made_for is not None and machine.generation == int(made_for["number"]):
        return None
    return f"its tag has generation {machine.generation}"


def _mismatch(
    record: MachineOnRecord, machine: MachineAtProvider, policy: SweepPolicy
) -> str | None:
    """Return how a record and the machine of its key differ, None if they do not."""
    expected = record.model_copy(update={"serves": False})
    if record.provider_id is None:
        expected = expected.model_copy(update={"provider_id": machine.provider_id})
    return destruction_refusal(expected, machine, policy.owner)


def _missing_step(
    record: MachineOnRecord,
    listing: ProviderListing,
    view: SweepView,
    policy: SweepPolicy,
    now: datetime,
) -> tuple[SweepStep, str]:
    lock = lock_of(record.key, record.provider, record.region, record.route_id)
    if (holder := _holder(record.key, lock, view)) is not None:
        return SweepStep.WAIT, f"machine {record.key} is not listed; {holder} is under way"
    young = min(now, listing.asked_at) - record.recorded_at < policy.grace
    if young and not is_future(record.recorded_at, now):
        reason = f"machine {record.key} was recorded only at {_moment(record.recorded_at)}"
        return SweepStep.WAIT, reason
    # A listing may lack a machine that exists: one alone is no evidence.
    if record.serves or record.in_pool:
        since = record.gone_since
        if since is None or now - since < policy.gone_for:
            reason = f"machine {record.key} is not listed"
            return SweepStep.WAIT, f"{reason} since {_moment(since)}" if since else reason
    return SweepStep.MARK_LOST, f"{record.provider} has no machine {record.key}"


def _ask_if_too_many(
    found: Sequence[SweepAction],
    listing: ProviderListing,
    view: SweepView,
    policy: SweepPolicy,
) -> list[SweepAction]:
    """Return the steps. Of a kind with too many at once, all are turned into `ask`."""
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
        if count >= policy.min_mismatches and count > policy.max_mismatch_share * whole:
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


# Records are corrected first; destruction comes last.
_FIRST = (SweepStep.CLOSE, SweepStep.MARK_LOST, SweepStep.ADOPT, SweepStep.DESTROY)


def _order(action: SweepAction) -> tuple[int, str, str, str, str]:
    rank = _FIRST.index(action.step) if action.step in _FIRST else len(_FIRST)
    machine_id = action.machine.provider_id if action.machine else ""
    workflow = action.operation.workflow_id if action.operation else ""
    return rank, action.provider, action.key, machine_id, workflow


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
