"""Upkeep of a region's pool, until it is as declared."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

from relight.domain.base import Origin
from relight.domain.destruction import DestroyMachineInput, DestructionReason
from relight.domain.fault.fault import Fault
from relight.domain.machine import (
    CheckNewKeyInput,
    DescribeRegionInput,
    Machine,
    MachinePlan,
)
from relight.domain.names import ReleaseTag
from relight.domain.pool.keep import (
    KeepPoolInput,
    PlanPoolInput,
    PlanPoolMachineInput,
    PoolKept,
    PoolMachineInput,
    PoolWork,
    RecordFailedTryInput,
    RecordPoolFaultInput,
    RecordPoolReadyInput,
)
from relight.domain.pool.pool import PoolStep, pool_workflow_id
from relight.domain.pool.tries import counts_as_try
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.text import plain
from relight.engine import search_attributes
from workflows.failures import fault_of
from workflows.fleet.steps import (
    DestructionActivities,
    MachineActivities,
    NewKeyActivities,
    PoolActivities,
    ReleaseActivities,
)
from workflows.machine.make import choose_image, make_machine, swap_or_prove
from workflows.machine.remove import destroy
from workflows.undo import UndoStack

MAX_STEPS = 40
"""Per run, about twenty events each. The next reconcile run starts another run."""

Handler = Callable[[PoolWork], Awaitable[str | None]]


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class KeepPool:
    """Create, update and destroy machines of a pool until it is as declared or no step succeeds.

    A failed step is skipped for the rest of the run. A machine that could not be made ready is
    recorded as faulted, and a later step repairs, verifies or destroys it. A cancellation leaves
    its current machine faulted in the same way. A failed try counts: after some of them the pool
    stops and keeps what it has.
    """

    @workflow.init
    def __init__(self, input: KeepPoolInput) -> None:
        self._input = input
        self._done: list[str] = []
        self._locked_out: tuple[str, ...] = ()
        self._left: dict[tuple[PoolStep, str | None], str] = {}
        self._handlers: Mapping[PoolStep, Handler] = {
            PoolStep.CREATE: self._create,
            PoolStep.SWAP: self._swap,
            PoolStep.VERIFY: self._prove,
            PoolStep.RECYCLE: self._recycle,
        }

    @workflow.run
    async def run(self, input: KeepPoolInput) -> PoolKept:
        """Plan the upkeep, run its first step, and repeat: each step changes the next plan."""
        for _ in range(MAX_STEPS):
            work = await self._next_step()
            if work is None:
                break
            await self._run_step(work)
        return PoolKept(
            provider=input.provider,
            region=input.region,
            done=tuple(self._done),
            left=tuple(self._left.values()),
        )

    async def _next_step(self) -> PoolWork | None:
        planned = await PoolActivities.plan_pool.local(
            PlanPoolInput(
                provider=self._input.provider,
                region=self._input.region,
                locked_out=self._locked_out,
            )
        )
        self._locked_out = self._locked_out or planned.locked_out
        return next((work for work in planned.steps if _step_of(work) not in self._left), None)

    async def _run_step(self, work: PoolWork) -> None:
        step, key = _step_of(work)
        workflow.set_current_details(f"{step} {key or 'a machine'}: {plain(work.action.reason)}")
        try:
            problem = await self._handlers[step](work)
        except FailureError as error:
            fault = fault_of(error)
            problem = fault.summary
            if work.action.is_try and counts_as_try(fault):
                await self._record_failed_try(work, fault)
        if problem is None:
            self._done.append(f"{step} {key}" if key else str(step))
        else:
            self._left[step, key] = f"{step} {key or 'a machine'}: {problem}"

    async def _record_failed_try(self, work: PoolWork, fault: Fault) -> None:
        tag = work.action.release_tag
        assert tag is not None
        await PoolActivities.record_failed_try(
            RecordFailedTryInput(
                provider=self._input.provider,
                region=self._input.region,
                release_tag=tag,
                fault=fault,
                origin=self._input.origin,
            )
        )

    async def _create(self, work: PoolWork) -> str | None:
        pool = self._input
        region = await MachineActivities.describe_region(
            DescribeRegionInput(provider=pool.provider, region=pool.region)
        )
        release = await self._release(work, region.architecture)
        image = await choose_image(region, release)
        await NewKeyActivities.check_new_key(
            CheckNewKeyInput(provider=pool.provider, region=pool.region)
        )
        planned = await PoolActivities.plan_pool_machine(
            PlanPoolMachineInput(
                provider=pool.provider,
                region=pool.region,
                release_tag=release.tag,
                origin=pool.origin,
            )
        )
        async with self._fault_on_failure(planned.key):
            plan = MachinePlan(
                key=planned.key,
                route_id=None,
                track=None,
                provider=pool.provider,
                region=pool.region,
                release_version=release.version,
                deb_file=release.deb_file(region.architecture),
                configuration=release.configuration,
                image=image,
            )
            machine = await make_machine(plan, pool.origin)
            await self._make_ready(machine, release, release.tag)
        return None

    async def _swap(self, work: PoolWork) -> str | None:
        machine = work.machine
        if machine is None:
            return "it was never observed"
        release = await self._release(work, machine.architecture)
        taken = await PoolActivities.prepare_pool_machine(
            PoolMachineInput(key=machine.key, origin=self._input.origin)
        )
        if not taken.taken:
            return "a route has claimed it, or it is being destroyed"
        async with self._fault_on_failure(machine.key):
            await self._make_ready(machine, release, None)
        return None

    async def _prove(self, work: PoolWork) -> str | None:
        machine = work.machine
        if machine is None:
            return "it was never observed"
        release = await self._release(work, machine.architecture)
        async with self._fault_on_failure(machine.key):
            await self._make_ready(machine, release, release.tag)
        return None

    async def _recycle(self, work: PoolWork) -> str | None:
        key = work.action.key
        assert key is not None
        request = DestroyMachineInput(
            provider=work.action.provider,
            key=key,
            provider_id=work.machine.provider_id if work.machine else None,
            region=work.action.region,
            reason=DestructionReason.RECYCLED,
            text=work.action.reason,
            unreachable=work.action.unreachable,
            origin=self._input.origin,
        )
        # Before the machine leaves the pool: a refusal leaves it there.
        refusal = (await DestructionActivities.check_destruction(request)).refusal
        if refusal is not None:
            return refusal.why
        taken = await PoolActivities.leave_pool(
            PoolMachineInput(key=key, origin=self._input.origin)
        )
        if not taken.taken:
            return "a route has claimed it"
        refusal = (await destroy(request)).refusal
        return refusal.why if refusal is not None else None

    async def _make_ready(
        self, machine: Machine, release: Release, current: ReleaseTag | None
    ) -> None:
        proof = await swap_or_prove(release, machine, current, self._input.origin)
        await PoolActivities.record_pool_ready(
            RecordPoolReadyInput(machine=machine, proof=proof, origin=self._input.origin)
        )

    async def _release(self, work: PoolWork, architecture: str) -> Release:
        tag = work.action.release_tag
        assert tag is not None
        return await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(architecture,))
        )

    def _fault_on_failure(self, key: str) -> UndoStack:
        """Return an undo stack that records a machine as faulted if its block fails."""
        undo = UndoStack()
        undo.on_fault(
            PoolActivities.record_pool_fault,
            lambda fault: RecordPoolFaultInput(key=key, fault=fault, origin=self._input.origin),
        )
        return undo


async def start_pool_upkeep(provider: str, region: str, origin: Origin) -> None:
    """Start the upkeep of a region's pool, unless it is running. Does not wait for its end."""
    with suppress(WorkflowAlreadyStartedError):
        await workflow.start_child_workflow(
            KeepPool.run,
            KeepPoolInput(provider=provider, region=region, origin=origin),
            id=pool_workflow_id(provider, region),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            search_attributes=search_attributes.attributes(
                {search_attributes.PROVIDER: provider, search_attributes.REGION: region}
            ),
            static_summary=f"upkeep of the pool {provider}/{region}",
        )


def _step_of(work: PoolWork) -> tuple[PoolStep, str | None]:
    return work.action.step, work.action.key
