"""Releases: the version and files that each tag was last resolved to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from relight.domain.release import DebFile, Release
from relight.store.database import Database
from relight.store.rows import validating
from relight.store.tables import DebFileRow, ReleaseRow


class Releases:
    """Each release as its repository last described it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, release: Release) -> None:
        """Record a resolved release, replacing what was recorded of its tag."""
        with self._database.writing() as session:
            row = session.get(ReleaseRow, release.tag)
            described = release.model_dump(exclude={"deb_files"})
            if row is None:
                row = ReleaseRow(**described, first_resolved_at=datetime.now(UTC))
            row.sqlmodel_update(described)
            session.add(row)
            # First, since its .deb files refer to it.
            session.flush()
            _replace_deb_files(session, release)

    def get(self, tag: str) -> Release | None:
        """Return a release, None if its tag was never resolved.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        return next(iter(self._read(tag)), None)

    def _read(self, tag: str | None = None) -> list[Release]:
        rows = select(ReleaseRow).order_by(col(ReleaseRow.first_resolved_at), col(ReleaseRow.tag))
        deb_files = select(DebFileRow)
        if tag is not None:
            rows = rows.where(ReleaseRow.tag == tag)
            deb_files = deb_files.where(DebFileRow.release_tag == tag)
        with self._database.reading() as session:
            found = session.exec(deb_files).all()
            return [
                _release(row, [each for each in found if each.release_tag == row.tag])
                for row in session.exec(rows)
            ]

    def list(self) -> list[Release]:
        """Return every release, in the order in which they were first resolved.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        return self._read()


def _replace_deb_files(session: Session, release: Release) -> None:
    kept = {deb_file.architecture for deb_file in release.deb_files}
    for row in session.exec(select(DebFileRow).where(DebFileRow.release_tag == release.tag)):
        if row.architecture not in kept:
            session.delete(row)
    for deb_file in release.deb_files:
        session.merge(DebFileRow(release_tag=release.tag, **deb_file.model_dump()))


def _release(row: ReleaseRow, deb_files: Sequence[DebFileRow]) -> Release:
    with validating(f"release {row.tag}"):
        return Release(
            tag=row.tag,
            version=row.version,
            package=row.package,
            source=row.source,
            deb_files=tuple(
                DebFile.model_validate(deb_file.model_dump())
                for deb_file in sorted(deb_files, key=lambda each: each.architecture)
            ),
        )
