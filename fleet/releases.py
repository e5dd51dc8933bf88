"""Releases: what each tag was resolved to."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from fleet.checking import naming
from fleet.database import Database
from fleet.tables import ArtifactRow, ReleaseRow
from messages.release import Artifact, Release


class Releases:
    """As the repository described them when they were resolved last."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, release: Release) -> None:
        """Write down what a tag stands for, in place of what was known of it."""
        with self._database.writing() as session:
            row = session.get(ReleaseRow, release.tag)
            described = release.model_dump(exclude={"artifacts"})
            if row is None:
                row = ReleaseRow(**described, first_resolved_at=datetime.now(UTC))
            row.sqlmodel_update(described)
            session.add(row)
            # Artifacts refer to their release: it comes first.
            session.flush()
            _replace_artifacts(session, release)

    def get(self, tag: str) -> Release | None:
        """Return what a tag stands for, None if it was never resolved.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        return next(iter(self._read(tag)), None)

    def _read(self, tag: str | None = None) -> list[Release]:
        rows = select(ReleaseRow).order_by(col(ReleaseRow.first_resolved_at), col(ReleaseRow.tag))
        artifacts = select(ArtifactRow)
        if tag is not None:
            rows = rows.where(ReleaseRow.tag == tag)
            artifacts = artifacts.where(ArtifactRow.release_tag == tag)
        with self._database.reading() as session:
            found = session.exec(artifacts).all()
            return [
                _release(row, [a for a in found if a.release_tag == row.tag])
                for row in session.exec(rows)
            ]

    def list(self) -> list[Release]:
        """Return every release, in the order in which they were first resolved.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        return self._read()


def _replace_artifacts(session: Session, release: Release) -> None:
    kept = {artifact.architecture for artifact in release.artifacts}
    for row in session.exec(select(ArtifactRow).where(ArtifactRow.release_tag == release.tag)):
        if row.architecture not in kept:
            session.delete(row)
    for artifact in release.artifacts:
        session.merge(ArtifactRow(release_tag=release.tag, **artifact.model_dump()))


def _release(row: ReleaseRow, artifacts: Sequence[ArtifactRow]) -> Release:
    with naming(f"release {row.tag}"):
        return Release(
            tag=row.tag,
            version=row.version,
            package=row.package,
            source=row.source,
            artifacts=tuple(
                Artifact.model_validate(artifact.model_dump())
                for artifact in sorted(artifacts, key=lambda a: a.architecture)
            ),
        )
