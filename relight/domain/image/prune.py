"""The prune of images: which go from a region, and why the others stay. Pure."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from relight.domain.base import Message, Origin, ShortText
from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageAtProvider, ImageName, ImageRef, ImageStatus

PRUNE_WORKFLOW_ID = "images/prune"
"""The workflow id of every prune of images. The id is its lock."""

MAX_DELETIONS = 1000
"""Of one prune: its result has to fit into a payload."""

KEPT = 2
"""How many images a region keeps of each architecture, if nobody says another number."""


class PruneImagesInput(Message):
    """Delete the images that regions do not need any more.

    Attributes:
        keep: how many of the newest images each region keeps, of each architecture.
        provider: only in regions of this provider; None for all.
        delete: what may be deleted, as an earlier run has shown it; None: only show it.
    """

    keep: int = Field(default=KEPT, ge=1, le=100)
    provider: str | None = None
    delete: tuple[ImageRef, ...] | None = None
    origin: Origin


class PrunePlace(Message):
    """A region that may have images, or a provider that could not be asked for its regions.

    Attributes:
        fault: why the region cannot be asked; None if it can.
    """

    provider: str
    region: str
    fault: Fault | None = None


class PrunePlaces(Message):
    """All regions that may have images, also those that no location names any more."""

    places: tuple[PrunePlace, ...]


class ListPrunableInput(Message):
    """Decide about each image of a region."""

    provider: str
    region: str
    keep: int


class PruneDecision(Message):
    """What is to become of an image.

    Attributes:
        deleted: it goes; otherwise it stays.
        reason: why.
        in_record: it is on record only: its provider has it no more.
    """

    image: ImageRef
    deleted: bool
    reason: ShortText
    in_record: bool = False


class RegionDecided(Message):
    """The decisions about the images of a region, ordered by name and id."""

    decisions: tuple[PruneDecision, ...]


class DeleteImageInput(Message):
    """Delete an image at its provider and from the record."""

    image: ImageRef
    origin: Origin


class ImageDeleted(Message):
    """The result.

    Attributes:
        existed: whether its provider still had it.
    """

    existed: bool


class RegionPruned(Message):
    """The result in a region.

    Attributes:
        decisions: what became of each image; what is in use at its provider stays.
        faults: why the region, or an image of it, could not be pruned.
    """

    provider: str
    region: str
    decisions: tuple[PruneDecision, ...] = ()
    faults: tuple[Fault, ...] = ()


class ImagesPruned(Message):
    """The result of a prune.

    Attributes:
        regions: by provider and region.
        left: how many further images go by the next prune.
    """

    regions: tuple[RegionPruned, ...]
    left: int = 0

    @property
    def deleted(self) -> tuple[ImageRef, ...]:
        """The images that went, or would go."""
        return tuple(
            each.image for region in self.regions for each in region.decisions if each.deleted
        )

    @property
    def faults(self) -> tuple[tuple[str, Fault], ...]:
        """What failed, each with the region."""
        return tuple(
            (f"{each.provider}/{each.region}".rstrip("/"), fault)
            for each in self.regions
            for fault in each.faults
        )


class KnownImages(Message):
    """What is on record about the images of a region.

    Attributes:
        recorded_at: since when each image is known, by its name.
        published: the images that the region has on record.
        needed: why an image is needed, by its name.
        used: the ids of the images that machines are made of.
    """

    recorded_at: Mapping[ImageName, AwareDatetime] = {}
    published: tuple[ImageRef, ...] = ()
    needed: Mapping[ImageName, str] = {}
    used: frozenset[str] = frozenset()


def decide_prune(
    listed: Sequence[ImageAtProvider], known: KnownImages, owner: str, keep: int
) -> tuple[PruneDecision, ...]:
    """Return what is to become of each image of ours in a region. Those of others are left out.

    Args:
        listed: the complete listing of the region.
        known: what is on record.
        owner: our ownership tag.
        keep: how many of the newest ones stay, of each architecture.
    """
    ours = [each for each in listed if each.owner == owner]
    newest = _newest(ours, known, keep)
    decided = [_decide(each, known, newest, keep) for each in ours]
    present = {each.image_id for each in listed}
    gone = [
        PruneDecision(
            image=each, deleted=True, reason="its provider has it no more", in_record=True
        )
        for each in known.published
        if each.image_id not in present
    ]
    return tuple(sorted((*decided, *gone), key=lambda each: (each.image.name, each.image.image_id)))


def _decide(
    image: ImageAtProvider, known: KnownImages, newest: Collection[str], keep: int
) -> PruneDecision:
    stays = _why_it_stays(image, known)
    if stays is None and image.image_id in newest:
        stays = "it is the newest" if keep == 1 else f"it is one of the {keep} newest"
    failed = image.status is ImageStatus.FAILED
    goes = "its import failed" if failed else f"there are {keep} newer ones"
    ref = ImageRef.model_validate(image.model_dump(include={*ImageRef.model_fields}))
    return PruneDecision(image=ref, deleted=stays is None, reason=stays or goes)


def _why_it_stays(image: ImageAtProvider, known: KnownImages) -> str | None:
    if image.name in known.needed:
        return known.needed[image.name]
    if image.image_id in known.used:
        return "machines are made of it"
    if image.status in {ImageStatus.WAITING, ImageStatus.IMPORTING}:
        return "it is being published"
    return "it is being deleted already" if image.status is ImageStatus.DELETING else None


def _newest(images: Sequence[ImageAtProvider], known: KnownImages, keep: int) -> frozenset[str]:
    """Return the ids of the newest available images of each architecture."""
    by_architecture: defaultdict[str | None, list[ImageAtProvider]] = defaultdict(list)
    for image in images:
        if image.status is ImageStatus.AVAILABLE:
            by_architecture[image.architecture].append(image)

    def age(image: ImageAtProvider) -> tuple[datetime, str, str]:
        since = known.recorded_at.get(image.name) or image.created_at or _UNKNOWN
        return since, image.name, image.image_id

    return frozenset(
        each.image_id
        for group in by_architecture.values()
        for each in sorted(group, key=age, reverse=True)[:keep]
    )


_UNKNOWN = datetime.min.replace(tzinfo=UTC)
"""The age of an image that nothing is known of: it counts as the oldest."""
