"""The publication of an image: every region gets it, or its reason why not."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError

from relight.domain.fault.fault import Fault
from relight.domain.fault.table import fault as new_fault
from relight.domain.image.image import ImageRef
from relight.domain.image.imports import (
    Begin,
    PlanProviderInput,
    ProviderInput,
    ProviderPlan,
    PublishRegionInput,
    RecordUnbegunInput,
    RegionProgress,
    has_ended,
    next_begin,
    outcomes_of,
)
from relight.domain.image.publication import (
    ImagePublication,
    PublicationOutcome,
    PublishImageInput,
    RegionOutcome,
    region_workflow_id,
)
from relight.domain.text import plain
from relight.engine import search_attributes
from workflows.endings import Unreached, unreached
from workflows.failures import failure, fault_of
from workflows.image.region import PublishRegion
from workflows.image.steps import PublicationActivities
from workflows.shield import run_shielded

BUSY_PAUSE, BUSY_ATTEMPTS = timedelta(seconds=30), 60
"""Half an hour in all: longer than a region takes to withdraw an order."""


# A run stays on the worker version that started it: it takes hours, and no more than a day.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class PublishImage:
    """Bring an image to the regions of all providers, each provider beside the others.

    At one provider, one image after the other is published, and no more regions are under way than
    it works on. What failed in a region is tried once more there, after all others had their turn.
    A cancellation withdraws what is under way, and leaves what is published.

    History: a region costs some 15 events for each attempt, and a provider has 500 regions at most.
    """

    @workflow.init
    def __init__(self, input: PublishImageInput) -> None:
        self._input = input
        self._progress: dict[str, dict[str, RegionProgress]] = {}

    @workflow.run
    async def run(self, input: PublishImageInput) -> ImagePublication:
        """Check the image, publish it at each provider, and return which regions have it.

        Raises:
            ApplicationError: not all have it; carries the same result.
        """
        checked = await PublicationActivities.check_image(input)
        regions = await self._publish_everywhere(checked.providers)
        result = ImagePublication(name=input.name, regions=tuple(regions))
        workflow.set_current_details(plain(result.text))
        if not result.regions and not input.missing:
            summary = f"no region of {', '.join(checked.providers) or 'any provider'} can have it"
            raise failure(new_fault("unknown-location", f"{input.name}: {summary}"))
        if result.outcome is not PublicationOutcome.PUBLISHED:
            raise unreached(Unreached.IMAGE_MISSING, result.text, result)
        return result

    async def _publish_everywhere(self, providers: Sequence[str]) -> list[RegionOutcome]:
        """Publish at all providers, and return how that ended, by region.

        Also after a cancellation, each has left its provider before this ends: none keeps its turn
        or its disk in object storage.
        """
        ended = await asyncio.gather(*map(self._publish_at, providers), return_exceptions=True)
        regions: list[RegionOutcome] = []
        for each in ended:
            if isinstance(each, BaseException):
                raise each
            regions += each
        return sorted(regions, key=lambda each: each.place)

    async def _publish_at(self, provider: str) -> tuple[RegionOutcome, ...]:
        """Publish at one provider. What fails there is its own outcome."""
        part = ProviderInput(name=self._input.name, provider=provider, origin=self._input.origin)
        try:
            plan = await PublicationActivities.plan_provider(
                PlanProviderInput(
                    **dict(part), region=self._input.region, missing=self._input.missing
                )
            )
        except FailureError as error:
            return (RegionOutcome(provider=provider, region="", fault=fault_of(error).brief),)
        if not plan.regions:
            return ()
        self._progress[provider] = {each: RegionProgress(region=each) for each in plan.regions}
        return await self._publish_in_turn(part, plan, self._progress[provider])

    async def _publish_in_turn(
        self, part: ProviderInput, plan: ProviderPlan, progress: dict[str, RegionProgress]
    ) -> tuple[RegionOutcome, ...]:
        """Publish in a provider's regions, with the disk in object storage if it needs that."""
        fault = None
        try:
            await PublicationActivities.take_turn(part)
            if plan.limits.staged:
                await PublicationActivities.stage_disk(part)
            await self._publish_regions(plan, progress)
        except asyncio.CancelledError as error:
            await run_shielded(self._leave(part, plan, progress, fault_of(error)))
            raise
        except FailureError as error:
            fault = fault_of(error)
        return await run_shielded(self._leave(part, plan, progress, fault))

    async def _leave(
        self,
        part: ProviderInput,
        plan: ProviderPlan,
        progress: dict[str, RegionProgress],
        fault: Fault | None,
    ) -> tuple[RegionOutcome, ...]:
        """Leave a provider, and return how the publication ended there."""
        outcomes = outcomes_of(plan, progress.values(), fault)
        unbegun = [each for each in outcomes if each.fault and not each.attempts]
        if unbegun and unbegun[0].fault:
            record = RecordUnbegunInput(
                **dict(part),
                regions=tuple(each.region for each in unbegun),
                fault=unbegun[0].fault,
            )
            await _attempt(PublicationActivities.record_unbegun(record))
        if plan.limits.staged:
            # What is left there expires by itself, and the next publication sweeps it.
            await _attempt(PublicationActivities.unstage_disk(part))
        await _attempt(PublicationActivities.end_turn(part))
        return outcomes

    async def _publish_regions(
        self, plan: ProviderPlan, progress: dict[str, RegionProgress]
    ) -> None:
        """Begin regions as the provider's limits allow, until nothing is under way or due."""
        most, stagger, tasks = self._input.max_attempts, plan.limits.stagger, _Tasks()
        try:
            while not has_ended(plan, [*progress.values()], most):
                tasks.check()
                self._show()
                begin = next_begin(plan, [*progress.values()], most)
                if begin is None:
                    await workflow.wait_condition(tasks.any_ended)
                    continue
                progress[begin.region] = progress[begin.region].begun
                tasks.run(self._publish_in(plan, begin, progress))
                if stagger and next_begin(plan, [*progress.values()], most) is not None:
                    await workflow.sleep(stagger, summary=f"stagger at {plan.provider}")
        except asyncio.CancelledError:
            # Each region under way withdraws its order first.
            await run_shielded(tasks.cancel())
            raise

    async def _publish_in(
        self, plan: ProviderPlan, begin: Begin, progress: dict[str, RegionProgress]
    ) -> None:
        region = progress[begin.region]
        try:
            image = await self._publish_once_free(plan, begin)
        except FailureError as error:
            progress[begin.region] = region.failed(fault_of(error).brief)
        else:
            progress[begin.region] = region.published(image)

    async def _publish_once_free(self, plan: ProviderPlan, begin: Begin) -> ImageRef:
        """Publish in a region, once a lost publication has withdrawn what it had begun there."""
        for _ in range(BUSY_ATTEMPTS):
            try:
                return await self._publish_region(plan, begin)
            except WorkflowAlreadyStartedError:
                await workflow.sleep(BUSY_PAUSE, summary=f"{begin.region} is busy")
        return await self._publish_region(plan, begin)

    async def _publish_region(self, plan: ProviderPlan, begin: Begin) -> ImageRef:
        return await workflow.execute_child_workflow(
            PublishRegion.run,
            PublishRegionInput(
                name=self._input.name,
                provider=plan.provider,
                region=begin.region,
                attempt=begin.attempt,
                source=begin.source,
                limits=plan.limits,
                origin=self._input.origin,
            ),
            id=region_workflow_id(self._input.name, plan.provider, begin.region),
            cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            search_attributes=search_attributes.attributes(
                {
                    search_attributes.PROVIDER: plan.provider,
                    search_attributes.REGION: begin.region,
                }
            ),
            static_summary=f"{self._input.name} to {plan.provider}/{begin.region}",
        )

    def _show(self) -> None:
        regions = [each for by_name in self._progress.values() for each in by_name.values()]
        there = sum(each.image is not None for each in regions)
        under_way = sum(each.in_flight for each in regions)
        workflow.set_current_details(
            f"{there} of {len(regions)} regions have it, {under_way} are under way"
        )


async def _attempt(step: Awaitable[object]) -> None:
    """Await a step. Its failure does not keep the ones after it from running."""
    try:
        await step
    except FailureError as error:
        workflow.logger.error("a provider was not left well: %s", fault_of(error).summary)


class _Tasks:
    """Tasks of a workflow whose errors are those of the workflow."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    def any_ended(self) -> bool:
        return any(task.done() for task in self._tasks)

    def check(self) -> None:
        """Forget those that have ended; raise what one of them has raised."""
        ended = {task for task in self._tasks if task.done()}
        self._tasks -= ended
        for task in ended:
            task.result()

    async def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await workflow.wait_condition(lambda: all(task.done() for task in self._tasks))
