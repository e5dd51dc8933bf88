"""What is known of the releases that a pool may get: their rollouts, and where they were proven."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from sqlmodel import Session, col, func, or_, select

from relight.domain.names import (
    DEFAULT_RELEASE_SETTING,
    FLEET_SCOPE,
    ReleaseTag,
    rollout_workflow_id,
)
from relight.domain.pool.release import ReleaseEvidence
from relight.domain.rollout.rollout import RolloutPhase
from relight.domain.route import RouteStatus
from relight.store.database import Database
from relight.store.pool_sizes import PoolSize
from relight.store.rollouts import ROLLED_BACK
from relight.store.tables import (
    PoolMachineRow,
    RolloutRouteRow,
    RolloutRow,
    RouteRow,
    SettingRow,
    TrackRow,
)

_PROVEN = (RouteStatus.SERVING, RouteStatus.FAULTED)
"""Statuses of routes that keep the release at which they were last proven."""


class PoolReleases:
    """Evidence about releases, counted by the database: each plan of a pool reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def evidence(self, pools: Iterable[PoolSize]) -> list[ReleaseEvidence]:
        """Return what is known of the releases for each of these pools, in their order."""
        with self._database.reading() as session:
            default = session.get(SettingRow, DEFAULT_RELEASE_SETTING)
            converged, refused, open_ = _rollouts(session)
            on_routes, has_routes = _routes(session)
            in_pools = _in_pools(session)
            return [
                ReleaseEvidence(
                    declared=default.value if default else None,
                    converged=converged,
                    refused=refused,
                    open=open_,
                    on_routes=on_routes,
                    has_routes=has_routes,
                    in_pool=in_pools[each.provider, each.region],
                )
                for each in pools
            ]


def _rollouts(
    session: Session,
) -> tuple[tuple[ReleaseTag, ...], Mapping[ReleaseTag, str], Collection[ReleaseTag]]:
    """Return the releases that have converged, the refused ones with the reason, and the open ones.

    The last rollout of a release over the fleet has to have converged, and none over a track may
    have ended badly since.
    """
    newest = (
        select(func.max(RolloutRow.rollout_id))
        .where(col(RolloutRow.image_name).is_(None))
        .group_by(col(RolloutRow.release_tag), col(RolloutRow.scope))
    )
    rolled_back = (
        select(RolloutRouteRow.rollout_run_id)
        .where(col(RolloutRouteRow.progress).in_(ROLLED_BACK))
        .distinct()
    )
    rows = session.exec(
        select(RolloutRow, col(RolloutRow.run_id).in_(rolled_back))
        .where(col(RolloutRow.rollout_id).in_(newest))
        .order_by(col(RolloutRow.rollout_id))
    )
    converged: dict[ReleaseTag, None] = {}
    refused: dict[ReleaseTag, str] = {}
    open_: set[ReleaseTag] = set()
    for row, goes_back in rows:
        tag = row.release_tag
        why = _why_refused(row, goes_back=goes_back)
        if row.closed_at is None:
            open_.add(tag)
        if row.scope == FLEET_SCOPE and why is None:
            converged[tag] = None
            refused.pop(tag, None)
        elif why is not None and (row.scope == FLEET_SCOPE or row.closed_at is not None):
            converged.pop(tag, None)
            refused[tag] = why
    return tuple(converged), refused, open_


def _why_refused(row: RolloutRow, *, goes_back: bool) -> str | None:
    """Return why a rollout did not let its release through; None if it did."""
    of = "its rollout" if row.scope == FLEET_SCOPE else f"its rollout over {row.scope}"
    if row.workflow_id == rollout_workflow_id(row.release_tag, row.scope, undo=True):
        return f"{of} was undone"
    if row.closed_at is None:
        return f"{of} has not converged yet"
    if row.phase != RolloutPhase.CONVERGED:
        return f"{of} was {row.phase}"
    return f"{of} was rolled back" if goes_back else None


def _routes(session: Session) -> tuple[Mapping[ReleaseTag, int], bool]:
    """Return how many routes without an override were proven at each release; and if there are."""
    rows = session.exec(
        select(RouteRow.current_release_tag, RouteRow.status, func.count())
        .join(TrackRow, col(TrackRow.name) == col(RouteRow.track))
        .where(
            RouteRow.status != RouteStatus.RETIRED,
            or_(col(TrackRow.release_override).is_(None), TrackRow.release_override == ""),
        )
        .group_by(col(RouteRow.current_release_tag), col(RouteRow.status))
    ).all()
    counts: dict[ReleaseTag, int] = {}
    for tag, status, count in rows:
        if tag is not None and status in _PROVEN:
            counts[tag] = counts.get(tag, 0) + count
    return counts, bool(rows)


def _in_pools(session: Session) -> Mapping[tuple[str, str], Mapping[ReleaseTag, int]]:
    """Return how many machines of each pool were proven at each release."""
    tag = col(PoolMachineRow.release_tag)
    rows = session.exec(
        select(PoolMachineRow.provider, PoolMachineRow.region, tag, func.count())
        .where(tag.is_not(None))
        .group_by(col(PoolMachineRow.provider), col(PoolMachineRow.region), tag)
    )
    found = defaultdict[tuple[str, str], dict[ReleaseTag, int]](dict)
    for provider, region, release_tag, count in rows:
        if release_tag is not None:
            found[provider, region][release_tag] = count
    return found
