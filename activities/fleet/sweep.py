"""Activities of a sweep on one machine: observe it under its lock, and record what was done."""

from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation
from activities.machine.presence import Presence
from activities.machine.record_plan import plan_of_records
from relight.domain.machine import MachineOnRecord
from relight.domain.reconcile.run import (
    MachineObserved,
    RecordSweptInput,
    SweepMachineInput,
)
from relight.domain.route import Recorded
from relight.domain.sweep.sweep import ProviderListing, SweepAction, SweepPolicy, SweepStep
from relight.engine.step import step
from relight.store import bad_rows
from relight.store.store import Store
from relight.store.tables import MachineRow
from relight.store.threads import in_thread

_NO_DOUBT = 1_000_000
"""Turns off the sweep's doubt about many unknown machines: only one machine is observed here."""


class SweepActivities:
    """Plans for one machine in the same way as the sweep plans for all."""

    def __init__(self, store: Store, presence: Presence, owner: str) -> None:
        self._store = store
        self._presence = presence
        self._owner = owner

    @step(policies.LOOKUP, lambda i: i.step.key)
    async def observe_machine(self, input: SweepMachineInput) -> MachineObserved:
        """Return the step of the sweep if it is still right, or no step."""
        planned = input.step
        asked_at = datetime.now(UTC)
        found = await self._presence.driver(planned.provider).find(planned.key)
        listing = ProviderListing(
            provider=planned.provider,
            asked_at=asked_at,
            machines=(found,) if found is not None else (),
        )
        current = await in_thread(self._decide, listing, input)
        if current is None or current.step is not planned.step:
            reason = current.reason if current else "it now matches the records"
            return MachineObserved(reason=reason, machine=found)
        if current.step is SweepStep.MARK_LOST:
            machine = await in_thread(self._store.machines.last_observed, planned.key)
            if machine is not None and not await self._presence.is_absent(machine):
                return MachineObserved(reason=f"machine {planned.key} is not listed, but exists")
        return MachineObserved(reason=current.reason, step=current.step, machine=found)

    @step(policies.STORE, lambda i: f"{i.step} {i.key}", lasting=True)
    def record_swept(self, input: RecordSweptInput) -> Recorded:
        """Record the step that was taken on a machine; a destruction is recorded by the gate."""
        store, operation = self._store, current_operation(input.origin)
        match input.step:
            case SweepStep.ADOPT:
                assert input.machine is not None
                store.sweeps.adopt(input.machine.machine, operation)
            case SweepStep.MARK_LOST:
                store.sweeps.mark_lost(input.key, operation)
        return Recorded()

    def _decide(self, listing: ProviderListing, input: SweepMachineInput) -> SweepAction | None:
        with bad_rows.collecting() as bad:
            machines = self._store.sweeps.machines([input.step.key])
        if input.step.key in bad.of(MachineRow):
            return None
        records = [
            each
            for each in machines
            if each.key == input.step.key or _serves_elsewhere(each, input.step)
        ]
        policy = SweepPolicy(
            owner=self._owner,
            grace=input.grace,
            min_mismatches=_NO_DOUBT,
            gone_for=input.gone_for,
        )
        plan = plan_of_records(self._store, [listing], records, policy)
        found = (*plan.actions, *plan.left)
        return next((each for each in found if each.key == input.step.key), None)


def _serves_elsewhere(record: MachineOnRecord, step: SweepAction) -> bool:
    """Return whether a record may show that the machine's route has another machine."""
    return record.serves and record.provider == step.provider and record.key != step.key
