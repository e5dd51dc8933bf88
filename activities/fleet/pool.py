"""A region's pool, as the store is asked and told of it."""

from datetime import UTC, datetime

from activities import policies
from activities.operation import current_operation
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.pool.keep import (
    OfPoolMachineInput,
    PlanPoolInput,
    PlanPoolMachineInput,
    PoolMachinePlanned,
    PoolMachineTaken,
    PoolPlanned,
    PoolWork,
    RecordPoolFaultInput,
    RecordPoolReadyInput,
)
from relight.domain.pool.pool import (
    PoolAction,
    PoolMachine,
    PoolStatus,
    PoolStep,
    PoolTarget,
    plan_pool,
)
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.store.store import Store


class PoolActivities:
    """Each write is one transaction with its event."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @step(policies.BOOKKEEPING, lambda i: f"{i.provider}/{i.region}")
    def plan_pool(self, input: PlanPoolInput) -> PoolPlanned:
        """Return what the pool needs now, what an earlier operation left half destroyed first."""
        machines = self._store.pool.list(input.provider, input.region)
        planned = plan_pool(self._target(input), machines, datetime.now(UTC))
        left_over = (_to_the_end(each) for each in machines if each.status is PoolStatus.LEAVING)
        steps = (*left_over, *(each for each in planned if each.step is not PoolStep.KEEP))
        return PoolPlanned(steps=tuple(self._work(step) for step in steps))

    @step(policies.BOOKKEEPING, lambda i: f"{i.provider}/{i.region}: {i.release_tag}")
    def plan_pool_machine(self, input: PlanPoolMachineInput) -> PoolMachinePlanned:
        """Write the key of a further machine down."""
        key = self._store.pool.plan(
            input.provider, input.region, input.release_tag, current_operation(input.origin)
        )
        return PoolMachinePlanned(key=key)

    @step(policies.BOOKKEEPING, lambda i: i.key)
    def prepare_pool_machine(self, input: OfPoolMachineInput) -> PoolMachineTaken:
        """Take a machine out of the routes' reach, to change it."""
        taken = self._store.pool.preparing(input.key, current_operation(input.origin))
        return PoolMachineTaken(taken=taken)

    @step(policies.BOOKKEEPING, lambda i: i.key)
    def leave_pool(self, input: OfPoolMachineInput) -> PoolMachineTaken:
        """Take a machine out of the pool, to destroy it."""
        taken = self._store.pool.leaving(input.key, current_operation(input.origin))
        return PoolMachineTaken(taken=taken)

    @step(policies.BOOKKEEPING, lambda i: i.machine.key)
    def record_pool_ready(self, input: RecordPoolReadyInput) -> Recorded:
        """Write down that a machine may be claimed."""
        operation = current_operation(input.origin)
        self._store.pool.record_ready(input.machine.key, input.machine, input.proof, operation)
        return Recorded()

    @step(policies.BOOKKEEPING, lambda i: f"{i.key}: {i.fault.kind}")
    def record_pool_fault(self, input: RecordPoolFaultInput) -> Recorded:
        """Write down why a machine could not be made ready."""
        operation = current_operation(input.origin)
        self._store.pool.record_fault(input.key, input.fault, operation)
        return Recorded()

    def _target(self, input: PlanPoolInput) -> PoolTarget:
        """Return what operators say that the pool should be; where nobody does, it is emptied."""
        place = (input.provider, input.region)
        sizes = {(each.provider, each.region): each.size for each in self._store.pool_sizes.list()}
        return PoolTarget(
            provider=input.provider,
            region=input.region,
            size=sizes.get(place, 0),
            release_tag=self._store.settings.get(DEFAULT_RELEASE_SETTING),
        )

    def _work(self, action: PoolAction) -> PoolWork:
        machine = self._store.machines.seen(action.key) if action.key else None
        return PoolWork(action=action, machine=machine)


def _to_the_end(machine: PoolMachine) -> PoolAction:
    return PoolAction(
        step=PoolStep.RECYCLE,
        provider=machine.provider,
        region=machine.region,
        key=machine.key,
        reason="an earlier operation did not see its end",
    )
