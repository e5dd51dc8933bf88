"""The rows of the disruption ledger: one table for every operation that has a route out.

A rollout claims a route for the operation that it starts there. That operation takes the claim over
with its first write, or makes one, whoever started it, and keeps it until its proof or its fault is
recorded. So a route stays in the ledger while work is done on it, also if its rollout has ended.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from relight.domain.names import RouteId, route_workflow_id
from relight.domain.rollout.rollout import RouteProgress
from relight.store.events import Operation, Write
from relight.store.tables import DisruptionRow, RolloutRow, RouteRow, table_of

CLAIMED = (RouteProgress.SWAPPING, RouteProgress.REPLACING, RouteProgress.ROLLING_BACK)
"""The progress of routes that are out because a rollout works on them."""

_LEDGER = table_of(DisruptionRow)


def _holding(insert: Any) -> Any:
    """Return the statement that takes a route's claim over, or makes one."""
    holder = {name: insert.excluded[name] for name in ("workflow_id", "run_id", "reason")}
    return insert.on_conflict_do_update(index_elements=["route_id"], set_=holder)


# Plain statements, which are built once: they are part of every hot swap.
_HOLD = {
    "postgresql": _holding(postgresql.insert(_LEDGER)),
    "sqlite": _holding(sqlite.insert(_LEDGER)),
}
_RELEASE = delete(_LEDGER).where(
    _LEDGER.c.route_id == bindparam("of_route"), _LEDGER.c.run_id == bindparam("of_run")
)


def routes_held(session: Session) -> Sequence[RouteId]:
    """Return the routes that an operation or a rollout has out."""
    return session.exec(select(DisruptionRow.route_id)).all()


def has_lock(route_id: str, operation: Operation) -> bool:
    """Return whether the operation runs under the workflow id that is the route's lock."""
    return operation.workflow_id == route_workflow_id(route_id)


def hold_during_operation(w: Write, route_id: str) -> None:
    """Hold a route for the run that has its lock, until `release_after_operation`.

    It is not refused: what decides whether a route may be taken out has decided before.
    """
    operation = w.operation
    if not (operation.run_id and has_lock(route_id, operation)):
        return
    held = {
        "route_id": route_id,
        "workflow_id": operation.workflow_id,
        "run_id": operation.run_id,
        "reason": operation.origin.reason,
        "taken_at": w.at,
    }
    w.connection.execute(_HOLD[w.connection.dialect.name], held)


def release_after_operation(w: Write, route_id: str) -> bool:
    """Release a route whose operation has ended; return whether its run held the route."""
    if not w.operation.run_id:
        return False
    of_run = {"of_route": route_id, "of_run": w.operation.run_id}
    return w.connection.execute(_RELEASE, of_run).rowcount > 0


def claim_for_rollout(session: Session, run_id: str, route_ids: Collection[RouteId]) -> None:
    """Claim routes for the run of an open rollout. One that another operation has out stays so."""
    if not route_ids:
        return
    rollout = session.exec(
        select(RolloutRow).where(RolloutRow.run_id == run_id, col(RolloutRow.closed_at).is_(None))
    ).one_or_none()
    if rollout is None:
        return
    # A rollout's record of a route outlives the route.
    free = session.exec(
        select(RouteRow.route_id)
        .outerjoin(DisruptionRow, col(DisruptionRow.route_id) == col(RouteRow.route_id))
        .where(col(RouteRow.route_id).in_(route_ids), col(DisruptionRow.route_id).is_(None))
    ).all()
    now = datetime.now(UTC)
    session.add_all(
        DisruptionRow(
            route_id=route_id,
            workflow_id=rollout.workflow_id,
            run_id=run_id,
            reason=f"rollout of {rollout.release_tag}",
            taken_at=now,
        )
        for route_id in sorted(free)
    )


def release_of_rollout(
    session: Session, run_id: str, route_ids: Collection[RouteId] | None = None
) -> None:
    """Release the claims that a rollout's run still has: of some routes, or of all."""
    statement = delete(DisruptionRow).where(col(DisruptionRow.run_id) == run_id)
    if route_ids is not None:
        statement = statement.where(col(DisruptionRow.route_id).in_(route_ids))
    session.exec(statement)
