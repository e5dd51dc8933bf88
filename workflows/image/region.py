"""The publication of an image in one region: one import, proven or withdrawn."""

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import FailureError

from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageRef
from relight.domain.image.imports import (
    AwaitImportInput,
    ImageInput,
    PublishRegionInput,
    RecordImageFailureInput,
    is_gone_after,
)
from workflows.failures import fault_of
from workflows.image.steps import ImageRegionActivities
from workflows.reporting import report_fault
from workflows.shield import run_unless_cancelled_before
from workflows.undo import UndoStack


# It takes minutes or hours, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class PublishRegion:
    """Bring an image to a region, and prove that it is there.

    If that fails or is cancelled, the order is withdrawn and the reason is on record.
    """

    @workflow.init
    def __init__(self, input: PublishRegionInput) -> None:
        self._input = input

    @workflow.run
    async def run(self, input: PublishRegionInput) -> ImageRef:
        """Begin the import, wait for it, and prove the image.

        Raises:
            FailureError: the region does not have the image.
        """
        async with UndoStack() as undo:
            undo.on_fault(self._withdraw, lambda fault: fault)
            ordered = await ImageRegionActivities.begin_import(input)
            available = await ImageRegionActivities.await_import(
                AwaitImportInput(image=ordered, limits=input.limits)
            )
            proven = await ImageRegionActivities.prove_image(
                ImageInput(image=available, origin=input.origin)
            )
            await run_unless_cancelled_before(
                ImageRegionActivities.record_image_published(
                    ImageInput(image=proven, origin=input.origin)
                )
            )
        return proven

    async def _withdraw(self, fault: Fault) -> None:
        report_fault(fault)
        is_gone = False
        try:
            is_gone = (await ImageRegionActivities.withdraw_import(self._input)).is_gone
        except FailureError as error:
            workflow.logger.error("not withdrawn: %s", fault_of(error).summary)
        await ImageRegionActivities.record_image_failure(
            RecordImageFailureInput(
                name=self._input.name,
                provider=self._input.provider,
                region=self._input.region,
                fault=fault,
                is_gone=is_gone_after(fault, is_withdrawn=is_gone),
                origin=self._input.origin,
            )
        )
