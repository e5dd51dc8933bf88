"""A region's pool, brought to what operators say that it should be."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

from relight.domain.base import Origin
from relight.domain.machine import (
    DescribeRegionInput,
    Machine,
    MachinePlan,
)
from relight.domain.names import ReleaseTag
from relight.domain.pool.keep import (
    KeepPoolInput,
    OfPoolMachineInput,
    PlanPoolInput,
    PlanPoolMachineInput,
    PoolKept,
    PoolWork,
    RecordPoolFaultInput,
    RecordPoolReadyInput,
)
from relight.domain.pool.pool import PoolStep, pool_workflow_id
from relight.domain.release import Release, ResolveReleaseInput
from relight.domain.replacement import Removal
from relight.engine import search_attributes
from workflows.failures import fault_of
from workflows.fleet.steps import MachineActivities, PoolActivities, ReleaseActivities
from workflows.machine import remove
from workflows.machine.make import bring_to, make_machine
from workflows.undo import UndoStack

MOST_STEPS = 40
"""A run ends after so many, some twenty events each; whoever keeps pools begins it again."""

Take = Callable[[PoolWork], Awaitable[str | None]]


# Minutes long: it ends on the code that it began with.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class KeepPool:
    """Take one step after the other until the pool is as it should be, or none helps any more.

    A machine that cannot be made ready is faulted, and recycled by a later step. A step that fails
    is not tried again by this run.
    """

    @workflow.init
    def __init__(self, input: KeepPoolInput) -> None:
        self._input = input
        self._done: list[str] = []
        self._left: dict[tuple[PoolStep, str | None], str] = {}
        self._takes: Mapping[PoolStep, Take] = {
            PoolStep.CREATE: self._create,
            PoolStep.SWAP: self._swap,
            PoolStep.PROVE: self._prove,
            PoolStep.RECYCLE: self._recycle,
        }

    @workflow.run
    async def run(self, input: KeepPoolInput) -> PoolKept:
        """Plan, take the first step, and plan anew: each changes what comes next."""
        for _ in range(MOST_STEPS):
            work = await self._next()
            if work is None:
                break
            await self._take(work)
        return PoolKept(
            provider=input.provider,
            region=input.region,
            done=tuple(self._done),
            left=tuple(self._left.values()),
        )

    async def _next(self) -> PoolWork | None:
        planned = await PoolActivities.plan_pool.local(
            PlanPoolInput(provider=self._input.provider, region=self._input.region)
        )
        return next((work for work in planned.steps if _about(work) not in self._left), None)

    async def _take(self, work: PoolWork) -> None:
        step, key = _about(work)
        workflow.set_current_details(f"{step} {key or 'a machine'}: {work.action.reason}")
        try:
            why_not = await self._takes[step](work)
        except FailureError as error:
            why_not = fault_of(error).summary
        if why_not is None:
            self._done.append(f"{step} {key}" if key else str(step))
        else:
            self._left[step, key] = f"{step} {key or 'a machine'}: {why_not}"

    async def _create(self, work: PoolWork) -> str | None:
        place = self._input
        region = await MachineActivities.describe_region(
            DescribeRegionInput(provider=place.provider, region=place.region)
        )
        release = await self._release(work, region.architecture)
        planned = await PoolActivities.plan_pool_machine(
            PlanPoolMachineInput(
                provider=place.provider,
                region=place.region,
                release_tag=release.tag,
                origin=place.origin,
            )
        )
        async with self._faulted_else(planned.key):
            plan = MachinePlan(
                key=planned.key,
                route_id=None,
                track=None,
                provider=place.provider,
                region=place.region,
                release_version=release.version,
                deb_file=release.deb_file(region.architecture),
            )
            machine = await make_machine(plan, place.origin)
            await self._make_ready(machine, release, release.tag)
        return None

    async def _swap(self, work: PoolWork) -> str | None:
        machine = work.machine
        if machine is None:
            return "nobody saw it"
        release = await self._release(work, machine.architecture)
        taken = await PoolActivities.prepare_pool_machine(
            OfPoolMachineInput(key=machine.key, origin=self._input.origin)
        )
        if not taken.taken:
            return "a route has claimed it, or it leaves"
        async with self._faulted_else(machine.key):
            await self._make_ready(machine, release, None)
        return None

    async def _prove(self, work: PoolWork) -> str | None:
        machine = work.machine
        if machine is None:
            return "nobody saw it"
        release = await self._release(work, machine.architecture)
        async with self._faulted_else(machine.key):
            await self._make_ready(machine, release, release.tag)
        return None

    async def _recycle(self, work: PoolWork) -> str | None:
        key = work.action.key
        assert key is not None
        removal = Removal(
            key=key,
            provider=work.action.provider,
            region=work.action.region,
            provider_id=work.machine.provider_id if work.machine else None,
            reason=work.action.reason,
            origin=self._input.origin,
        )
        if (why_not := await remove.why_not_destroy(removal)) is not None:
            return why_not
        taken = await PoolActivities.leave_pool(
            OfPoolMachineInput(key=key, origin=self._input.origin)
        )
        if not taken.taken:
            return "a route has claimed it"
        await remove.destroy(removal)
        return None

    async def _make_ready(
        self, machine: Machine, release: Release, runs: ReleaseTag | None
    ) -> None:
        proof = await bring_to(release, machine, runs, self._input.origin)
        await PoolActivities.record_pool_ready(
            RecordPoolReadyInput(machine=machine, proof=proof, origin=self._input.origin)
        )

    async def _release(self, work: PoolWork, architecture: str) -> Release:
        tag = work.action.release_tag
        assert tag is not None
        return await ReleaseActivities.resolve_release(
            ResolveReleaseInput(tag=tag, architectures=(architecture,))
        )

    def _faulted_else(self, key: str) -> UndoStack:
        """Return what has a machine be faulted where the block that it guards does not end well."""
        undo = UndoStack()
        undo.on_fault(
            PoolActivities.record_pool_fault,
            lambda fault: RecordPoolFaultInput(key=key, fault=fault, origin=self._input.origin),
        )
        return undo


async def begin_keeping(provider: str, region: str, origin: Origin) -> None:
    """Have a region's pool be kept, unless that is under way; nobody waits for it."""
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
            static_summary=f"keep the pool of {provider}/{region}",
        )


def _about(work: PoolWork) -> tuple[PoolStep, str | None]:
    return work.action.step, work.action.key
