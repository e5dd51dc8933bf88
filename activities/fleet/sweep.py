"""One machine of a sweep, looked at once more under its lock, and what was done written down."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from activities import policies
from activities.operation import current_operation
from relight.domain.reconcile.run import (
    MachineObserved,
    RecordSweptInput,
    SweepMachineInput,
)
from relight.domain.route import Recorded
from relight.domain.sweep.planner import SweepView, plan_sweep
from relight.domain.sweep.sweep import (
    MachineOnRecord,
    ProviderListing,
    SweepAction,
    SweepPolicy,
    SweepStep,
)
from relight.engine.step import step
from relight.providers.driver import ProviderDriver
from relight.store.store import Store

MACHINE_DESTROYED = "machine-destroyed"

_BELIEVED = 1_000_000
"""One machine is looked at: how many others do not fit says nothing about it any more."""


class SweepActivities:
    """Decides by the same plan as the sweep, about one machine."""

    def __init__(self, store: Store, drivers: Mapping[str, ProviderDriver], owner: str) -> None:
        self._store = store
        self._drivers = drivers
        self._owner = owner

    @step(policies.LOOKUP, lambda i: i.step.key)
    async def observe_machine(self, input: SweepMachineInput) -> MachineObserved:
        """Return what is to be done about a machine: what the sweep wanted, or nothing."""
        wanted = input.step
        asked_at = datetime.now(UTC)
        found = await self._drivers[wanted.provider].find(wanted.key)
        listing = ProviderListing(
            provider=wanted.provider,
            asked_at=asked_at,
            machines=(found,) if found is not None else (),
        )
        decided = await asyncio.to_thread(self._decide, listing, input)
        if decided is None or decided.step is not wanted.step:
            reason = decided.reason if decided else "all fits by now"
            return MachineObserved(reason=reason, machine=found)
        return MachineObserved(reason=decided.reason, step=decided.step, machine=found)

    @step(policies.BOOKKEEPING, lambda i: f"{i.step} {i.key}")
    def record_swept(self, input: RecordSweptInput) -> Recorded:
        """Write down what was done about a machine."""
        store, operation = self._store, current_operation(input.origin)
        match input.step:
            case SweepStep.ADOPT:
                assert input.machine is not None
                store.sweeping.adopt(input.machine.machine, operation)
            case SweepStep.MARK_LOST:
                store.sweeping.mark_lost(input.key, operation)
            case SweepStep.DESTROY if store.machines.get(input.key) is not None:
                store.destructions.record(input.key, operation, reason=input.reason)
            case SweepStep.DESTROY:
                # It never was on record, and counts among the destroyed all the same.
                assert input.machine is not None
                store.events.append(
                    MACHINE_DESTROYED,
                    operation,
                    machine_key=input.key,
                    detail={
                        "provider": input.machine.provider,
                        "region": input.machine.region,
                        "track": None,
                        "unreachable": False,
                        "reason": input.reason,
                    },
                )
        return Recorded()

    def _decide(self, listing: ProviderListing, input: SweepMachineInput) -> SweepAction | None:
        records = [
            each
            for each in self._store.sweeping.on_record()
            if each.key == input.step.key or _serves_elsewhere(each, input.step)
        ]
        plan = plan_sweep(
            SweepView(
                listings=(listing,),
                # Whoever looks has the lock: nobody else is under way.
                open_workflows=frozenset(),
                records=records,
                route_ids=self._store.sweeping.route_ids(),
            ),
            SweepPolicy(owner=self._owner, grace=input.grace, doubt_at_least=_BELIEVED),
            datetime.now(UTC),
        )
        found = (*plan.actions, *plan.left)
        return next((each for each in found if each.key == input.step.key), None)


def _serves_elsewhere(record: MachineOnRecord, step: SweepAction) -> bool:
    """Say whether a record may say that a machine's route has another one."""
    return record.serves and record.provider == step.provider and record.key != step.key
