"""What each route was proven at, which releases failed there, and what it had before a rollout."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sqlmodel import and_, col, or_, select

from relight.domain.fault.fault import FaultClass
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.recovery import (
    ReleaseEvent,
    ReleaseEventKind,
    ReleaseHistory,
    release_history,
)
from relight.domain.rollout.rollout import RouteProgress
from relight.domain.route import RouteStatus
from relight.store.database import Database
from relight.store.route_swaps import TARGET_SET
from relight.store.routes import ROUTE_PROVEN
from relight.store.tables import EventRow, RolloutRouteRow, RolloutRow, RouteRow

PAGE = 500
"""How many routes one query asks for by their ids."""

_KINDS: Mapping[str, ReleaseEventKind] = {
    ROUTE_PROVEN: ReleaseEventKind.PROVEN,
    TARGET_SET: ReleaseEventKind.TRIED,
}
"""What an event means for a release on a route. A fault of the release means that it failed."""


class ReleaseHistories:
    """The releases of routes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, route_id: RouteId) -> ReleaseHistory:
        """Return the releases of a route; an empty history if there is no such route."""
        [(_, history)] = self.list([route_id])
        return history

    def list(self, route_ids: Sequence[RouteId]) -> Iterator[tuple[RouteId, ReleaseHistory]]:
        """Yield each of these routes with its releases, in one query for a page of them."""
        for start in range(0, len(route_ids), PAGE):
            page = route_ids[start : start + PAGE]
            events = self._events(page)
            for route_id in page:
                yield route_id, release_history(events[route_id])

    def before_rollout(self, release_tag: ReleaseTag) -> Mapping[RouteId, ReleaseTag]:
        """Return the release that each route had before the last rollout that changed it to one.

        Only of routes that rollouts have brought towards the release, and that still are there: at
        the release, or faulted because they could not be brought back from it.
        """
        failed_to_go_back = and_(
            RouteRow.status == RouteStatus.FAULTED,
            RouteRow.target_release_tag == RolloutRouteRow.previous_release_tag,
            col(RolloutRouteRow.progress).in_(
                (RouteProgress.FAILED, RouteProgress.NOT_ROLLED_BACK)
            ),
        )
        query = (
            select(RolloutRouteRow.route_id, RolloutRouteRow.previous_release_tag)
            .join(RolloutRow, col(RolloutRow.run_id) == col(RolloutRouteRow.rollout_run_id))
            .join(RouteRow, col(RouteRow.route_id) == col(RolloutRouteRow.route_id))
            .where(
                RolloutRow.release_tag == release_tag,
                # That of an image leaves every route at its own release.
                col(RolloutRow.image_name).is_(None),
                or_(RouteRow.target_release_tag == release_tag, failed_to_go_back),
                RolloutRouteRow.previous_release_tag != release_tag,
            )
            .order_by(col(RolloutRow.rollout_id))
        )
        with self._database.reading() as session:
            return {route_id: tag for route_id, tag in session.exec(query) if tag is not None}

    def _events(self, route_ids: Sequence[RouteId]) -> Mapping[RouteId, Sequence[ReleaseEvent]]:
        query = (
            select(EventRow.route_id, EventRow.kind, EventRow.release_tag, EventRow.machine_key)
            .where(
                col(EventRow.route_id).in_(route_ids),
                or_(col(EventRow.kind).in_(_KINDS), EventRow.fault_class == FaultClass.RELEASE),
            )
            .order_by(col(EventRow.event_id))
        )
        events = defaultdict[RouteId, list[ReleaseEvent]](list)
        with self._database.reading() as session:
            for route_id, kind, tag, key in session.exec(query):
                if route_id is not None and tag is not None:
                    happened = _KINDS.get(kind, ReleaseEventKind.FAILED)
                    events[route_id].append(ReleaseEvent(happened, tag, key))
        return events
