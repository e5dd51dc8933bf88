"""Releases: the version and files that each tag was last resolved to.

They are kept by the tag of the package: its configuration does not change what it resolves to.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, exists, or_, select

from relight.domain.names import package_tag
from relight.domain.release import DebFile, Release
from relight.store.bad_rows import read_or_note
from relight.store.database import Database
from relight.store.rows import read_row, validating
from relight.store.tables import (
    DebFileRow,
    PoolMachineRow,
    ReleaseRow,
    RolloutRouteRow,
    RolloutRow,
    RouteRow,
)


class Releases:
    """Each release as its repository last described it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, release: Release) -> None:
        """Record a resolved release, replacing what was recorded of its tag."""
        release = release.model_copy(update={"tag": package_tag(release.tag)})
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
        rows = select(ReleaseRow).where(ReleaseRow.tag == package_tag(tag))
        deb_files = select(DebFileRow).where(DebFileRow.release_tag == package_tag(tag))
        with self._database.reading() as session:
            row = session.exec(rows).one_or_none()
            release = release_of(row, session.exec(deb_files).all()) if row else None
        return release.model_copy(update={"tag": tag}) if release else None

    def pinned(self, tag: str) -> Release | None:
        """Return the release that a tag means in this fleet; None if it has no meaning yet.

        A tag means what it was last resolved to, as long as a machine or a rollout on record names
        it.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            named = session.exec(select(_is_named(package_tag(tag)))).one()
        return self.get(tag) if named else None

    def with_file(self, sha256: str) -> Release | None:
        """Return a release that has a file with this digest, None if there is none.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        query = select(DebFileRow.release_tag).where(DebFileRow.sha256 == sha256)
        with self._database.reading() as session:
            tag = session.exec(query).first()
        return None if tag is None else self.get(tag)

    def version(self, tag: str) -> str | None:
        """Return the Debian version of a release, None if its tag was never resolved."""
        with self._database.reading() as session:
            query = select(ReleaseRow.version).where(ReleaseRow.tag == package_tag(tag))
            return session.exec(query).first()

    def list(self) -> list[Release]:
        """Return every release, in the order in which they were first resolved.

        An invalid one is noted and left out.
        """
        rows = select(ReleaseRow).order_by(col(ReleaseRow.first_resolved_at), col(ReleaseRow.tag))
        deb_files = select(DebFileRow)
        with self._database.reading() as session:
            found = session.exec(deb_files).all()
            releases = (
                (row, [each for each in found if each.release_tag == row.tag])
                for row in session.exec(rows)
            )
            return [
                release
                for row, files in releases
                if (release := read_or_note(row, partial(release_of, deb_files=files))) is not None
            ]


def _is_named(tag: str) -> ColumnElement[bool]:
    """Return whether a machine or a rollout on record names a tag, with any configuration."""
    return or_(
        *(
            exists().where(or_(col(named) == tag, col(named).startswith(f"{tag}@")))
            for named in (
                RolloutRow.release_tag,
                RouteRow.target_release_tag,
                RouteRow.current_release_tag,
                PoolMachineRow.release_tag,
                RolloutRouteRow.previous_release_tag,
            )
        )
    )


def _replace_deb_files(session: Session, release: Release) -> None:
    kept = {deb_file.architecture for deb_file in release.deb_files}
    for row in session.exec(select(DebFileRow).where(DebFileRow.release_tag == release.tag)):
        if row.architecture not in kept:
            session.delete(row)
    for deb_file in release.deb_files:
        session.merge(DebFileRow(release_tag=release.tag, **deb_file.model_dump()))


def deb_file_of(row: DebFileRow) -> DebFile:
    """Return a row's file."""
    return read_row(DebFile, row, f"the file of {row.release_tag} for {row.architecture}")


def release_of(row: ReleaseRow, deb_files: Sequence[DebFileRow] = ()) -> Release:
    """Return a row's release."""
    with validating(f"release {row.tag}"):
        return Release(
            tag=row.tag,
            version=row.version,
            package=row.package,
            source=row.source,
            deb_files=tuple(
                deb_file_of(deb_file)
                for deb_file in sorted(deb_files, key=lambda each: each.architecture)
            ),
        )
