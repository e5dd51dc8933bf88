"""The service's configurations: what each revision contains. None is ever changed."""

import builtins
from datetime import datetime

from sqlmodel import Session, col, select

from relight.domain.base import Message
from relight.domain.configuration import Configuration
from relight.domain.names import Revision, revision_of
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.errors import BadValueError
from relight.store.events import Operation, write
from relight.store.rows import validating
from relight.store.tables import (
    ConfigurationRow,
    EventRow,
    PoolMachineRow,
    RolloutRouteRow,
    RolloutRow,
    RouteRow,
    SettingRow,
    TrackRow,
)

CONFIGURATION_APPLIED = "configuration-applied"

_NAMING = (
    RolloutRow.release_tag,
    RouteRow.target_release_tag,
    RouteRow.current_release_tag,
    PoolMachineRow.release_tag,
    RolloutRouteRow.previous_release_tag,
    SettingRow.value,
    TrackRow.release_override,
    EventRow.release_tag,
)
"""Columns with the names of releases."""


class ConfigurationRecord(Message):
    """A configuration on record.

    Attributes:
        created_at: when it was first applied, UTC.
        requested_by: who did.
        reason: why.
    """

    revision: Revision
    created_at: datetime
    requested_by: str
    reason: str
    configuration: Configuration


class Configurations:
    """The configurations that releases may name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, configuration: Configuration, operation: Operation) -> bool:
        """Record a configuration; return whether it is new. The event has not its content."""
        revision = configuration.revision
        with write(self._database, operation, CONFIGURATION_APPLIED) as w:
            if w.earlier or w.session.get(ConfigurationRow, revision) is not None:
                return False
            w.session.add(
                ConfigurationRow(
                    revision=revision,
                    content=configuration.model_dump(mode="json"),
                    created_at=w.at,
                    requested_by=operation.origin.requested_by,
                    reason=operation.origin.reason,
                )
            )
            paths = [each.path for each in configuration.files]
            w.log(detail={"revision": revision, "files": paths})
            return True

    def exists(self, revision: Revision) -> bool:
        """Return whether there is a configuration with this revision."""
        query = select(ConfigurationRow.revision).where(ConfigurationRow.revision == revision)
        with self._database.reading() as session:
            return session.exec(query).first() is not None

    def get(self, revision: Revision) -> ConfigurationRecord | None:
        """Return a configuration, None if there is none with this revision.

        Raises:
            BadValueError: it was changed by hand.
        """
        with self._database.reading() as session:
            row = session.get(ConfigurationRow, revision)
            return record_of(row) if row else None

    def list(self) -> list[ConfigurationRecord]:
        """Return all, the oldest first. An invalid one is noted and left out."""
        query = select(ConfigurationRow).order_by(
            col(ConfigurationRow.created_at), col(ConfigurationRow.revision)
        )
        with self._database.reading() as session:
            return read_good(session.exec(query), record_of)


def prunable(session: Session, before: datetime) -> builtins.list[Revision]:
    """Return the revisions from before an instant that no release on record names."""
    named = {
        revision_of(tag)
        for column in _NAMING
        for tag in session.exec(select(column).where(col(column).contains("@")).distinct())
        if tag is not None
    }
    query = select(ConfigurationRow.revision).where(col(ConfigurationRow.created_at) < before)
    return [revision for revision in session.exec(query) if revision not in named]


def record_of(row: ConfigurationRow) -> ConfigurationRecord:
    """Return a row's configuration.

    Raises:
        BadValueError: it was changed by hand.
    """
    with validating(f"configuration {row.revision}"):
        record = ConfigurationRecord(
            revision=row.revision,
            created_at=row.created_at,
            requested_by=row.requested_by,
            reason=row.reason,
            configuration=Configuration.model_validate(row.content),
        )
    if record.configuration.revision != row.revision:
        raise BadValueError(f"configuration {row.revision}: its content is of another revision")
    return record
