"""Retention: delete what ended long ago, in batches, so that no write waits for long.

These stay for ever: the machines of each route (its lineage), its last proof and its last proof at
another release (to roll back to), the declarations that hold, the last rollout of each scope.

The database admits the deletion of an event only if it is older than the `pruned_before` of the
table `retention`, which therefore tells from when on the event log is complete.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import Delete, delete
from sqlmodel import Session, col, func, select

from relight.domain.retention import StorePruned
from relight.store.configurations import prunable
from relight.store.database import Database
from relight.store.declarations import SETTING_SET, TRACK_SET, newest_declarations
from relight.store.events import Operation, write
from relight.store.routes import ROUTE_PROVEN
from relight.store.tables import (
    ConfigurationRow,
    EventRow,
    HoldRow,
    MachineRow,
    RecordStatus,
    RetentionRow,
    RolloutRouteRow,
    RolloutRow,
    RouteRow,
)

STORE_PRUNED = "store-pruned"

BATCH_SIZE = 1000
"""Rows that one transaction deletes."""

_RETENTION_ID = 1
"""The id of the only row."""


class Retention:
    """What may be deleted, and its deletion. A prune that was cut short is just run again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def pruned_before(self) -> datetime | None:
        """Return from when on the event log is complete; None if it always was."""
        with self._database.reading() as session:
            row = session.get(RetentionRow, _RETENTION_ID)
            return row.pruned_before if row else None

    def preview(self, before: datetime) -> StorePruned:
        """Return what `prune` would delete. It changes nothing."""
        return StorePruned(
            before=before,
            events=sum(map(len, self._events(before))),
            rollouts=sum(map(len, self._rollouts(before))),
            machines=sum(map(len, self._machines(before))),
            holds=self._count_holds(before),
            configurations=len(self._configurations(before)),
        )

    def prune(
        self, before: datetime, operation: Operation, progress: Callable[[], None] = lambda: None
    ) -> StorePruned:
        """Delete what had ended before an instant; return how much.

        Args:
            before: the instant.
            operation: who prunes, for the event log.
            progress: called after each batch.
        """
        self._admit(before)
        events = rollouts = machines = 0
        for batch in self._events(before):
            self._delete(delete(EventRow).where(col(EventRow.event_id).in_(batch)))
            events += len(batch)
            progress()
        for runs in self._rollouts(before):
            for run_id in runs:
                self._delete_rollout(run_id, progress)
            rollouts += len(runs)
        for keys in self._machines(before):
            self._delete(delete(MachineRow).where(col(MachineRow.key).in_(keys)))
            machines += len(keys)
            progress()
        holds = self._count_holds(before)
        self._delete(delete(HoldRow).where(col(HoldRow.ends_at) < before))
        # Last: the releases that are gone now named them.
        revisions = self._configurations(before)
        self._delete(delete(ConfigurationRow).where(col(ConfigurationRow.revision).in_(revisions)))
        pruned = StorePruned(
            before=before,
            events=events,
            rollouts=rollouts,
            machines=machines,
            holds=holds,
            configurations=len(revisions),
        )
        if events or rollouts or machines or holds or revisions:
            with write(self._database, operation, STORE_PRUNED) as w:
                if not w.earlier:
                    w.log(detail=pruned.model_dump(mode="json"))
        return pruned

    def _admit(self, before: datetime) -> None:
        """Let the database admit the deletion of events before an instant."""
        with self._database.writing() as session:
            row = session.get(RetentionRow, _RETENTION_ID)
            if row is None:
                row = RetentionRow(retention_id=_RETENTION_ID, pruned_before=before)
            row.pruned_before = max(row.pruned_before, before)
            session.add(row)

    def _events(self, before: datetime) -> Iterator[Sequence[int]]:
        """Yield the ids of the events to delete. Ids are in the order of time."""
        with self._database.reading() as session:
            kept = _kept_events(session)
        last = 0
        while True:
            query = (
                select(EventRow.event_id, EventRow.at)
                .where(col(EventRow.event_id) > last)
                .order_by(col(EventRow.event_id))
                .limit(BATCH_SIZE)
            )
            with self._database.reading() as session:
                rows = session.exec(query).all()
            old = [
                number
                for number, _ in takewhile(lambda row: _is_before(row[1], before), rows)
                if number
            ]
            if not old:
                return
            last = old[-1]
            if batch := [number for number in old if number not in kept]:
                yield batch

    def _rollouts(self, before: datetime) -> Iterator[Sequence[str]]:
        """Yield the run ids of the rollouts to delete."""
        newest = select(func.max(RolloutRow.rollout_id)).group_by(RolloutRow.scope)
        return self._pages(
            RolloutRow.run_id,
            col(RolloutRow.closed_at) < before,
            col(RolloutRow.rollout_id).not_in(newest),
        )

    def _machines(self, before: datetime) -> Iterator[Sequence[str]]:
        """Yield the keys of the machines to delete."""
        return self._pages(
            MachineRow.key,
            col(MachineRow.route_id).is_(None),
            MachineRow.status == RecordStatus.DESTROYED,
            col(MachineRow.destroyed_at) < before,
        )

    def _count_holds(self, before: datetime) -> int:
        """Return how many holds are to be deleted. People make them, so they are few."""
        query = select(func.count()).select_from(HoldRow).where(col(HoldRow.ends_at) < before)
        with self._database.reading() as session:
            return session.exec(query).one()

    def _configurations(self, before: datetime) -> Sequence[str]:
        """Return the revisions of the configurations to delete. People make them, so few."""
        with self._database.reading() as session:
            return prunable(session, before)

    def _pages(self, column: str, *conditions: Any) -> Iterator[Sequence[str]]:
        """Yield the values of a column in the rows that meet the conditions, in its order."""
        last = ""
        while True:
            query = select(column).where(col(column) > last, *conditions).order_by(col(column))
            with self._database.reading() as session:
                page = session.exec(query.limit(BATCH_SIZE)).all()
            if not page:
                return
            last = page[-1]
            yield page

    def _delete_rollout(self, run_id: str, progress: Callable[[], None]) -> None:
        """Delete a rollout, its routes first: what is cut short is found again."""
        in_run = col(RolloutRouteRow.rollout_run_id) == run_id
        for route_ids in self._pages(RolloutRouteRow.route_id, in_run):
            self._delete(
                delete(RolloutRouteRow).where(in_run, col(RolloutRouteRow.route_id).in_(route_ids))
            )
            progress()
        self._delete(delete(RolloutRow).where(col(RolloutRow.run_id) == run_id))

    def _delete(self, statement: Delete) -> None:
        with self._database.writing() as session:
            session.exec(statement)


def _is_before(at: datetime | str, before: datetime) -> bool:
    """Return whether an event is old. One whose time was made invalid by hand never is."""
    return isinstance(at, datetime) and at < before


def _kept_events(session: Session) -> set[int | None]:
    """Return the ids of the events that stay however old they are: a few for each route."""
    last_proof = select(func.max(EventRow.event_id)).where(EventRow.kind == ROUTE_PROVEN)
    of_another_release = last_proof.join(
        RouteRow, col(RouteRow.route_id) == col(EventRow.route_id)
    ).where(col(EventRow.release_tag) != col(RouteRow.current_release_tag))
    return {
        *session.exec(last_proof.group_by(col(EventRow.route_id))),
        *session.exec(of_another_release.group_by(col(EventRow.route_id))),
        *session.exec(newest_declarations(SETTING_SET)),
        *session.exec(newest_declarations(TRACK_SET)),
    }
