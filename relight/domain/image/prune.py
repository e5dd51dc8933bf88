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

OF_SETTINGS = "the settings of the location name it"
GONE = "its provider has it no more"

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
    """Delete an image at its provider and from the record.

    Attributes:
        in_record: its provider has it no more.
    """

    image: ImageRef
    in_record: bool = False
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


class LocationImage(Message):
    """What the settings of a location say of the image of its machines; one of both is empty.

    Attributes:
        image: its id or its whole name.
        prefix: of the name; the newest one is taken.
    """

    image: str = ""
    prefix: str = ""


class KnownImages(Message):
    """What is on record about the images of a region, and what its settings say.

    Attributes:
        recorded_at: since when each image is known, by its name.
        published: the images that the region has on record.
        missing: those that the region does not have, and that nobody is publishing there; with an
            empty id, unless it was ordered.
        needed: why an image is needed, by its name.
        used: the ids of the images that machines are made of.
        location: what the settings say; None without a location.
    """

    recorded_at: Mapping[ImageName, AwareDatetime] = {}
    published: tuple[ImageRef, ...] = ()
    missing: tuple[ImageRef, ...] = ()
    needed: Mapping[ImageName, str] = {}
    used: frozenset[str] = frozenset()
    location: LocationImage | None = None


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
    newest, by_settings = _newest(ours, known, keep), _of_settings(listed, known.location)
    known = known.model_copy(
        update={"needed": {**dict.fromkeys(by_settings, OF_SETTINGS), **known.needed}}
    )
    decided = [_decide(each, known, newest, keep) for each in ours]
    return tuple(
        sorted(
            (*decided, *_in_record(listed, known, keep)),
            key=lambda each: (each.image.name, each.image.image_id),
        )
    )


def _of_settings(
    listed: Sequence[ImageAtProvider], location: LocationImage | None
) -> frozenset[ImageName]:
    """Return the names of the images that a location's settings name.

    Of a prefix it is the newest one of each architecture, as its provider dates them; and each that
    has no date.
    """
    if location is None:
        return frozenset()
    if not location.prefix:
        return frozenset(
            each.name for each in listed if location.image in {each.name, each.image_id}
        )
    named = [
        each
        for each in listed
        if each.name.startswith(location.prefix) and each.status is ImageStatus.AVAILABLE
    ]
    newest: dict[str | None, ImageAtProvider] = {}
    for each in sorted(named, key=lambda each: (each.created_at or _UNKNOWN, each.name)):
        newest[each.architecture] = each
    undated = (each for each in named if each.created_at is None)
    return frozenset(each.name for each in (*newest.values(), *undated))


def _in_record(
    listed: Sequence[ImageAtProvider], known: KnownImages, keep: int
) -> Sequence[PruneDecision]:
    """Return the decisions about images that are on record only."""
    present, names = {each.image_id for each in listed}, {each.name for each in listed}
    gone = [(each, GONE) for each in known.published if each.image_id not in present]
    for each in known.missing:
        since = known.recorded_at[each.name]
        newer = sum(other > since for other in known.recorded_at.values())
        if newer >= keep and not {each.name} & {*names, *known.needed}:
            gone.append((each, "the region does not have it, and newer ones are on record"))
    return [
        PruneDecision(image=each, deleted=True, reason=reason, in_record=True)
        for each, reason in gone
    ]


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


def _decide(
    image: ImageAtProvider, known: KnownImages, newest: Collection[str], keep: int
) -> PruneDecision:
    stays = _why_it_stays(image, known)
    if stays is None and image.image_id in newest:
        stays = "it is the newest" if keep == 1 else f"it is one of the {keep} newest"
    failed = image.status is ImageStatus.FAILED
    newer = "a newer one is there" if keep == 1 else f"{keep} newer ones are there"
    goes = "its import failed" if failed else newer
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


_UNKNOWN = datetime.min.replace(tzinfo=UTC)
"""The age of an image that nothing is known of: it counts as the oldest."""
