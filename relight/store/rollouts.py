"""Rollouts: which run moves which declaration, and how it ended.

The store knows a rollout as a claim on a scope, open or closed. The progress of an open one is
known to its workflow; here it is `running`.
"""

from dataclasses import replace

from sqlmodel import Session, col, select

from relight.domain.names import scope_track
from relight.domain.rollout.rollout import (
    CloseRolloutInput,
    OpenRolloutInput,
    Rollout,
    RolloutPhase,
)
from relight.store.database import Database
from relight.store.declarations import declare, require_track
from relight.store.errors import ScopeBusyError
from relight.store.events import Operation, Write, write
from relight.store.ledger import release_of_rollout
from relight.store.rows import read_row
from relight.store.tables import RolloutRow


class Rollouts:
    """One open rollout per scope, enforced by a unique index."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, input: OpenRolloutInput, operation: Operation) -> Rollout:
        """Claim a scope. A run that has already claimed it gets its own claim again.

        Raises:
            UnknownTrackError: the scope names a track that does not exist.
            ScopeBusyError: another run holds the scope.
        """
        with write(self._database, operation, "rollout-opened") as w:
            if w.earlier:
                return Rollout.model_validate(w.earlier.detail["rollout"])
            track = scope_track(input.scope)
            if track is not None:
                require_track(w.session, track)
            holder = _holder(w.session, input.scope)
            if holder is None:
                return _claim(w, input)
            rollout = _rollout(holder)
            if (holder.workflow_id, holder.run_id) == (operation.workflow_id, operation.run_id):
                return rollout
        raise ScopeBusyError(
            f"scope {input.scope} is held by the rollout of {rollout.release_tag} "
            f"({rollout.workflow_id}), open since {rollout.opened_at:%Y-%m-%d %H:%M:%S} UTC",
            rollout,
        )

    def abandon(self, holder: Rollout, operation: Operation) -> None:
        """Close a rollout whose workflow no longer runs. A closed one stays unchanged."""
        # Closing is idempotent, and before its own claim one activity may close several rollouts.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, "rollout-abandoned") as w:
            row = _holder(w.session, holder.scope)
            if row is None or (row.workflow_id, row.run_id) != (holder.workflow_id, holder.run_id):
                return
            row.phase = RolloutPhase.ABORTED
            row.detail = "abandoned: its workflow is gone"
            row.closed_at = w.at
            w.session.add(row)
            release_of_rollout(w.session, row.run_id)
            w.log(
                release_tag=holder.release_tag,
                detail={"rollout": _rollout(row).model_dump(mode="json")},
            )

    def close(self, input: CloseRolloutInput, operation: Operation) -> None:
        """Record how a rollout ended, free its scope and, if requested, declare its release.

        A run that does not hold the scope changes nothing and writes no event.

        Raises:
            UnknownTrackError: the track that would get the release was deleted by hand.
        """
        with write(self._database, operation, "rollout-closed") as w:
            row = _holder(w.session, input.scope)
            run = (operation.workflow_id, operation.run_id)
            if w.earlier or row is None or (row.workflow_id, row.run_id) != run:
                return
            row.phase, row.detail, row.closed_at = input.phase, input.detail, w.at
            w.session.add(row)
            # Of routes on which no operation has begun. One that has begun holds its route itself.
            release_of_rollout(w.session, row.run_id)
            w.log(
                release_tag=input.release_tag,
                detail={
                    "rollout": _rollout(row).model_dump(mode="json"),
                    "promoted": input.promote,
                },
            )
            if input.promote:
                declare(w, input.scope, input.release_tag)

    def get(self, workflow_id: str) -> Rollout | None:
        """Return the newest rollout of a workflow id, None if it never claimed a scope.

        Raises:
            BadValueError: it was changed by hand and is invalid.
        """
        newest = (
            select(RolloutRow)
            .where(RolloutRow.workflow_id == workflow_id)
            .order_by(col(RolloutRow.rollout_id).desc())
            .limit(1)
        )
        with self._database.reading() as session:
            row = session.exec(newest).one_or_none()
            return _rollout(row) if row else None

    def list(self) -> list[Rollout]:
        """Return every rollout, oldest first.

        Raises:
            BadValueError: one was changed by hand and is invalid.
        """
        with self._database.reading() as session:
            rows = session.exec(select(RolloutRow).order_by(col(RolloutRow.rollout_id)))
            return [_rollout(row) for row in rows]


def _rollout(row: RolloutRow) -> Rollout:
    return read_row(Rollout, row, f"rollout {row.workflow_id}")


def _holder(session: Session, scope: str) -> RolloutRow | None:
    return session.exec(
        select(RolloutRow).where(RolloutRow.scope == scope, col(RolloutRow.closed_at).is_(None))
    ).one_or_none()


def _claim(w: Write, input: OpenRolloutInput) -> Rollout:
    row = RolloutRow(
        workflow_id=w.operation.workflow_id,
        run_id=w.operation.run_id,
        release_tag=input.release_tag,
        scope=input.scope,
        phase=RolloutPhase.RUNNING,
        detail="",
        opened_at=w.at,
    )
    w.session.add(row)
    rollout = _rollout(row)
    w.log(release_tag=input.release_tag, detail={"rollout": rollout.model_dump(mode="json")})
    return rollout
