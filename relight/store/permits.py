"""Permits of limits that hold for all workers together: each worker leases some for a time."""

from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, Field
from sqlmodel import and_, col, delete, or_, select

from relight.domain.base import Message
from relight.domain.clock import TOLERANCE
from relight.domain.permit import Granted, Lease, grant
from relight.store.bad_rows import read_or_note
from relight.store.database import Database
from relight.store.rows import read_row
from relight.store.tables import PermitRow


class _Permit(Message):
    """The columns of a row."""

    count: int = Field(ge=0)
    wanted: int = Field(ge=0)
    expires_at: AwareDatetime


def lease_of(row: PermitRow) -> Lease:
    """Return a row's lease."""
    read = read_row(_Permit, row, f"the permits of {row.name}")
    return Lease(read.count, read.wanted)


class Permits:
    """The leases. They are no part of the fleet's history, so they write no events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lease(
        self, name: str, holder: str, *, limit: int, wanted: int, used: int, lasts: timedelta
    ) -> Granted:
        """Renew or change the lease of a worker, and return the permits that it has.

        Args:
            name: of the limit.
            holder: the worker, which no other process shares.
            limit: for all workers together.
            wanted: how many permits the worker needs; 0 returns all.
            used: how many of them it is using.
            lasts: after this time without a renewal, the permits are free for others.
        """
        now = datetime.now(UTC)
        with self._database.writing() as session:
            # One that lasts longer than a lease of this limit can was written by a wrong clock.
            is_wrong = and_(
                PermitRow.name == name, col(PermitRow.expires_at) > now + lasts + TOLERANCE
            )
            expired = or_(col(PermitRow.expires_at) <= now, is_wrong)
            session.exec(delete(PermitRow).where(expired))
            rows = session.exec(select(PermitRow).where(PermitRow.name == name)).all()
            # Whoever has a permit renews it: an invalid one is dropped.
            bad = [row for row in rows if read_or_note(row, lease_of) is None]
            for row in bad:
                session.delete(row)
            rows = [row for row in rows if row not in bad]
            own = next((row for row in rows if row.holder == holder), None)
            others = [Lease(row.count, row.wanted) for row in rows if row is not own]
            if wanted == 0:
                if own is not None:
                    session.delete(own)
                return Granted(0, 0)
            granted = grant(limit, wanted, used, others)
            own = own or PermitRow(name=name, holder=holder, count=0, wanted=0, expires_at=now)
            own.count, own.wanted, own.expires_at = granted.count, wanted, now + lasts
            session.add(own)
            return granted
