"""Rollouts: who moves which declaration, and how it ended.

The store knows a rollout as a claim on a scope, open or closed. Where an open one stands is known
to its workflow; here it is `running`.
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
from relight.store.rows import naming
from relight.store.tables import RolloutRow
from relight.store.write import Operation, Write, write


class Rollouts:
    """One open rollout per scope; the database itself sees to that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, input: OpenRolloutInput, operation: Operation) -> Rollout:
        """Claim a scope. A run that has claimed it already is given its own claim.

        Raises:
            UnknownTrackError: the scope names a track that is not there.
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
            rollout = rollout_of(holder)
            if (holder.workflow_id, holder.run_id) == (operation.workflow_id, operation.run_id):
                return rollout
        raise ScopeBusyError(
            f"scope {input.scope} is held by the rollout of {rollout.release_tag} "
            f"({rollout.workflow_id}), open since {rollout.opened_at:%Y-%m-%d %H:%M:%S} UTC",
            rollout,
        )

    def abandon(self, holder: Rollout, operation: Operation) -> None:
        """Take a scope from a rollout whose workflow is gone. One that is closed stays as it is."""
        # A claim can be taken but once, so this needs no activity to write once; and on its way
        # to its own claim, one activity may come past several rollouts that are gone.
        operation = replace(operation, activity_id="")
        with write(self._database, operation, "rollout-abandoned") as w:
            row = _holder(w.session, holder.scope)
            if row is None or (row.workflow_id, row.run_id) != (holder.workflow_id, holder.run_id):
                return
            row.phase = RolloutPhase.ABORTED
            row.detail = "abandoned: its workflow is gone"
            row.closed_at = w.at
            w.session.add(row)
            w.log(
                release_tag=holder.release_tag,
                detail={"rollout": rollout_of(row).model_dump(mode="json")},
            )

    def close(self, input: CloseRolloutInput, operation: Operation) -> None:
        """Write down how a rollout ended, free its scope and, if so asked, promote its release.

        A run that does not hold the scope changes nothing by it, and leaves no event.

        Raises:
            UnknownTrackError: the track to promote it to was removed by hand.
        """
        with write(self._database, operation, "rollout-closed") as w:
            row = _holder(w.session, input.scope)
            mine = (operation.workflow_id, operation.run_id)
            if w.earlier or row is None or (row.workflow_id, row.run_id) != mine:
                return
            row.phase, row.detail, row.closed_at = input.phase, input.detail, w.at
            w.session.add(row)
            w.log(
                release_tag=input.release_tag,
                detail={
                    "rollout": rollout_of(row).model_dump(mode="json"),
                    "promoted": input.promote,
                },
            )
            if input.promote:
                declare(w, input.scope, input.release_tag)

    def get(self, workflow_id: str) -> Rollout | None:
        """Return the newest rollout of a workflow id, None if it never claimed a scope.

        Raises:
            BadValueError: it was changed by hand and is not of its shape.
        """
        newest = (
            select(RolloutRow)
            .where(RolloutRow.workflow_id == workflow_id)
            .order_by(col(RolloutRow.rollout_id).desc())
            .limit(1)
        )
        with self._database.reading() as session:
            row = session.exec(newest).one_or_none()
            return rollout_of(row) if row else None

    def list(self) -> list[Rollout]:
        """Return every rollout, oldest first.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        with self._database.reading() as session:
            rows = session.exec(select(RolloutRow).order_by(col(RolloutRow.rollout_id)))
            return [rollout_of(row) for row in rows]


def rollout_of(row: RolloutRow) -> Rollout:
    """Return a row's rollout."""
    with naming(f"rollout {row.workflow_id}"):
        return Rollout.model_validate(row.model_dump())


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
    rollout = rollout_of(row)
    w.log(release_tag=input.release_tag, detail={"rollout": rollout.model_dump(mode="json")})
    return rollout
