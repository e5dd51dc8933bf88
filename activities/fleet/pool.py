"""Activities on a region's pool: plan its upkeep, and record the state of its machines."""

from datetime import UTC, datetime

from activities import policies
from activities.execution import current_operation
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.breaker.decisions import (
    last_locked_out,
    locked_out,
    machines_to_observe,
)
from relight.domain.clock import FutureTimes
from relight.domain.destruction import Allowance
from relight.domain.doubt import OUTDATED
from relight.domain.pool.keep import (
    PlanPoolInput,
    PlanPoolMachineInput,
    PoolMachineInput,
    PoolMachinePlanned,
    PoolMachineTaken,
    PoolPlanned,
    PoolWork,
    RecordFailedTryInput,
    RecordPoolFaultInput,
    RecordPoolReadyInput,
)
from relight.domain.pool.planner import plan_pool
from relight.domain.pool.pool import PoolAction, PoolStep
from relight.domain.pool.remediation import observation_of_pool
from relight.domain.pool.tries import PoolPolicy
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route import Recorded
from relight.engine.step import step
from relight.pool_target import pool_targets
from relight.store.pool_sizes import PoolSize
from relight.store.store import Store


class PoolActivities:
    """Reads and writes of the store. Each write is one transaction with its event."""

    def __init__(
        self,
        store: Store,
        policy: PoolPolicy,
        replacement: ReplacementPolicy,
        limits: BreakerLimits,
    ) -> None:
        self._store = store
        self._policy = policy
        self._replacement = replacement
        self._limits = limits

    @step(policies.STORE, lambda i: f"{i.provider}/{i.region}")
    def plan_pool(self, input: PlanPoolInput) -> PoolPlanned:
        """Return the steps that the pool needs now. While the breaker is open it is observed."""
        store, now = self._store, datetime.now(UTC)
        times, breaker = FutureTimes(now), store.breaker.get()
        pools = [times.of_pool_machine(each) for each in store.pool.list()]
        observations = tuple(map(observation_of_pool, pools))
        out = locked_out(observations, breaker, self._limits)
        observe = machines_to_observe(
            breaker, observations, self._limits, now, len(pools), last_locked_out(observations)
        )
        blocked = Allowance(breaker, (), self._limits, now).why_open()
        if blocked is None and out:
            blocked = f"{len(out)} machines of the pools lock the control plane out"
        if outdated := [each for each in store.incidents.list() if each.kind == OUTDATED]:
            blocked = blocked or outdated[0].summary
        [target] = pool_targets(
            store, [self._pool(input)], self._policy, self._replacement, blocked
        )
        machines = [
            each for each in pools if (each.provider, each.region) == (input.provider, input.region)
        ]
        # The last one that is still out is verified like the others that were out with it.
        planned = plan_pool(target, machines, now, {*out, *input.locked_out}, observe)
        steps = (each for each in planned if each.step is not PoolStep.KEEP)
        return PoolPlanned(
            steps=tuple(self._work(step) for step in steps), locked_out=tuple(sorted(out))
        )

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

    @step(policies.STORE, lambda i: i.key, lasting=True)
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
        """Record why a machine could not be made ready, or which fault was observed on it."""
        operation = current_operation(input.origin)
        self._store.pool.record_fault(input.key, input.fault, operation)
        return Recorded()

    @step(policies.STORE, lambda i: f"{i.provider}/{i.region} at {i.release_tag}: {i.fault.kind}")
    def record_failed_try(self, input: RecordFailedTryInput) -> Recorded:
        """Count a failed try to make a machine ready at the pool's release."""
        self._store.pool_sizes.record_failed_try(
            input.provider,
            input.region,
            input.release_tag,
            input.fault,
            self._policy,
            current_operation(input.origin),
        )
        return Recorded()

    def _pool(self, input: PlanPoolInput) -> PoolSize:
        """Return the declared pool; without a declaration its size is 0."""
        pools = {(each.provider, each.region): each for each in self._store.pool_sizes.list()}
        none = PoolSize(provider=input.provider, region=input.region, size=0)
        return pools.get((input.provider, input.region), none)

    def _work(self, action: PoolAction) -> PoolWork:
        machine = self._store.machines.last_observed(action.key) if action.key else None
        return PoolWork(action=action, machine=machine)
