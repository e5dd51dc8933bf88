"""The event log: the write that changes the store and appends an event, and reading the events.

An activity writes once: its retry finds the event of the earlier attempt.
"""

import builtins
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, bindparam, insert
from sqlalchemy import select as select_columns
from sqlmodel import Session, and_, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from relight.domain.base import Origin
from relight.domain.clock import is_future
from relight.domain.event import CONCURRENCY_SET, Event, EventFilter
from relight.domain.fault.fault import Fault
from relight.domain.text import fitted
from relight.store.bad_rows import read_good
from relight.store.database import Database, Transaction, oldest_write
from relight.store.rows import Columns, read_row, validating
from relight.store.tables import (
    BY_ACTIVITY,
    EventRow,
    RolloutRouteRow,
    RolloutRow,
    Row,
    table_of,
)

MAX_DETAIL_BYTES = 48 * 1024
"""The limit of an event's detail. The other columns together have less than 16 KiB: no row has more
than 64 KiB, and no event can be deleted before its time."""

_INSERT = insert(table_of(EventRow))


class Timed(Protocol):
    """An event, or the part of one that has its place and time."""

    event_id: int | None
    at: datetime


@dataclass(frozen=True)
class Operation:
    """On whose behalf the store is written.

    Attributes:
        origin: requested by whom, and for what reason.
        workflow_id: the workflow that writes, empty for a command typed by a person.
        run_id: that workflow's run.
        activity_id: the activity of that run. Its retries have the same id, and write once.
    """

    origin: Origin
    workflow_id: str = ""
    run_id: str = ""
    activity_id: str = ""


class Facts(TypedDict, total=False):
    """What an event is about."""

    kind: str | None
    route_id: str | None
    machine_key: str | None
    release_tag: str | None
    fault: Fault | None
    detail: Mapping[str, object] | None


@dataclass(frozen=True)
class Write:
    """The transaction of one operation.

    Attributes:
        earlier: the event of an earlier attempt of the same activity, which has written
            everything. The write then changes nothing and returns what that attempt returned.
        at: the time of everything that it writes.
    """

    transaction: Transaction
    operation: Operation
    kind: str
    earlier: EventRow | None
    at: datetime

    @property
    def session(self) -> Session:
        """The transaction's session."""
        return self.transaction.session

    @property
    def connection(self) -> Connection:
        """The transaction's connection, for plain statements."""
        return self.transaction.connection

    def log(self, **facts: Unpack[Facts]) -> None:
        """Append an event of the write's kind, or of `kind`, to the event log.

        Raises:
            BadValueError: a value is invalid and could not be read back.
        """
        self.append([self.event(**facts)])

    def append(self, events: Sequence[Columns]) -> None:
        """Append events, one at least, in one round trip to the database."""
        append_events(self.transaction, events)

    def event(
        self,
        *,
        kind: str | None = None,
        route_id: str | None = None,
        machine_key: str | None = None,
        release_tag: str | None = None,
        fault: Fault | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> Columns:
        """Return the columns of an event, for `append`.

        Raises:
            BadValueError: as for `log`.
        """
        operation = self.operation
        kind = kind or self.kind
        with validating(f"the event {kind}"):
            event = Event(
                event_id=0,
                at=self.at,
                kind=kind,
                requested_by=operation.origin.requested_by,
                reason=operation.origin.reason,
                workflow_id=operation.workflow_id,
                run_id=operation.run_id,
                route_id=route_id,
                machine_key=machine_key,
                release_tag=release_tag,
                fault_kind=fault.kind if fault else None,
                fault_class=fault.fault_class if fault else None,
                detail=fitted(dict(detail or {}), MAX_DETAIL_BYTES),
            )
        values = event.model_dump(exclude={"event_id"})
        return {**values, "activity_id": operation.activity_id}


def append_events(transaction: Transaction, events: Sequence[Columns]) -> None:
    """Append events, one at least, in one round trip to the database."""
    # A plain statement: every write has it.
    transaction.connection.execute(_INSERT, events)


@contextmanager
def write(
    database: Database, operation: Operation, kind: str, route_id: str | None = None
) -> Iterator[Write]:
    """Begin an operation's write of this kind. It is committed unless the body raises.

    Args:
        database: what is written.
        operation: on whose behalf.
        kind: of the event.
        route_id: the only route that the write is of (see `Database.writing`); None: of the fleet.
    """
    with database.transaction(route_id) as transaction:
        yield Write(
            transaction=transaction,
            operation=operation,
            kind=kind,
            earlier=written_by(transaction, operation, kind),
            at=datetime.now(UTC),
        )


def not_later(session: Session, event: Timed, now: datetime) -> datetime:
    """Return the time of an event; of one of the future, that of the next one that is not.

    It was written before that one, so it does not count as new for as long as a clock was ahead.
    """
    if not is_future(event.at, now):
        return event.at
    following = (
        select(EventRow.at)
        .where(col(EventRow.event_id) > event.event_id, EventRow.at <= now)
        .order_by(col(EventRow.event_id))
        .limit(1)
    )
    return session.exec(following).one_or_none() or event.at


def delete_row(w: Write, row: Row | None, name: str) -> bool:
    """Delete a row that an operator added, and log it under `name`; return whether it existed."""
    if w.earlier:
        return True
    if row is None:
        return False
    w.session.delete(row)
    # Unvalidated: a row that was made invalid by hand can be removed too.
    w.log(detail={name: row.model_dump(mode="json", warnings=False)})
    return True


WRITTEN_BY = select_columns(col(EventRow.event_id)).where(
    # Repeats the condition of the partial index, which is not used without it.
    BY_ACTIVITY,
    col(EventRow.run_id) == bindparam("run_id"),
    col(EventRow.activity_id) == bindparam("activity_id"),
    col(EventRow.kind) == bindparam("kind"),
)
"""The query for the event of one kind that an activity wrote. Every write of an activity has it."""


def first_of_run(session: Session, run_id: str, kind: str) -> EventRow | None:
    """Return the first event of one kind that the activities of a run wrote, None without any."""
    of_run = select(EventRow).where(BY_ACTIVITY, EventRow.run_id == run_id, EventRow.kind == kind)
    return session.exec(of_run.order_by(col(EventRow.event_id)).limit(1)).one_or_none()


def written_by(transaction: Transaction, operation: Operation, kind: str) -> EventRow | None:
    """Return the event of one kind that an activity wrote, None if it has not."""
    if not operation.activity_id:
        return None
    written = {"run_id": operation.run_id, "activity_id": operation.activity_id, "kind": kind}
    event_id = transaction.connection.execute(WRITTEN_BY, written).scalar_one_or_none()
    return None if event_id is None else transaction.session.get(EventRow, event_id)


def written_among(session: Session, operations: Collection[Operation], kind: str) -> set[str]:
    """Return which activities of these operations, all of one run, wrote an event of one kind."""
    query = select(EventRow.activity_id).where(
        BY_ACTIVITY,
        col(EventRow.run_id).in_({each.run_id for each in operations}),
        col(EventRow.activity_id).in_({each.activity_id for each in operations}),
        EventRow.kind == kind,
    )
    return set(session.exec(query))


NEWEST = 100
"""So many events show whether a clock that wrote here lately is ahead."""


class Events:
    """Every write appends an event. The database refuses changes, and to delete a recent one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self,
        kind: str,
        operation: Operation,
        *,
        route_id: str | None = None,
        machine_key: str | None = None,
        release_tag: str | None = None,
        fault: Fault | None = None,
        detail: Mapping[str, object] | None = None,
    ) -> None:
        """Record an event that changes nothing else.

        Raises:
            BadValueError: a value is invalid.
        """
        with write(self._database, operation, kind, route_id) as w:
            if not w.earlier:
                w.log(
                    route_id=route_id,
                    machine_key=machine_key,
                    release_tag=release_tag,
                    fault=fault,
                    detail=detail,
                )

    def latest_time(self) -> datetime | None:
        """Return the latest time of the newest events; None without any. No invalid one counts."""
        newest = select(EventRow.at).order_by(col(EventRow.event_id).desc()).limit(NEWEST)
        with self._database.reading() as session:
            times = [at for at in session.exec(newest) if isinstance(at, datetime)]
        return max(times, default=None)

    def list(
        self,
        route_id: str | None = None,
        kind: str | None = None,
        workflow_id: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """Return the newest `limit` events that match all given values, oldest first.

        Invalid ones are noted and left out.
        """
        query = select(EventRow).order_by(col(EventRow.event_id).desc()).limit(limit)
        if route_id is not None:
            query = query.where(EventRow.route_id == route_id)
        if kind is not None:
            query = query.where(_of_kind(kind))
        if workflow_id is not None:
            query = query.where(EventRow.workflow_id == workflow_id)
        with self._database.reading() as session:
            return read_good(reversed(session.exec(query).all()), event_of)

    def page(
        self, wanted: EventFilter, limit: int, *, before: int | None = None
    ) -> tuple[builtins.list[Event], int | None]:
        """Return the newest events that match, oldest first, and where the page before ends.

        Invalid ones are noted and left out.

        Args:
            wanted: which events.
            limit: how many are read at most.
            before: only events with a lower id; None for the newest.

        Returns:
            The events; the `before` of the next older page, None if there is none.
        """
        query = _matching(wanted).order_by(col(EventRow.event_id).desc()).limit(limit + 1)
        if before is not None:
            query = query.where(col(EventRow.event_id) < before)
        with self._database.reading() as session:
            rows = list(session.exec(query))
            shown = rows[:limit]
            older = shown[-1].event_id if len(rows) > limit else None
            return read_good(reversed(shown), event_of), older

    def following(
        self, wanted: EventFilter, after: int, until: int, limit: int
    ) -> builtins.list[Event]:
        """Return the first `limit` events between two ids that match, oldest first.

        Invalid ones are noted and left out.

        Args:
            wanted: which events.
            after: only events with a higher id.
            until: the highest id, from `settled_id`: a later one could miss an event.
            limit: how many are read at most.
        """
        query = _matching(wanted).where(col(EventRow.event_id).between(after + 1, until))
        query = query.order_by(col(EventRow.event_id)).limit(limit)
        with self._database.reading() as session:
            return read_good(session.exec(query), event_of)

    def settled_id(self) -> int:
        """Return an id up to which no event can appear any more; 0 without any.

        It is that of the newest event, unless a write that has not ended may write an older one.
        """
        newest = select(EventRow.event_id).order_by(col(EventRow.event_id).desc()).limit(1)
        with self._database.reading() as session:
            # In this order: what ends in between is seen by every session that is opened later.
            found = session.exec(newest).one_or_none() or 0
            oldest = oldest_write(session)
        return found if oldest is None else min(found, oldest)


def _matching(wanted: EventFilter) -> SelectOfScalar[EventRow]:
    query = select(EventRow)
    if wanted.route_id is not None:
        query = query.where(EventRow.route_id == wanted.route_id)
    if wanted.kind is not None:
        query = query.where(or_(_of_kind(wanted.kind), EventRow.fault_kind == wanted.kind))
    if wanted.who is not None:
        on_any_host = col(EventRow.requested_by).startswith(f"{wanted.who}@", autoescape=True)
        query = query.where(or_(EventRow.requested_by == wanted.who, on_any_host))
    if wanted.since is not None:
        query = query.where(EventRow.at >= wanted.since)
    if wanted.run_id is not None:
        query = query.where(EventRow.run_id == wanted.run_id)
    if wanted.rollout_run_id is not None:
        query = query.where(_of_rollout(wanted.rollout_run_id))
    return query


def _of_kind(kind: str) -> ColumnElement[bool]:
    """Return the condition of the events of a kind. `Event` reads those of an earlier version."""
    if kind != CONCURRENCY_SET:
        return col(EventRow.kind) == kind
    return or_(EventRow.kind == kind, col(EventRow.kind).startswith(f"{kind}-"))


def _of_rollout(run_id: str) -> ColumnElement[bool]:
    """Return the condition of a rollout's own events and those about its routes while it ran."""
    rollout = select(RolloutRow).where(RolloutRow.run_id == run_id).subquery().c
    routes = select(RolloutRouteRow.route_id).where(RolloutRouteRow.rollout_run_id == run_id)
    workflow_id, opened_at, closed_at = (
        select(column).scalar_subquery()
        for column in (rollout.workflow_id, rollout.opened_at, rollout.closed_at)
    )
    while_it_ran = and_(
        col(EventRow.route_id).in_(routes),
        EventRow.at >= opened_at,
        or_(closed_at.is_(None), EventRow.at <= closed_at),
    )
    own = and_(EventRow.workflow_id == workflow_id, EventRow.run_id == run_id)
    return or_(own, while_it_ran)


def event_of(row: EventRow) -> Event:
    """Return a row's event."""
    return read_row(Event, row, f"event {row.event_id}")
