"""Who has a route out: the one ledger that rollouts, autoreplace and reconciliation keep.

A rollout's claims are in `rollout_routes`, everybody else's here. Each is made in a transaction
that counts what is out, whoever took it out, so that together they never exceed a budget that each
of them keeps.
"""

from datetime import datetime

from sqlmodel import col, select

from relight.domain.base import Message
from relight.domain.names import RouteId
from relight.store.database import Database
from relight.store.errors import UnknownRouteError
from relight.store.rollout_routes import (
    Choose,
    claimed_by_rollouts,
    fleet_snapshot,
)
from relight.store.route_opening import has_lock
from relight.store.rows import naming
from relight.store.tables import DisruptionRow, RouteRow
from relight.store.write import Operation, Write, write

DISRUPTION_TAKEN = "disruption-taken"
DISRUPTION_RELEASED = "disruption-released"
DISRUPTION_ABANDONED = "disruption-abandoned"


class Disruption(Message):
    """A route that somebody has out, or may take out.

    Attributes:
        workflow_id, run_id: who has it.
        reason: one sentence for a person.
        taken_at: UTC.
    """

    route_id: RouteId
    workflow_id: str
    run_id: str
    reason: str
    taken_at: datetime


class Disruptions:
    """A route is held by one run at a time, until that lets it go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, route_id: str, reason: str, operation: Operation, choose: Choose) -> str | None:
        """Hold a route, so that it may be taken out; return why that may not be, None if it may.

        A run holds what it holds. Whoever has the route's lock takes it over from others: a run
        that was terminated, or the pass that sent it. A route that a rollout has under way is left
        to it.

        Args:
            route_id: the route.
            reason: for a person.
            operation: whose run holds it.
            choose: says whether it may start, with what is out, as it does for rollouts.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with write(self._database, operation, DISRUPTION_TAKEN) as w:
            if w.earlier:
                return None
            if w.session.get(RouteRow, route_id) is None:
                raise UnknownRouteError(f"there is no route {route_id}")
            row = w.session.get(DisruptionRow, route_id)
            refused = _why_not(w, route_id, row, choose)
            if refused is not None:
                return refused
            row = row or DisruptionRow(
                route_id=route_id, workflow_id="", run_id="", reason="", taken_at=w.at
            )
            row.workflow_id, row.run_id = operation.workflow_id, operation.run_id
            row.reason = reason
            w.session.add(row)
            w.log(route_id=route_id, detail={"reason": reason})
            return None

    def release(self, route_id: str, operation: Operation) -> bool:
        """Let a route go; return whether the run held it."""
        with write(self._database, operation, DISRUPTION_RELEASED) as w:
            if w.earlier:
                return True
            row = w.session.get(DisruptionRow, route_id)
            if row is None or not _is_holder(row, operation):
                return False
            _let_go(w, row)
            return True

    def abandon(self, held: Disruption, operation: Operation) -> bool:
        """Take a route from a run that is gone; return whether that run still held it."""
        with write(self._database, operation, DISRUPTION_ABANDONED) as w:
            if w.earlier:
                return True
            row = w.session.get(DisruptionRow, held.route_id)
            if row is None or (row.workflow_id, row.run_id) != (held.workflow_id, held.run_id):
                return False
            _let_go(w, row)
            return True

    def list(self) -> list[Disruption]:
        """Return who holds which route, by route.

        Raises:
            BadValueError: one was changed by hand and is not of its shape.
        """
        query = select(DisruptionRow).order_by(col(DisruptionRow.route_id))
        with self._database.reading() as session:
            return [_disruption(row) for row in session.exec(query)]


def _why_not(w: Write, route_id: RouteId, row: DisruptionRow | None, choose: Choose) -> str | None:
    """Return why the operation may not hold a route, None if it may."""
    if row is not None:
        mine = _is_holder(row, w.operation) or _takes_over(route_id, w.operation)
        return (
            None if mine else f"{row.workflow_id} has it since {row.taken_at:%H:%M} UTC: {row.reason}"
        )
    if route_id in claimed_by_rollouts(w.session):
        return "a rollout has it under way"
    under_way = w.session.exec(select(DisruptionRow.route_id)).all()
    chosen = choose([route_id], fleet_snapshot(w.session, [route_id], under_way))
    if route_id in chosen.starts:
        return None
    held_up_by = [*chosen.held_up_by]
    if chosen.thaws_at is not None:
        held_up_by.append(f"a freeze until {chosen.thaws_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(held_up_by) or "as much is under way as may be"


def _is_holder(row: DisruptionRow, operation: Operation) -> bool:
    mine = (operation.workflow_id, operation.run_id)
    return bool(operation.run_id) and (row.workflow_id, row.run_id) == mine


def _takes_over(route_id: RouteId, operation: Operation) -> bool:
    return bool(operation.run_id) and has_lock(route_id, operation)


def _let_go(w: Write, row: DisruptionRow) -> None:
    w.session.delete(row)
    w.log(
        route_id=row.route_id,
        detail={"workflow_id": row.workflow_id, "run_id": row.run_id, "reason": row.reason},
    )


def _disruption(row: DisruptionRow) -> Disruption:
    with naming(f"disruption of route {row.route_id}"):
        return Disruption.model_validate(row.model_dump())
