"""The part of the fleet that decides which routes may be taken out."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from relight.domain.disruption import NOT_IN_SERVICE
from relight.domain.names import RouteId
from relight.domain.route import RouteStatus
from relight.store.ledger import routes_held
from relight.store.rows import BRIEF, RouteBrief, briefs, routes_with_machines
from relight.store.tables import RouteRow


@dataclass(frozen=True)
class FleetSnapshot:
    """The part of the fleet that decides which routes may start.

    Attributes:
        routes: those that may start, those under way, and all that are out.
        under_way: those that the wave has claimed, including claims whose reply was lost.
        out: those that do not serve, or that an operation works on.
        in_service: how many routes have ever served, by provider, region and track.
    """

    routes: Sequence[RouteBrief]
    under_way: Sequence[RouteId]
    out: frozenset[RouteId]
    in_service: Mapping[tuple[str, str, str], int]


def fleet_snapshot(
    session: Session, ids: Sequence[RouteId], under_way: Sequence[RouteId]
) -> FleetSnapshot:
    """Return the part of the fleet that decides which of some routes may be taken out.

    Args:
        session: the transaction in which that is decided.
        ids: the routes that may start.
        under_way: the routes that the caller has claimed.
    """
    held = routes_held(session)
    served = _served()
    faulted = session.exec(
        # Not `!= SERVING`: a status that was made invalid by hand has taken no host out.
        select(RouteRow.route_id).where(RouteRow.status == RouteStatus.FAULTED)
    ).all()
    out = frozenset([*held, *faulted])
    where = col(RouteRow.route_id).in_({*ids, *under_way, *out})
    counted = session.exec(
        select(RouteRow.provider, RouteRow.region, RouteRow.track, func.count())
        .where(served)
        .group_by(RouteRow.provider, RouteRow.region, RouteRow.track)
    )
    routes = briefs(session, BRIEF.where(where))
    known = {route.route_id for route in routes}
    return FleetSnapshot(
        routes=[*routes, *_stand_ins(session, out - known)],
        under_way=under_way,
        out=out,
        in_service={(provider, region, track): n for provider, region, track, n in counted},
    )


def unreadable_routes(session: Session, ids: Sequence[RouteId]) -> frozenset[RouteId]:
    """Return those of some routes whose rows, or whose machines' rows, are invalid."""
    if not ids:
        return frozenset()
    query = select(RouteRow).where(col(RouteRow.route_id).in_(ids))
    unknown = {*ids} - {route.route_id for route in routes_with_machines(session, query)}
    if not unknown:
        return frozenset()
    return frozenset(
        session.exec(select(RouteRow.route_id).where(col(RouteRow.route_id).in_(unknown)))
    )


def _stand_ins(session: Session, ids: Set[RouteId]) -> list[RouteBrief]:
    """Return routes in place of those whose rows are invalid: they are out, and count as such."""
    rows = session.exec(select(RouteRow).where(col(RouteRow.route_id).in_(ids)))
    return [
        RouteBrief(row.route_id, row.track, row.provider, row.region, RouteStatus.FAULTED, None)
        for row in rows
    ]


def _served() -> ColumnElement[bool]:
    return col(RouteRow.status).not_in(NOT_IN_SERVICE)
