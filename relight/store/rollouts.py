"""Rollouts: which one moves which declaration, where it stands, and how it ended.

A rollout is a claim on a scope, open or closed. Its identity is the id of its first run: the run id
of the operations that open and close it, whichever of its runs they are made by.
"""

import builtins
from collections.abc import Set
from dataclasses import replace

from sqlmodel import Session, col, func, select

from relight.domain.image.image import ImageName
from relight.domain.names import (
    FLEET_SCOPE,
    ReleaseTag,
    ScopeName,
    TrackName,
    rollout_workflow_id,
    scope_track,
    track_scope,
)
from relight.domain.rollout.records import CloseRolloutInput, OpenRolloutInput
from relight.domain.rollout.rollout import Rollout, RolloutPhase, RouteProgress
from relight.store.bad_rows import read_good, read_or_note
from relight.store.database import Database
from relight.store.declarations import declare, require_track, rollout_of
from relight.store.errors import ScopeBusyError
from relight.store.events import Operation, Write, write
from relight.store.ledger import release_of_rollout
from relight.store.tables import RolloutRouteRow, RolloutRow

ROLLED_BACK = (
    RouteProgress.TO_ROLL_BACK,
    RouteProgress.ROLLING_BACK,
    RouteProgress.ROLLED_BACK,
    RouteProgress.NOT_ROLLED_BACK,
)
"""The progress of routes whose rollout goes back, or has gone back."""


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
            rollout = rollout_of(holder)
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
                detail={"rollout": rollout_of(row).model_dump(mode="json")},
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
            row.wave, row.waves = input.wave, input.waves
            w.session.add(row)
            # Of routes on which no operation has begun. One that has begun holds its route itself.
            release_of_rollout(w.session, row.run_id)
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
            return rollout_of(row) if row else None

    def given_up(self, track: TrackName) -> Set[ReleaseTag]:
        """Return the releases whose last rollout to a track's routes was stopped or aborted.

        Also those that were undone, and that are being undone or rolled back.

        Raises:
            BadValueError: a rollout was changed by hand and is invalid.
        """
        scopes = (FLEET_SCOPE, track_scope(track))
        newest = (
            select(func.max(RolloutRow.rollout_id))
            .where(col(RolloutRow.scope).in_(scopes), col(RolloutRow.image_name).is_(None))
            .group_by(col(RolloutRow.release_tag))
        )
        rolled_back = (
            select(RolloutRouteRow.rollout_run_id)
            .where(col(RolloutRouteRow.progress).in_(ROLLED_BACK))
            .distinct()
        )
        query = select(RolloutRow, col(RolloutRow.run_id).in_(rolled_back)).where(
            col(RolloutRow.rollout_id).in_(newest)
        )
        with self._database.reading() as session:
            return {
                rollout.release_tag
                for row, goes_back in session.exec(query)
                if (rollout := read_or_note(row, rollout_of))
                and (_is_given_up(rollout) or goes_back)
            }

    def stopped_images(self) -> Set[ImageName]:
        """Return the images whose last rollout was stopped by a gate."""
        newest = (
            select(func.max(RolloutRow.rollout_id))
            .where(col(RolloutRow.image_name).is_not(None))
            .group_by(col(RolloutRow.image_name))
        )
        query = select(RolloutRow.image_name).where(
            col(RolloutRow.rollout_id).in_(newest), RolloutRow.phase == RolloutPhase.STOPPED
        )
        with self._database.reading() as session:
            return {name for name in session.exec(query) if name is not None}

    def open_images(self) -> Set[ImageName]:
        """Return the images that rollouts are about which have not ended."""
        query = select(RolloutRow.image_name).where(col(RolloutRow.closed_at).is_(None))
        with self._database.reading() as session:
            return {name for name in session.exec(query) if name is not None}

    def list(self) -> list[Rollout]:
        """Return every rollout, oldest first. An invalid one is noted and left out."""
        with self._database.reading() as session:
            rows = session.exec(select(RolloutRow).order_by(col(RolloutRow.rollout_id)))
            return read_good(rows, rollout_of)

    def page(
        self, limit: int, *, before: int | None = None, scope: ScopeName | None = None
    ) -> tuple[builtins.list[Rollout], int | None]:
        """Return the newest rollouts, newest first, and where the page before begins.

        An invalid one is noted and left out.

        Args:
            limit: how many are read at most.
            before: only rollouts with a lower number; None for the newest.
            scope: only those over this scope.

        Returns:
            The rollouts; the `before` of the next older page, None if there is none.
        """
        query = select(RolloutRow).order_by(col(RolloutRow.rollout_id).desc()).limit(limit + 1)
        if before is not None:
            query = query.where(col(RolloutRow.rollout_id) < before)
        if scope is not None:
            query = query.where(RolloutRow.scope == scope)
        with self._database.reading() as session:
            rows = list(session.exec(query))
            shown = rows[:limit]
            older = shown[-1].rollout_id if len(rows) > limit else None
            return read_good(shown, rollout_of), older


def _is_given_up(rollout: Rollout) -> bool:
    undo_id = rollout_workflow_id(rollout.release_tag, rollout.scope, undo=True)
    ended_badly = rollout.phase in {RolloutPhase.STOPPED, RolloutPhase.ABORTED}
    return ended_badly or rollout.workflow_id == undo_id


def _holder(session: Session, scope: str) -> RolloutRow | None:
    return session.exec(
        select(RolloutRow).where(RolloutRow.scope == scope, col(RolloutRow.closed_at).is_(None))
    ).one_or_none()


def _claim(w: Write, input: OpenRolloutInput) -> Rollout:
    row = RolloutRow(
        workflow_id=w.operation.workflow_id,
        run_id=w.operation.run_id,
        release_tag=input.release_tag,
        image_name=input.image_name,
        scope=input.scope,
        phase=RolloutPhase.PREPARING,
        detail="planning the waves",
        opened_at=w.at,
        since=w.at,
    )
    w.session.add(row)
    rollout = rollout_of(row)
    w.log(release_tag=input.release_tag, detail={"rollout": rollout.model_dump(mode="json")})
    return rollout
