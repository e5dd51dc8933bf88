"""Who needs an image in a region: machines that are made of it, and the removal of one that goes.

Both are decided under the store's write lock, so no machine is made of an image that goes.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from relight.domain.image.image import ImageRef
from relight.domain.image.prune import GONE
from relight.domain.image.publication import ABANDONED_AFTER, PublicationStatus
from relight.domain.machine import MachineImage
from relight.store.database import Database
from relight.store.errors import UnknownImageError
from relight.store.events import Operation, write
from relight.store.image_tables import ImageRow, PublishedImageRow
from relight.store.rows import require_alive
from relight.store.tables import MachineRow, RecordStatus, RolloutRow

IMAGE_REMOVED = "image-removed"
IMAGES_FORGOTTEN = "images-forgotten"


class ImageUse:
    """The use of images by machines, and the end of it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, machine_key: str, image: MachineImage) -> None:
        """Record the image of a planned machine before it is created: from now on it is in use.

        Raises:
            UnknownMachineError: the key was never planned.
            WrongMachineError: the machine is destroyed.
            UnknownImageError: the region does not have the image any more.
        """
        with self._database.writing() as session:
            machine = require_alive(session, machine_key)
            if machine.image_id == image.image_id:
                return
            row = session.get(PublishedImageRow, (image.name, machine.provider, machine.region))
            if row is None or (row.status, row.image_id) != (
                PublicationStatus.PUBLISHED,
                image.image_id,
            ):
                raise UnknownImageError(
                    f"{machine.provider}/{machine.region} does not have image {image.name} any "
                    "more: it was removed, or is published again. Try again"
                )
            machine.image_name, machine.image_id = image.name, image.image_id
            session.add(machine)

    def begin_removal(self, ref: ImageRef, *, gone: bool) -> str | None:
        """Let no machine be made of an image from now on; return why it stays, None if it goes.

        Args:
            ref: the image; with an empty id, one of which the region has a record alone.
            gone: its provider does not have it.
        """
        with self._database.writing() as session:
            row = _row_of(session, ref)
            stays = _why_it_stays(session, ref, row, gone=gone)
            if stays is None and row is not None:
                row.status, row.changed_at = PublicationStatus.DELETING, datetime.now(UTC)
                session.add(row)
            return stays

    def keep(self, ref: ImageRef) -> None:
        """Let machines be made of an image again that its provider does not delete."""
        with self._database.writing() as session:
            row = _row_of(session, ref)
            if row is not None and row.status == PublicationStatus.DELETING:
                was_proven = row.published_at is not None
                row.status = PublicationStatus.PUBLISHED if was_proven else PublicationStatus.FAILED
                session.add(row)

    def remove(self, ref: ImageRef, operation: Operation) -> bool:
        """Remove an image from a region's record, once its provider has it no more.

        The image goes from the record with its last region. A pinned one stays, as one that the
        region lacks: nobody but a person ends a pin.

        Returns:
            Whether it was on record.
        """
        with write(self._database, operation, IMAGE_REMOVED) as w:
            row = _row_of(w.session, ref)
            if row is None or row.status != PublicationStatus.DELETING:
                return w.earlier is not None
            w.log(detail={"image": ref.name, **ref.model_dump(exclude={"name"})})
            if row.pinned:
                row.image_id = row.published_at = None
                row.status, row.changed_at, row.reason = PublicationStatus.FAILED, w.at, GONE
                w.session.add(row)
                return True
            w.session.delete(row)
            _end_without_regions(w.session, {ref.name})
            return True

    def forget(self, provider: str, operation: Operation) -> list[str]:
        """Remove a provider's images from the record. What the provider has of them stays there.

        An image goes from the record with its last region, also a pinned one.

        Returns:
            `NAME in REGION` of each that was on record, ordered.
        """
        with write(self._database, operation, IMAGES_FORGOTTEN) as w:
            query = select(PublishedImageRow).where(PublishedImageRow.provider == provider)
            rows = w.session.exec(query).all()
            forgotten = sorted(f"{row.name} in {row.region}" for row in rows)
            if not rows:
                return []
            w.log(detail={"provider": provider, "images": forgotten})
            for row in rows:
                w.session.delete(row)
            _end_without_regions(w.session, {row.name for row in rows})
            return forgotten


def _end_without_regions(session: Session, names: Iterable[str]) -> None:
    """Remove the images that no region is on record for any more."""
    session.flush()
    for name in names:
        regions = select(PublishedImageRow.name).where(PublishedImageRow.name == name)
        image = session.get(ImageRow, name)
        if image is not None and session.exec(regions).first() is None:
            session.delete(image)


def _row_of(session: Session, ref: ImageRef) -> PublishedImageRow | None:
    """Return the row of an image, unless the region has another one of its name by now."""
    row = session.get(PublishedImageRow, (ref.name, ref.provider, ref.region))
    return row if row is not None and (row.image_id or "") == ref.image_id else None


def _why_it_stays(
    session: Session, ref: ImageRef, row: PublishedImageRow | None, *, gone: bool
) -> str | None:
    under_way = {PublicationStatus.WAITING, PublicationStatus.IMPORTING}
    if row is not None and row.status in under_way and not _is_abandoned(row):
        return "it is being published"
    if gone:
        return None
    if row is not None and row.pinned:
        return "it is pinned"
    rollouts = select(RolloutRow.run_id).where(
        RolloutRow.image_name == ref.name, col(RolloutRow.closed_at).is_(None)
    )
    if session.exec(rollouts).first() is not None:
        return "a rollout of it is open"
    machines = select(MachineRow.key).where(
        MachineRow.provider == ref.provider,
        MachineRow.region == ref.region,
        MachineRow.image_id == ref.image_id,
        MachineRow.status != RecordStatus.DESTROYED,
    )
    if session.exec(machines).first() is not None:
        return "machines are made of it"
    return None


def _is_abandoned(row: PublishedImageRow) -> bool:
    return datetime.now(UTC) - row.changed_at > ABANDONED_AFTER
