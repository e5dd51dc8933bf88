"""The prune of images: each region on its own; one that fails keeps none from the others."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, is_cancelled_exception

from relight.domain.fault.fault import Fault
from relight.domain.image.prune import (
    MAX_DELETIONS,
    DeleteImageInput,
    ImagesPruned,
    ListPrunableInput,
    PruneDecision,
    PruneImagesInput,
    PrunePlace,
    RegionPruned,
)
from workflows.failures import fault_of
from workflows.image.steps import ImagePruneActivities

IN_USE = "image-in-use"
"""The kind of fault with which a provider keeps an image. It is not a failure."""


# It takes minutes, so a run stays on the worker version that started it.
@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class PruneImages:
    """Delete the images that regions do not need any more, or show which ones they are.

    At each provider one region is asked after the other, beside the other providers. A listing that
    fails, or that is not complete, fails its region: nothing is deleted there. An image that its
    provider says is in use stays. All failures are in the result.
    """

    @workflow.init
    def __init__(self, input: PruneImagesInput) -> None:
        self._input = input
        self._left = 0
        self._may_delete = MAX_DELETIONS
        self._chosen = None if input.delete is None else frozenset(input.delete)

    @workflow.run
    async def run(self, input: PruneImagesInput) -> ImagesPruned:
        """Find the regions, decide about their images, and delete those that may be."""
        found = await ImagePruneActivities.find_prune_places(input)
        by_provider: defaultdict[str, list[PrunePlace]] = defaultdict(list)
        for place in found.places:
            by_provider[place.provider].append(place)
        pruned = await asyncio.gather(*map(self._prune_provider, by_provider.values()))
        regions = (region for provider in pruned for region in provider)
        return ImagesPruned(
            regions=tuple(each for each in regions if each.decisions or each.faults),
            left=self._left,
        )

    async def _prune_provider(self, places: Sequence[PrunePlace]) -> list[RegionPruned]:
        return [await self._prune_region(place) for place in places]

    async def _prune_region(self, place: PrunePlace) -> RegionPruned:
        region = RegionPruned(provider=place.provider, region=place.region)
        if place.fault is not None:
            return region.model_copy(update={"faults": (place.fault,)})
        try:
            decided = await ImagePruneActivities.decide_prune(
                ListPrunableInput(
                    provider=place.provider, region=place.region, keep=self._input.keep
                )
            )
        except ActivityError as error:
            return region.model_copy(update={"faults": (_fault(error),)})
        ended = [await self._carry_out(each) for each in decided.decisions]
        return region.model_copy(
            update={
                "decisions": tuple(decision for decision, _ in ended if decision is not None),
                "faults": tuple(fault for _, fault in ended if fault is not None),
            }
        )

    async def _carry_out(
        self, decision: PruneDecision
    ) -> tuple[PruneDecision | None, Fault | None]:
        """Return a decision once it is carried out, or why it could not be."""
        if not decision.deleted:
            return decision, None
        if self._chosen is not None and decision.image not in self._chosen:
            return None, None  # It was not shown to the person who has agreed.
        if self._may_delete == 0:
            self._left += 1
            return None, None
        self._may_delete -= 1
        if self._chosen is None:
            return decision, None
        try:
            await ImagePruneActivities.delete_image(
                DeleteImageInput(
                    image=decision.image,
                    in_record=decision.in_record,
                    origin=self._input.origin,
                )
            )
        except ActivityError as error:
            why = _fault(error)
            if why.kind != IN_USE:
                return None, why
            return decision.model_copy(update={"deleted": False, "reason": why.summary}), None
        return decision, None


def _fault(error: ActivityError) -> Fault:
    if is_cancelled_exception(error):
        raise error
    return fault_of(error)
