"""The disruption ledger: which routes are out, and who has them.

Rollouts, replacements, reconcile runs and operators share it. Each claim within a budget is made in
a transaction that counts every route that is out, so that all together stay within the budget.
"""

from datetime import datetime

from sqlmodel import col, select

from relight.domain.base import Message
from relight.domain.names import ROLLOUT_PREFIX, RouteId
from relight.store.bad_rows import read_good
from relight.store.database import Database
from relight.store.events import Operation, Write, write
from relight.store.fleet_snapshot import fleet_snapshot
from relight.store.ledger import has_lock, routes_held
from relight.store.rollout_choice import Choose
from relight.store.rows import read_row, require_route
from relight.store.tables import DisruptionRow

DISRUPTION_TAKEN = "disruption-taken"
DISRUPTION_RELEASED = "disruption-released"
DISRUPTION_ABANDONED = "disruption-abandoned"


class Disruption(Message):
    """A claim: a route that an operation has out, or may take out.

    Attributes:
        workflow_id, run_id: the holder.
        reason: one sentence for a person.
        taken_at: UTC.
    """

    route_id: RouteId
    workflow_id: str
    run_id: str
    reason: str
    taken_at: datetime


class Disruptions:
    """A route is claimed by one run at a time, until that run releases it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self,
        route_id: str,
        reason: str,
        operation: Operation,
        choose: Choose,
        *,
        rollout: str | None = None,
    ) -> str | None:
        """Claim a route, so that it may be taken out; return why this was refused, None if not.

        Claiming twice is allowed. The run that has the route's lock takes over a claim: from a run
        that was terminated, or from the rollout or reconcile run that started it. A route that
        another rollout works on is refused.

        Args:
            route_id: the route.
            reason: for a person.
            operation: its run becomes the holder.
            choose: decides, by what is out, whether the route may start, as for rollouts.
            rollout: the workflow id of the rollout that started the operation; None without one.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with write(self._database, operation, DISRUPTION_TAKEN) as w:
            if w.earlier:
                return None
            require_route(w.session, route_id)
            row = w.session.get(DisruptionRow, route_id)
            refusal = _refusal(w, route_id, row, choose, rollout)
            if refusal is not None:
                return refusal
            row = row or DisruptionRow(
                route_id=route_id, workflow_id="", run_id="", reason="", taken_at=w.at
            )
            row.workflow_id, row.run_id = operation.workflow_id, operation.run_id
            row.reason = reason
            w.session.add(row)
            w.log(route_id=route_id, detail={"reason": reason})
            return None

    def release(self, route_id: str, operation: Operation) -> bool:
        """Release a route; return whether the run held it."""
        with write(self._database, operation, DISRUPTION_RELEASED, route_id) as w:
            if w.earlier:
                return True
            row = w.session.get(DisruptionRow, route_id)
            if row is None or not _is_holder(row, operation):
                return False
            _delete(w, row)
            return True

    def abandon(self, held: Disruption, operation: Operation) -> bool:
        """Release a route whose holder no longer runs; return whether that run still held it."""
        with write(self._database, operation, DISRUPTION_ABANDONED, held.route_id) as w:
            if w.earlier:
                return True
            row = w.session.get(DisruptionRow, held.route_id)
            if row is None or (row.workflow_id, row.run_id) != (held.workflow_id, held.run_id):
                return False
            _delete(w, row)
            return True

    def list(self) -> list[Disruption]:
        """Return every claim, by route. An invalid one is noted and left out."""
        query = select(DisruptionRow).order_by(col(DisruptionRow.route_id))
        with self._database.reading() as session:
            return read_good(session.exec(query), disruption_of)


def disruption_of(row: DisruptionRow) -> Disruption:
    """Return a row's claim."""
    return read_row(Disruption, row, f"disruption of route {row.route_id}")


def _refusal(
    w: Write, route_id: RouteId, row: DisruptionRow | None, choose: Choose, rollout: str | None
) -> str | None:
    """Return why the operation may not claim a route, None if it may."""
    of_rollout = row is not None and row.workflow_id.startswith(ROLLOUT_PREFIX)
    if row is not None and of_rollout and row.workflow_id != rollout:
        return f"a rollout works on it: {row.workflow_id}"
    if row is not None:
        if _is_holder(row, w.operation) or _takes_over(route_id, w.operation):
            return None
        since = (
            f"{row.taken_at:%H:%M}" if isinstance(row.taken_at, datetime) else "an unknown time,"
        )
        return f"{row.workflow_id} has it since {since} UTC: {row.reason}"
    in_flight = routes_held(w.session)
    chosen = choose([route_id], fleet_snapshot(w.session, [route_id], in_flight))
    if route_id in chosen.starts:
        return None
    limited_by = [*chosen.limited_by]
    if chosen.thaws_at is not None:
        limited_by.append(f"a freeze until {chosen.thaws_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(limited_by) or "the limit of concurrent operations is reached"


def _is_holder(row: DisruptionRow, operation: Operation) -> bool:
    run = (operation.workflow_id, operation.run_id)
    return bool(operation.run_id) and (row.workflow_id, row.run_id) == run


def _takes_over(route_id: RouteId, operation: Operation) -> bool:
    return bool(operation.run_id) and has_lock(route_id, operation)


def _delete(w: Write, row: DisruptionRow) -> None:
    w.session.delete(row)
    w.log(
        route_id=row.route_id,
        detail={"workflow_id": row.workflow_id, "run_id": row.run_id, "reason": row.reason},
    )
