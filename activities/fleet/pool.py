"""Activities on a region's pool: plan its upkeep, and record the state of its machines."""

from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.pool.keep import (
    PlanPoolInput,
    PlanPoolMachineInput,
    PoolMachineInput,
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
    """Reads and writes of the store. Each write is one transaction with its event."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @step(policies.STORE, lambda i: f"{i.provider}/{i.region}")
    def plan_pool(self, input: PlanPoolInput) -> PoolPlanned:
        """Return the steps that the pool needs now, unfinished removals first."""
        machines = self._store.pool.list(input.provider, input.region)
        planned = plan_pool(self._target(input), machines, datetime.now(UTC))
        unfinished = (_recycle(each) for each in machines if each.status is PoolStatus.LEAVING)
        steps = (*unfinished, *(each for each in planned if each.step is not PoolStep.KEEP))
        return PoolPlanned(steps=tuple(self._work(step) for step in steps))

    @step(policies.STORE, lambda i: f"{i.provider}/{i.region}: {i.release_tag}")
    def plan_pool_machine(self, input: PlanPoolMachineInput) -> PoolMachinePlanned:
        """Record the key of a new machine before it is created."""
        key = self._store.pool.plan(
            input.provider, input.region, input.release_tag, current_operation(input.origin)
        )
        return PoolMachinePlanned(key=key)

    @step(policies.STORE, lambda i: i.key)
    def prepare_pool_machine(self, input: PoolMachineInput) -> PoolMachineTaken:
        """Make a machine unavailable to routes, in order to change it."""
        taken = self._store.pool.mark_preparing(input.key, current_operation(input.origin))
        return PoolMachineTaken(taken=taken)

    @step(policies.STORE, lambda i: i.key)
    def leave_pool(self, input: PoolMachineInput) -> PoolMachineTaken:
        """Make a machine unavailable to routes, in order to destroy it."""
        taken = self._store.pool.mark_leaving(input.key, current_operation(input.origin))
        return PoolMachineTaken(taken=taken)

    @step(policies.STORE, lambda i: i.machine.key)
    def record_pool_ready(self, input: RecordPoolReadyInput) -> Recorded:
        """Record that a machine is proven and may be claimed."""
        operation = current_operation(input.origin)
        self._store.pool.record_ready(input.machine.key, input.machine, input.proof, operation)
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.key}: {i.fault.kind}")
    def record_pool_fault(self, input: RecordPoolFaultInput) -> Recorded:
        """Record why a machine could not be made ready."""
        operation = current_operation(input.origin)
        self._store.pool.record_fault(input.key, input.fault, operation)
        return Recorded()

    def _target(self, input: PlanPoolInput) -> PoolTarget:
        """Return the declared pool; without a declaration its size is 0."""
        location = (input.provider, input.region)
        sizes = {(each.provider, each.region): each.size for each in self._store.pool_sizes.list()}
        return PoolTarget(
            provider=input.provider,
            region=input.region,
            size=sizes.get(location, 0),
            release_tag=self._store.fleet_settings.get(DEFAULT_RELEASE_SETTING),
        )

    def _work(self, action: PoolAction) -> PoolWork:
        machine = self._store.machines.last_observed(action.key) if action.key else None
        return PoolWork(action=action, machine=machine)


def _recycle(machine: PoolMachine) -> PoolAction:
    return PoolAction(
        step=PoolStep.RECYCLE,
        provider=machine.provider,
        region=machine.region,
        key=machine.key,
        reason="an earlier operation did not finish its removal",
    )
