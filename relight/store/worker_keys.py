"""Which keys each worker has in its files, as it reports them. They write no events."""

from datetime import UTC, datetime, timedelta

from sqlmodel import col, delete, select

from relight.domain.clock import TOLERANCE
from relight.domain.key_rotation import WorkerKeys
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.key_tables import WorkerKeysRow
from relight.store.rows import read_row

REPORTED_WITHIN = timedelta(minutes=2)
"""A worker that has not reported for longer does not count any more."""


class WorkerKeysStore:
    """One row per worker that runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, worker: str, client: tuple[str, ...], host_secret: tuple[str, ...]) -> None:
        """Record the keys that a worker has now, and delete the rows of workers that are gone.

        Args:
            worker: its identity.
            client: the fingerprints of its client keys, the one in use first.
            host_secret: those of its host-key secrets.
        """
        now = datetime.now(UTC)
        keys = {"client": list(client), "host_secret": list(host_secret)}
        gone = (col(WorkerKeysRow.seen_at) < now - REPORTED_WITHIN) | (
            # Written by a clock that was ahead.
            col(WorkerKeysRow.seen_at) > now + TOLERANCE
        )
        with self._database.writing() as session:
            session.exec(delete(WorkerKeysRow).where(gone))
            session.merge(WorkerKeysRow(worker=worker, keys=keys, seen_at=now))

    def forget(self, worker: str) -> None:
        """Delete the row of a worker that stops."""
        with self._database.writing() as session:
            session.exec(delete(WorkerKeysRow).where(col(WorkerKeysRow.worker) == worker))

    def list(self) -> tuple[WorkerKeys, ...]:
        """Return the workers that have reported lately, by name. Invalid rows are left out."""
        since = datetime.now(UTC) - REPORTED_WITHIN
        query = (
            select(WorkerKeysRow)
            .where(col(WorkerKeysRow.seen_at) >= since)
            .order_by(col(WorkerKeysRow.worker))
        )
        with self._database.reading() as session:
            return tuple(read_good(session.exec(query), worker_keys_of))


def worker_keys_of(row: WorkerKeysRow) -> WorkerKeys:
    """Return what a row says."""
    keys = row.keys if isinstance(row.keys, dict) else {}
    return read_row(
        WorkerKeys,
        row,
        f"the keys of worker {row.worker}",
        client=keys.get("client"),
        host_secret=keys.get("host_secret"),
    )
