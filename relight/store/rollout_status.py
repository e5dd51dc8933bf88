"""Where rollouts stand: what they say about themselves, and the progress of their routes.

An open rollout records its standing at each change; its waves record what they wait for. So its
status needs neither its workflow nor a worker.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from relight.domain.names import rollout_workflow_id
from relight.domain.rollout.rollout import (
    Rollout,
    RolloutStanding,
    RolloutStatus,
)
from relight.domain.rollout.status import status_of
from relight.store.database import Database
from relight.store.rollout_choice import WaveCounts
from relight.store.rollout_routes import (
    counts_by_wave,
    listed_routes,
    total_counts,
)
from relight.store.rows import read_row
from relight.store.tables import RolloutRow


@dataclass(frozen=True)
class FollowedRollout:
    """A rollout as it is followed: all of one moment.

    Attributes:
        status: its status.
        waves: the number of routes by progress, of each wave by its number. Their sum is the
            status's counts while the rollout runs.
        opened_at: when it claimed its scope, UTC.
    """

    status: RolloutStatus
    waves: WaveCounts
    opened_at: datetime


class RolloutStatuses:
    """The status of each rollout, by the id of its first run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, run_id: str, standing: RolloutStanding) -> None:
        """Record where a rollout stands. One that is closed, or never claimed, is unchanged."""
        with self._database.writing() as session:
            row = _row(session, run_id)
            if row is None or row.closed_at is not None:
                return
            for name, value in standing:
                setattr(row, name, value)
            session.add(row)

    def get(self, run_id: str, *, whole: bool = False) -> RolloutStatus | None:
        """Return the status of a rollout; None if it never claimed a scope.

        Args:
            run_id: the id of its first run.
            whole: list faults with output and log, not only in brief.

        Raises:
            BadValueError: a row was changed by hand and is invalid.
        """
        followed = self.follow(run_id, whole=whole)
        return followed.status if followed is not None else None

    def follow(self, run_id: str, *, whole: bool = False) -> FollowedRollout | None:
        """Return a rollout with the counts of its waves; None if it never claimed a scope.

        Args and errors are those of `get`.
        """
        with self._database.reading() as session:
            row = _row(session, run_id)
            if row is None:
                return None
            waves = counts_by_wave(session, run_id)
            counts = total_counts(waves)
            routes = listed_routes(session, run_id, counts)
        what = f"rollout {row.workflow_id}"
        rollout = read_row(Rollout, row, what)
        undo = rollout_workflow_id(rollout.release_tag, rollout.scope, undo=True)
        status = status_of(
            rollout,
            read_row(RolloutStanding, row, what),
            row.blocked_by,
            row.blocked_since,
            counts,
            routes if whole else [each.brief for each in routes],
            undo=rollout.workflow_id == undo,
        )
        return FollowedRollout(status, waves, rollout.opened_at)

    def record_blocked(self, run_id: str, blocked_by: str) -> None:
        """Record what the running wave of a rollout waits for; empty if for nothing."""
        with self._database.reading() as session:
            row = _row(session, run_id)
        if row is None or row.blocked_by == blocked_by:
            return
        with self._database.writing() as session:
            if (row := _row(session, run_id)) is not None:
                row.blocked_by = blocked_by
                row.blocked_since = datetime.now(UTC) if blocked_by else None
                session.add(row)


def _row(session: Session, run_id: str) -> RolloutRow | None:
    return session.exec(select(RolloutRow).where(col(RolloutRow.run_id) == run_id)).one_or_none()
