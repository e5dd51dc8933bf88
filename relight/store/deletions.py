"""Deletion of routes, tracks and pools that nothing needs any more. Their events stay.

A route's machines stay on record as destroyed ones, so that no key is given out twice.
"""

from sqlmodel import Session, col, func, select

from relight.domain.names import RouteId, TrackName, track_scope
from relight.domain.route import RouteStatus
from relight.store.database import Database
from relight.store.declarations import require_track
from relight.store.events import Operation, write
from relight.store.rows import require_route
from relight.store.tables import (
    DisruptionRow,
    MachineRow,
    PoolMachineRow,
    PoolSizeRow,
    RecordStatus,
    RolloutRouteRow,
    RolloutRow,
    RouteRemediationRow,
    RouteRow,
    TrackRow,
)

ROUTE_DELETED, TRACK_DELETED, POOL_DELETED = "route-deleted", "track-deleted", "pool-deleted"

_DELETABLE = (RouteStatus.RETIRED, RouteStatus.FAILED)


class Deletions:
    """Each returns why it is refused, None if it is done. A refusal changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete_route(self, route_id: RouteId, operation: Operation) -> str | None:
        """Delete a retired or failed route that has no machine.

        Raises:
            UnknownRouteError: there is no such route.
        """
        with write(self._database, operation, ROUTE_DELETED) as w:
            if w.earlier:
                return None
            route = require_route(w.session, route_id)
            if refusal := _why_route_stays(w.session, route):
                return refusal
            for machine in _machines(w.session, route_id):
                machine.route_id = machine.generation = None
                w.session.add(machine)
            if (row := w.session.get(RouteRemediationRow, route_id)) is not None:
                w.session.delete(row)
            # First, since they refer to it.
            w.session.flush()
            w.session.delete(route)
            w.log(
                route_id=route_id,
                detail={"route": route.model_dump(mode="json", warnings=False, exclude={"fault"})},
            )
        return None

    def delete_track(self, name: TrackName, operation: Operation) -> str | None:
        """Delete a track that has no route.

        Raises:
            UnknownTrackError: there is no such track.
        """
        with write(self._database, operation, TRACK_DELETED) as w:
            if w.earlier:
                return None
            require_track(w.session, name)
            routes = w.session.exec(
                select(func.count()).select_from(RouteRow).where(RouteRow.track == name)
            ).one()
            if routes:
                return (
                    f"track {name} has {routes} {'route' if routes == 1 else 'routes'}: "
                    f"`relight route list --track {name}` shows them, `relight route move` gives "
                    "each another track"
                )
            if _has_open_rollout(w.session, track_scope(name)):
                return (
                    f"a rollout over track {name} is running: `relight rollout abort --track "
                    f"{name}` ends it"
                )
            row = w.session.get(TrackRow, name)
            w.session.delete(row)
            w.log(detail={"name": name, "track": row.model_dump(mode="json") if row else None})
        return None

    def delete_pool(self, provider: str, region: str, operation: Operation) -> str | None:
        """Delete an empty pool, with its failed tries.

        Returns:
            Why it is refused: also if there is no such pool.
        """
        with write(self._database, operation, POOL_DELETED) as w:
            if w.earlier:
                return None
            row = w.session.get(PoolSizeRow, (provider, region))
            if row is None:
                return f"{provider}/{region} has no pool: `relight pool list` shows those there are"
            machines = w.session.exec(
                select(func.count())
                .select_from(PoolMachineRow)
                .where(PoolMachineRow.provider == provider, PoolMachineRow.region == region)
            ).one()
            if row.size or machines:
                return (
                    f"the pool of {provider}/{region} should have {row.size} and has {machines}: "
                    f"`relight pool set {provider} {region} 0` and the next reconcile run empty it"
                )
            w.session.delete(row)
            w.log(detail={"provider": provider, "region": region})
        return None


def _why_route_stays(session: Session, route: RouteRow) -> str | None:
    route_id = route.route_id
    if route.status not in _DELETABLE:
        return (
            f"route {route_id} is {route.status}: `relight route retire {route_id}` ends it first"
        )
    left = [each.key for each in _machines(session, route_id) if not _is_destroyed(each)]
    if left or route.machine_key is not None:
        names = ", ".join(left) or route.machine_key
        return (
            f"machine {names} of route {route_id} is not destroyed yet: `relight route show "
            f"{route_id}` shows it"
        )
    if session.get(DisruptionRow, route_id) is not None:
        return f"an operation runs on route {route_id}: `relight route cancel {route_id}` ends it"
    rollout = session.exec(
        select(RolloutRow)
        .join(RolloutRouteRow, col(RolloutRouteRow.rollout_run_id) == col(RolloutRow.run_id))
        .where(RolloutRouteRow.route_id == route_id, col(RolloutRow.closed_at).is_(None))
    ).first()
    if rollout is not None:
        return (
            f"route {route_id} is in the running rollout of {rollout.release_tag}: "
            "`relight rollout watch` follows it to its end"
        )
    return None


def _machines(session: Session, route_id: RouteId) -> list[MachineRow]:
    return list(session.exec(select(MachineRow).where(MachineRow.route_id == route_id)))


def _is_destroyed(machine: MachineRow) -> bool:
    return machine.status == RecordStatus.DESTROYED


def _has_open_rollout(session: Session, scope: str) -> bool:
    query = select(RolloutRow).where(RolloutRow.scope == scope, col(RolloutRow.closed_at).is_(None))
    return session.exec(query).first() is not None
