"""Whether machines answer: one row per machine, and one for the last check.

They are no part of the fleet's history, so they write no events. A check in which nothing changes
writes the row of the check, and few others.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, insert
from sqlalchemy import select as select_columns
from sqlmodel import col, delete, select

from relight.domain.clock import is_future
from relight.domain.liveness import Liveness, LivenessCheck, MachineToProbe
from relight.domain.pool.pool import PoolStatus
from relight.domain.route import RouteStatus
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.rows import read_row, time_or_none
from relight.store.tables import (
    LivenessCheckRow,
    LivenessRow,
    MachineRow,
    PoolMachineRow,
    RouteRow,
)

_CHECK_ID = 1
"""The id of the only row."""

_COLUMNS: tuple[Any, ...] = (
    col(MachineRow.key),
    col(MachineRow.address),
    col(RouteRow.route_id),
    col(RouteRow.status),
    col(RouteRow.proven_at),
    col(PoolMachineRow.proven_at).label("pool_proven_at"),
    col(LivenessRow.answers),
    col(LivenessRow.since),
    col(LivenessRow.answered_at),
)

_PROBED: Select[Any] = (
    select_columns(*_COLUMNS)
    .outerjoin(RouteRow, col(RouteRow.machine_key) == col(MachineRow.key))
    .outerjoin(PoolMachineRow, col(PoolMachineRow.key) == col(MachineRow.key))
    .outerjoin(LivenessRow, col(LivenessRow.machine_key) == col(MachineRow.key))
    .where(
        col(MachineRow.address).is_not(None),
        # A machine that is being prepared boots, and its operation observes it.
        col(RouteRow.route_id).is_not(None) | (col(PoolMachineRow.status) == PoolStatus.READY),
    )
    .order_by(col(MachineRow.key))
)


class LivenessStore:
    """Written in batches, one transaction each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, after: str, limit: int) -> list[MachineToProbe]:
        """Return the next machines to probe, by their keys.

        Args:
            after: the key of the last one before them.
            limit: how many at most.
        """
        query = _PROBED.where(col(MachineRow.key) > after).limit(limit)
        with self._database.reading() as session:
            return [_to_probe(row) for row in session.connection().execute(query)]

    def record(self, changes: Sequence[Liveness]) -> None:
        """Replace the rows of these machines."""
        if not changes:
            return
        keys = [each.machine_key for each in changes]
        with self._database.writing() as session:
            session.exec(delete(LivenessRow).where(col(LivenessRow.machine_key).in_(keys)))
            session.connection().execute(insert(LivenessRow), [dict(each) for each in changes])

    def record_check(self, check: LivenessCheck) -> None:
        """Record a check that has ended, and delete the rows of machines that are probed no more.

        A check that is older than the recorded one changes nothing, unless that was recorded while
        a clock was ahead.
        """
        with self._database.writing() as session:
            row = session.get(LivenessCheckRow, _CHECK_ID)
            if row is not None and row.began_at > check.began_at:
                clock_was_ahead = is_future(row.began_at, datetime.now(UTC))
                if not clock_was_ahead:
                    return
            session.merge(LivenessCheckRow(check_id=_CHECK_ID, **dict(check)))
            serving = select(RouteRow.route_id).where(
                RouteRow.machine_key == LivenessRow.machine_key
            )
            in_pool = select(PoolMachineRow.key).where(
                PoolMachineRow.key == LivenessRow.machine_key
            )
            session.exec(delete(LivenessRow).where(~serving.exists(), ~in_pool.exists()))

    def last_check(self) -> LivenessCheck | None:
        """Return the last check that has ended; None if there was none.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(LivenessCheckRow, _CHECK_ID)
            return read_row(LivenessCheck, row, "the last liveness check") if row else None

    def silent(self) -> Mapping[str, Liveness]:
        """Return what is on record of each machine that does not answer, by its key.

        A proof may be newer: `is_silent` decides. Invalid ones are noted and left out.
        """
        query = select(LivenessRow).where(col(LivenessRow.answers).is_(False))
        with self._database.reading() as session:
            return {each.machine_key: each for each in read_good(session.exec(query), _liveness)}

    def get(self, machine_key: str) -> Liveness | None:
        """Return what is on record of a machine; None before its first probe.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            row = session.get(LivenessRow, machine_key)
            return _liveness(row) if row else None


def _liveness(row: LivenessRow) -> Liveness:
    return read_row(Liveness, row, f"liveness of {row.machine_key}")


def _to_probe(row: Any) -> MachineToProbe:
    """Return a row of the query. What is no time counts as none, so that the others are probed."""
    known = None
    if (since := time_or_none(row.since)) is not None:
        known = Liveness.model_construct(
            machine_key=row.key,
            answers=row.answers,
            since=since,
            answered_at=time_or_none(row.answered_at),
        )
    in_pool = row.route_id is None
    return MachineToProbe(
        key=row.key,
        address=row.address,
        route_id=row.route_id,
        serving=row.status == RouteStatus.SERVING,
        proven_at=time_or_none(row.pool_proven_at if in_pool else row.proven_at),
        known=known,
    )
