"""Base images: what the build of each says of it, and which regions have it.

Only `published` rows are used for machines. The steps on the way there are no events; its end is.
"""

import builtins
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlmodel import Session, col, select

from relight.domain.fault.fault import Fault
from relight.domain.image.image import ImageManifest, ImageRef
from relight.domain.image.publication import ImageInRegion, PublicationStatus
from relight.store.bad_rows import read_or_note
from relight.store.database import Database
from relight.store.errors import BadValueError, ImageConflictError, UnknownImageError
from relight.store.events import Operation, write
from relight.store.image_tables import ImageRow, PublishedImageRow
from relight.store.rows import read_row, validating

IMAGE_RECORDED = "image-recorded"
IMAGE_PUBLICATION_BEGUN = "image-publication-begun"
IMAGE_PUBLISHED = "image-published"
IMAGE_FAILED = "image-failed"
IMAGE_PINNED = "image-pinned"
IMAGE_UNPINNED = "image-unpinned"


class Place(NamedTuple):
    """A region of a provider."""

    provider: str
    region: str


class Images:
    """The images on record, and the regions that have them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, manifest: ImageManifest, operation: Operation) -> bool:
        """Record an image; return whether it is new.

        Raises:
            ImageConflictError: another build is on record under its name.
        """
        with write(self._database, operation, IMAGE_RECORDED) as w:
            row = w.session.get(ImageRow, manifest.name)
            if row is not None:
                known = manifest_of(row)
                if (known.identity, known.disk_sha256) != (manifest.identity, manifest.disk_sha256):
                    raise ImageConflictError(
                        f"another build of {manifest.name} is on record, with the disk"
                        f" {known.disk_sha256[:12]} and not {manifest.disk_sha256[:12]}: a name"
                        " means one content for ever. Build it under another label"
                    )
                return False
            w.session.add(
                ImageRow(
                    name=manifest.name,
                    architecture=manifest.architecture,
                    manifest=manifest.model_dump(mode="json"),
                    recorded_at=w.at,
                )
            )
            w.log(detail=manifest.model_dump(mode="json", exclude={"packages"}))
            return True

    def manifest(self, name: str) -> ImageManifest | None:
        """Return what the build of an image says of it; None if it is not on record.

        Raises:
            BadValueError: it was changed by hand.
        """
        with self._database.reading() as session:
            row = session.get(ImageRow, name)
            return manifest_of(row) if row else None

    def manifests(self) -> list[ImageManifest]:
        """Return all images on record, the newest first. An invalid one is noted and left out."""
        query = select(ImageRow).order_by(col(ImageRow.recorded_at).desc(), col(ImageRow.name))
        with self._database.reading() as session:
            found = (read_or_note(row, manifest_of) for row in session.exec(query))
            return [each for each in found if each is not None]

    def list(
        self, *, name: str | None = None, provider: str | None = None, region: str | None = None
    ) -> builtins.list[ImageInRegion]:
        """Return the images in regions: the newest first, then by provider and region.

        Args:
            name: only this image.
            provider: only in its regions.
            region: only in regions of this name.
        """
        query = (
            select(PublishedImageRow, ImageRow)
            .join(ImageRow, col(ImageRow.name) == col(PublishedImageRow.name))
            .order_by(
                col(ImageRow.recorded_at).desc(),
                *(
                    col(column)
                    for column in (
                        PublishedImageRow.name,
                        PublishedImageRow.provider,
                        PublishedImageRow.region,
                    )
                ),
            )
        )
        for column, value in (
            (PublishedImageRow.name, name),
            (PublishedImageRow.provider, provider),
            (PublishedImageRow.region, region),
        ):
            if value is not None:
                query = query.where(col(column) == value)
        with self._database.reading() as session:
            found = [_in_region_or_note(*row) for row in session.exec(query)]
        return [each for each in found if each is not None]

    # ------------------------------------------------------------ publication

    def open(self, name: str, places: Iterable[Place], operation: Operation) -> None:
        """Record that an image is being published in regions, and by whom.

        A region that has it is still `published`, until it is known not to have it.

        Raises:
            UnknownImageError: the image is not on record.
        """
        with write(self._database, operation, IMAGE_PUBLICATION_BEGUN) as w:
            if w.earlier:
                return
            _require_image(w.session, name)
            opened = sorted(places)
            for place in opened:
                row = w.session.get(PublishedImageRow, (name, *place))
                if row is None:
                    row = PublishedImageRow(
                        name=name,
                        provider=place.provider,
                        region=place.region,
                        status=PublicationStatus.WAITING,
                        changed_at=w.at,
                    )
                elif row.status != PublicationStatus.PUBLISHED:
                    _change(row, PublicationStatus.WAITING, w.at)
                row.attempts = 0
                w.session.add(row)
            w.log(detail={"image": name, "regions": ["/".join(each) for each in opened]})

    def begin(self, name: str, place: Place, attempt: int) -> None:
        """Record that an import begins, before it does: 1 for the first one."""
        with self._database.writing() as session:
            row = _require(session, name, place)
            row.attempts, row.reason, row.answer = attempt, "", ""
            if row.status != PublicationStatus.PUBLISHED:
                _change(row, PublicationStatus.IMPORTING, datetime.now(UTC))
            session.add(row)

    def order(self, ref: ImageRef) -> None:
        """Record the id of an image, or of the task that makes it.

        Another id than on record is another image: what was proven of the old one is forgotten.
        """
        with self._database.writing() as session:
            row = _require(session, ref.name, Place(ref.provider, ref.region))
            if row.image_id != ref.image_id:
                row.image_id, row.published_at = ref.image_id, None
                _change(row, PublicationStatus.IMPORTING, datetime.now(UTC))
            session.add(row)

    def publish(self, ref: ImageRef, operation: Operation) -> None:
        """Record that a region was proven to have an image, under its id at the provider."""
        with write(self._database, operation, IMAGE_PUBLISHED) as w:
            if w.earlier:
                return
            row = _require(w.session, ref.name, Place(ref.provider, ref.region))
            row.image_id, row.published_at = ref.image_id, w.at
            _change(row, PublicationStatus.PUBLISHED, w.at)
            w.session.add(row)
            w.log(detail={"image": ref.name, **ref.model_dump(exclude={"name"})})

    def note_answer(self, ref: ImageRef, answer: str) -> None:
        """Record the provider's whole answer about an import that failed."""
        with self._database.writing() as session:
            row = _require(session, ref.name, Place(ref.provider, ref.region))
            row.answer = answer
            session.add(row)

    def fail(
        self, name: str, place: Place, fault: Fault, operation: Operation, *, is_gone: bool
    ) -> None:
        """Record that an image could not be brought to a region.

        Args:
            name: of the image.
            place: the region.
            fault: why not.
            operation: whose.
            is_gone: there is no such image now. Otherwise a region that was proven to have it still
                counts as one that has.
        """
        with write(self._database, operation, IMAGE_FAILED) as w:
            if w.earlier:
                return
            row = _require(w.session, name, place)
            if is_gone:
                row.image_id = row.published_at = None
            had_it = row.published_at is not None
            row.status = PublicationStatus.PUBLISHED if had_it else PublicationStatus.FAILED
            row.changed_at, row.reason = w.at, fault.summary
            w.session.add(row)
            w.log(fault=fault, detail={**_detail(row), "reason": row.reason, "answer": row.answer})

    def fail_unbegun(
        self, name: str, places: Iterable[Place], fault: Fault, operation: Operation
    ) -> None:
        """Record why nothing was begun in regions. Those that have the image keep it."""
        with write(self._database, operation, IMAGE_FAILED) as w:
            if w.earlier:
                return
            failed = sorted(places)
            for place in failed:
                row = _require(w.session, name, place)
                if row.status != PublicationStatus.PUBLISHED:
                    row.status, row.changed_at = PublicationStatus.FAILED, w.at
                row.reason = fault.summary
                w.session.add(row)
            regions = ["/".join(each) for each in failed]
            w.log(fault=fault, detail={"image": name, "regions": regions, "reason": fault.summary})

    # ------------------------------------------------------------ use

    def pin(
        self, name: str, places: Iterable[Place] | None, operation: Operation, *, pinned: bool
    ) -> builtins.list[Place]:
        """Pin or unpin an image in regions that have it; return the regions that changed.

        A region has one pinned image of an architecture: the one that was is unpinned.

        Args:
            name: of the image.
            places: the regions; None for all that have it, or for all where it is pinned.
            operation: whose.
            pinned: or unpinned.

        Raises:
            UnknownImageError: the image is not on record, or a region has none.
        """
        with write(self._database, operation, IMAGE_PINNED if pinned else IMAGE_UNPINNED) as w:
            image = _require_image(w.session, name)
            rows = w.session.exec(
                select(PublishedImageRow).where(PublishedImageRow.name == name)
            ).all()
            by_place = {Place(row.provider, row.region): row for row in rows}
            having = _having(by_place)
            # A pin of a region that has lost the image can be ended too.
            every = having if pinned else by_place
            wanted = sorted(places if places is not None else every)
            lacking = [place for place in wanted if place not in having] if pinned else []
            if lacking or (pinned and not wanted):
                where = "/".join(lacking[0]) if lacking else "no region"
                raise UnknownImageError(
                    f"{where} has {'no' if lacking else 'the'} image {name}: "
                    f"`relight image publish {name} --missing` brings it there"
                )
            changed = [
                place
                for place in wanted
                if place in by_place and by_place[place].pinned is not pinned
            ]
            for place in changed:
                if pinned:
                    _unpin_others(w.session, image, place)
                by_place[place].pinned = pinned
                w.session.add(by_place[place])
            if changed and not w.earlier:
                w.log(detail={"image": name, "regions": ["/".join(each) for each in changed]})
            return changed


def manifest_of(row: ImageRow) -> ImageManifest:
    """Return what the build of an image says of it.

    Raises:
        BadValueError: it was changed by hand.
    """
    with validating(f"image {row.name}"):
        manifest = ImageManifest.model_validate(row.manifest)
    if (manifest.name, manifest.architecture) != (row.name, row.architecture):
        raise BadValueError(f"image {row.name}: its manifest is of another image")
    if not isinstance(row.recorded_at, datetime):
        raise BadValueError(f"image {row.name}: recorded_at is {row.recorded_at!r}")
    return manifest


def in_region_of(row: PublishedImageRow, image: ImageRow | None = None) -> ImageInRegion:
    """Return an image in a region.

    Args:
        row: what is on record of the region.
        image: its image; None to check the row alone.

    Raises:
        BadValueError: it was changed by hand.
    """
    what = f"image {row.name} in {row.provider}/{row.region}"
    architecture = image.architecture if image else "all"
    recorded_at = image.recorded_at if image else row.changed_at
    return read_row(ImageInRegion, row, what, architecture=architecture, recorded_at=recorded_at)


def _in_region_or_note(row: PublishedImageRow, image: ImageRow) -> ImageInRegion | None:
    if read_or_note(image, manifest_of) is None:
        return None
    return read_or_note(row, lambda each: in_region_of(each, image))


def _having(rows: dict[Place, PublishedImageRow]) -> set[Place]:
    return {place for place, row in rows.items() if row.status == PublicationStatus.PUBLISHED}


def _unpin_others(session: Session, image: ImageRow, place: Place) -> None:
    others = (
        select(PublishedImageRow)
        .join(ImageRow, col(ImageRow.name) == col(PublishedImageRow.name))
        .where(
            PublishedImageRow.provider == place.provider,
            PublishedImageRow.region == place.region,
            ImageRow.architecture == image.architecture,
            col(PublishedImageRow.pinned).is_(True),
        )
    )
    for row in session.exec(others).all():
        row.pinned = False
        session.add(row)


def _change(row: PublishedImageRow, status: PublicationStatus, at: datetime) -> None:
    row.status, row.changed_at = status, at
    row.reason = row.answer = ""


def _detail(row: PublishedImageRow) -> dict[str, object]:
    return {
        "image": row.name,
        "provider": row.provider,
        "region": row.region,
        "image_id": row.image_id,
    }


def _require_image(session: Session, name: str) -> ImageRow:
    row = session.get(ImageRow, name)
    if row is None:
        raise UnknownImageError(f"there is no image {name} on record")
    return row


def _require(session: Session, name: str, place: Place) -> PublishedImageRow:
    row = session.get(PublishedImageRow, (name, *place))
    if row is None:
        raise UnknownImageError(f"image {name} is not being published in {'/'.join(place)}")
    return row
