"""Imports of an image: what is begun next at a provider, and the messages of the steps. Pure."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from pydantic import Field

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageName, ImageRef
from relight.domain.image.publication import ImageInRegion, PublicationStatus, RegionOutcome

MAX_REGIONS = 500
"""Of one provider in one publication: a result has to fit into a payload, and its history too."""


class ImageChecked(Message):
    """An image is on record and fits the fleet.

    Attributes:
        providers: that it can be published to, ordered.
    """

    providers: tuple[str, ...]


class ProviderInput(Message):
    """One provider's part of a publication."""

    name: ImageName
    provider: str
    origin: Origin


class PlanProviderInput(ProviderInput):
    """Plan the regions of one provider.

    Attributes:
        region: only this one.
        missing: only regions that are not on record as published.
    """

    region: str | None = None
    missing: bool = False


class ImportLimits(Message):
    """What a provider can do, and at which speed.

    Attributes:
        copies: further regions get the image from one that has it.
        first: of those that copy, the only region that can import the disk; empty: any can.
        staged: the disk has to lie in object storage.
        max_in_flight: how many regions may be under way at once.
        stagger: between two beginnings.
        start_within: an order that waits for longer is withdrawn.
        finish_within: for a whole import or copy.
    """

    copies: bool
    first: str = ""
    staged: bool
    max_in_flight: int = Field(ge=1)
    stagger: timedelta
    start_within: timedelta
    finish_within: timedelta


class ProviderPlan(Message):
    """The regions of a provider to bring an image to.

    Attributes:
        regions: in the order in which they begin.
        source: an image in a region that has it already, to copy from; None: there is none.
    """

    provider: str
    limits: ImportLimits
    regions: tuple[str, ...]
    source: ImageRef | None = None


class PublishRegionInput(Message):
    """Bring an image to one region, once.

    Attributes:
        attempt: 1 for the first one of this publication.
        source: to copy from; None: import the disk.
        limits: of the provider.
    """

    name: ImageName
    provider: str
    region: str
    attempt: int = Field(ge=1)
    source: ImageRef | None = None
    limits: ImportLimits
    origin: Origin


class AwaitImportInput(Message):
    """Wait until an image is available."""

    image: ImageRef
    limits: ImportLimits


class ImageInput(Message):
    """An image in a region."""

    image: ImageRef
    origin: Origin


class ImageWithdrawn(Message):
    """What is left of an import that failed.

    Attributes:
        is_gone: there is no image and no order of it. Otherwise the image is there, and ours.
    """

    is_gone: bool


class RecordImageFailureInput(Message):
    """Record that a region did not get an image.

    Attributes:
        is_gone: whether it is known to have none.
    """

    name: ImageName
    provider: str
    region: str
    fault: Fault
    is_gone: bool
    origin: Origin


class RecordUnbegunInput(ProviderInput):
    """Record that regions got no image, and that nothing was begun there."""

    regions: tuple[str, ...] = Field(min_length=1)
    fault: Fault


# ---------------------------------------------------------------- what a publication decides

FINAL_KINDS = frozenset(
    {
        "image-exposed",
        "machine-conflict",
        "provider-credentials",
        "provider-invalid",
        "unknown-location",
    }
)
"""Faults that another attempt would have again."""


class RegionProgress(Message):
    """How far a region is in a publication.

    Attributes:
        attempts: imports that were begun.
        in_flight: one is under way.
        image: that it was proven to have.
        fault: of the last attempt.
    """

    region: str
    attempts: int = 0
    in_flight: bool = False
    image: ImageRef | None = None
    fault: Fault | None = None

    def may_begin(self, max_attempts: int) -> bool:
        """Return whether another attempt is due."""
        is_final = self.fault is not None and self.fault.kind in FINAL_KINDS
        done = self.in_flight or self.image is not None
        return not done and not is_final and self.attempts < max_attempts

    @property
    def begun(self) -> "RegionProgress":
        """The region with another attempt under way."""
        return self.model_copy(update={"attempts": self.attempts + 1, "in_flight": True})

    def published(self, image: ImageRef) -> "RegionProgress":
        """Return the region with the image that it was proven to have."""
        return self.model_copy(update={"in_flight": False, "image": image, "fault": None})

    def failed(self, fault: Fault) -> "RegionProgress":
        """Return the region after an attempt that failed."""
        return self.model_copy(update={"in_flight": False, "fault": fault})


class Begin(NamedTuple):
    """The next import of a provider.

    Attributes:
        attempt: its number in this region.
        source: to copy from; None: import the disk.
    """

    region: str
    attempt: int
    source: ImageRef | None


def next_begin(
    plan: ProviderPlan, regions: Sequence[RegionProgress], max_attempts: int
) -> Begin | None:
    """Return what a provider begins next; None: something has to end first, or all is done.

    Every region has its first attempt before one has its second. Where the provider copies, one
    region imports the disk, and the others wait for it.
    """
    in_flight = sum(each.in_flight for each in regions)
    due = _due(plan, regions, max_attempts)
    if not due or in_flight >= plan.limits.max_in_flight:
        return None
    chosen = min(due, key=lambda each: each.attempts)
    source = None
    if plan.limits.copies:
        known = _sources(plan, regions)
        if not known and in_flight:
            return None
        # Its own image is adopted, and not copied onto itself.
        source = next((each for each in known if each.region != chosen.region), None)
    return Begin(chosen.region, chosen.attempts + 1, source)


def has_ended(plan: ProviderPlan, regions: Sequence[RegionProgress], max_attempts: int) -> bool:
    """Return whether nothing is under way or due.

    Where the only region that can import the disk has failed, nothing is due in the others.
    """
    return not any(each.in_flight for each in regions) and not _due(plan, regions, max_attempts)


def _due(
    plan: ProviderPlan, regions: Sequence[RegionProgress], max_attempts: int
) -> list[RegionProgress]:
    waits_for_first = plan.limits.first and not _sources(plan, regions)
    return [
        each
        for each in regions
        if each.may_begin(max_attempts)
        and (not waits_for_first or each.region == plan.limits.first)
    ]


def _sources(plan: ProviderPlan, regions: Sequence[RegionProgress]) -> list[ImageRef]:
    # Those that were proven just now first: the one of before may be gone meanwhile.
    found = [*(each.image for each in regions), plan.source]
    return [each for each in found if each is not None]


def with_first(
    regions: Sequence[str], limits: ImportLimits, source: ImageRef | None
) -> tuple[str, ...]:
    """Return regions, and the one that others are copied from if it is needed for that."""
    if not regions or not limits.first or source is not None or limits.first in regions:
        return tuple(regions)
    return (limits.first, *regions)


def begin_order(regions: Sequence[str], recorded: Sequence[ImageInRegion]) -> tuple[str, ...]:
    """Return the order in which regions begin.

    First those that a lost publication has left under way: their imports take the places of others.
    """
    under_way = {each.region for each in recorded if each.status is PublicationStatus.IMPORTING} & {
        *regions
    }
    return (*sorted(under_way), *sorted({*regions} - under_way))


def sources_in(recorded: Sequence[ImageInRegion]) -> tuple[ImageRef, ...]:
    """Return the images of a provider that others can be copied from, by the record."""
    return tuple(each.ref for each in recorded if each.ref is not None)


def is_gone_after(fault: Fault, *, is_withdrawn: bool) -> bool:
    """Return whether a region counts as one without the image after a fault.

    An exposed image never counts as published, even if it could not be deleted.
    """
    return is_withdrawn or fault.kind == "image-exposed"


def outcomes_of(
    plan: ProviderPlan, regions: Iterable[RegionProgress], fault: Fault | None
) -> tuple[RegionOutcome, ...]:
    """Return how a publication ended at a provider.

    Args:
        plan: of the provider.
        regions: how far each is.
        fault: of the provider's part as a whole; None: of the region that others are copied from.
    """
    ended = list(regions)
    first = next((each.fault for each in ended if each.region == plan.limits.first), None)
    return tuple(outcome_of(plan.provider, each, fault or first) for each in ended)


def outcome_of(provider: str, progress: RegionProgress, unbegun: Fault | None) -> RegionOutcome:
    """Return how a publication ended in a region.

    Args:
        provider: of the region.
        progress: of the region.
        unbegun: why it was not begun, if it was not.
    """
    image, fault = progress.image, progress.fault or unbegun
    return RegionOutcome(
        provider=provider,
        region=progress.region,
        image_id=image.image_id if image else None,
        attempts=progress.attempts,
        fault=fault.brief if fault and image is None else None,
    )
