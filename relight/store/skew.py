"""The release skew of the fleet, counted by the database: it reads no route as a whole."""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, null
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import col, or_

from relight.domain.disruption import NOT_IN_SERVICE
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.skew import FleetSkew, SkewPair, fleet_skew
from relight.store.database import Database
from relight.store.route_swaps import TARGET_SET
from relight.store.routes import ROUTE_PROVEN
from relight.store.tables import EventRow, RouteRow, SettingRow, TrackRow

_set, _before = aliased(EventRow), aliased(EventRow)
_target, _current = col(RouteRow.target_release_tag), col(RouteRow.current_release_tag)

_BEFORE = (
    select_columns(func.max(col(_before.event_id)))
    .where(
        col(_before.route_id) == col(RouteRow.route_id),
        or_(
            and_(col(_before.kind) == TARGET_SET, col(_before.release_tag) != _target),
            and_(col(_before.kind) == ROUTE_PROVEN, col(_before.release_tag) == _target),
        ),
    )
    .correlate(RouteRow)
    .scalar_subquery()
)
"""The last event by which a route did not yet differ from its present target."""

_LAGS_SINCE = (
    select_columns(func.min(col(_set.at)))
    .where(
        col(_set.route_id) == col(RouteRow.route_id),
        col(_set.kind) == TARGET_SET,
        col(_set.release_tag) == _target,
        col(_set.event_id) > func.coalesce(_BEFORE, 0),
    )
    .correlate(RouteRow)
    .scalar_subquery()
)

_EACH = (
    select_columns(
        col(RouteRow.track),
        _target.label("target"),
        _current.label("current"),
        # Only of routes that differ: it reads their events.
        case((_target.is_distinct_from(_current), _LAGS_SINCE), else_=null()).label("lags_since"),
    )
    .where(col(RouteRow.status).not_in(NOT_IN_SERVICE))
    .subquery()
)
_COUNTED = select_columns(
    _EACH.c.track,
    _EACH.c.target,
    _EACH.c.current,
    func.count().label("routes"),
    func.min(_EACH.c.lags_since).label("lags_since"),
).group_by(_EACH.c.track, _EACH.c.target, _EACH.c.current)


class Skews:
    """It writes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, max_pairs: int | None = None) -> FleetSkew:
        """Return the skew of the fleet.

        Args:
            max_pairs: how many pairs are listed of each track; None for all.
        """
        with self._database.reading() as session:
            rows = session.connection().execute(_COUNTED).all()
            tracks = session.connection().execute(
                select_columns(col(TrackRow.name), col(TrackRow.release_override))
            )
            default = session.get(SettingRow, DEFAULT_RELEASE_SETTING)
            declared = {
                name: override or (default.value if default else None) for name, override in tracks
            }
        counted = [(row.track, _pair_of(row)) for row in rows]
        return fleet_skew(counted, declared, max_pairs)


def _pair_of(row: Any) -> SkewPair:
    # A time that was made invalid by hand is not on record.
    since = row.lags_since if isinstance(row.lags_since, datetime) else None
    return SkewPair(target=row.target, current=row.current, routes=row.routes, lags_since=since)
