"""The newest signed index that was seen of each apt repository: an older one is refused.

It outlives workers and their hosts, since whoever serves an old index may wait for a restart.
"""

from datetime import datetime

from relight.store.database import Database
from relight.store.events import Operation, write
from relight.store.tables import RepositoryIndexRow

OLDER_INDEX_ACCEPTED = "older-index-accepted"


class RepositoryIndexes:
    """The dates, by the repository's address, suite and component."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self, source: str) -> datetime | None:
        """Return the date of a repository's newest index, UTC; None if none was seen."""
        with self._database.reading() as session:
            row = session.get(RepositoryIndexRow, source)
            return row.date if row else None

    def record(self, source: str, date: datetime) -> None:
        """Record that an index of this date was seen. An older date changes nothing."""
        newest = self.newest(source)
        if newest is not None and newest >= date:
            return
        with self._database.writing() as session:
            row = session.get(RepositoryIndexRow, source)
            if row is None or row.date < date:
                session.merge(RepositoryIndexRow(source=source, date=date))

    def accept(self, source: str, date: datetime, operation: Operation) -> bool:
        """Accept an index of this date again; return whether a newer one had been seen."""
        with write(self._database, operation, OLDER_INDEX_ACCEPTED) as w:
            row = w.session.get(RepositoryIndexRow, source)
            if row is None or row.date <= date:
                return False
            w.log(
                detail={
                    "source": source,
                    "date": date.isoformat(),
                    "newest": row.date.isoformat(),
                }
            )
            row.date = date
            w.session.add(row)
            return True
