"""Which waiting routes of a wave start next: read and decided in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from relight.domain.names import RouteId
from relight.domain.rollout.rollout import RouteProgress
from relight.domain.rollout.wave import AdvanceWaveInput, WaveWork
from relight.store.fleet_snapshot import FleetSnapshot, fleet_snapshot, unreadable_routes
from relight.store.tables import RolloutRouteRow

PAGE = 500
"""How many waiting routes are considered at once, where other limits than their number apply."""


@dataclass(frozen=True)
class Stage:
    """The progress of routes in one kind of work.

    Attributes:
        before: of routes that the work is still to be done on.
        under_way: of routes that it is done on now.
    """

    before: RouteProgress
    under_way: RouteProgress


STAGES: Mapping[WaveWork, Stage] = {
    WaveWork.SWAP: Stage(RouteProgress.WAITING, RouteProgress.SWAPPING),
    WaveWork.PROVE: Stage(RouteProgress.SOAKING, RouteProgress.PROVING),
    WaveWork.ROLL_BACK: Stage(RouteProgress.TO_ROLL_BACK, RouteProgress.ROLLING_BACK),
    WaveWork.UNDO: Stage(RouteProgress.WAITING, RouteProgress.SWAPPING),
    WaveWork.REPLACE: Stage(RouteProgress.WAITING, RouteProgress.REPLACING),
}


@dataclass(frozen=True)
class Chosen:
    """Which routes start.

    Attributes:
        starts: in the order of their position.
        left_out: those that a hold keeps out by now.
        limited_by: the limits that keep further routes from starting.
        thaws_at: the end of a freeze window that does so.
    """

    starts: Sequence[RouteId]
    left_out: Sequence[RouteId] = ()
    limited_by: tuple[str, ...] = ()
    thaws_at: datetime | None = None


WaveCounts = Mapping[int, Mapping[RouteProgress, int]]
"""The number of routes by progress, of each wave by its number."""

Choose = Callable[[Sequence[RouteId], FleetSnapshot], Chosen]


def choose_starts(
    session: Session,
    input: AdvanceWaveInput,
    choose: Choose,
    under_way: Sequence[RouteId],
    *,
    constrained: bool,
) -> tuple[dict[RouteId, RolloutRouteRow], Chosen]:
    """Return the routes that were considered, and which of them start."""
    free = max(0, input.max_in_flight - len(under_way))
    page, chosen = _consider(session, input, choose, under_way, free, constrained=constrained)
    if constrained and len(chosen.starts) < free == len(page) < PAGE:
        # A limit keeps some of the first routes from starting, but maybe not those behind them.
        page, chosen = _consider(session, input, choose, under_way, PAGE, constrained=True)
    return page, chosen


def _consider(
    session: Session,
    input: AdvanceWaveInput,
    choose: Choose,
    under_way: Sequence[RouteId],
    limit: int,
    *,
    constrained: bool,
) -> tuple[dict[RouteId, RolloutRouteRow], Chosen]:
    """Consider only the first routes that wait, at most `limit`."""
    page = session.exec(
        select(RolloutRouteRow)
        .where(*_of_waiting(input))
        .order_by(col(RolloutRouteRow.requeued), col(RolloutRouteRow.position))
        .limit(limit)
    ).all()
    ids = [row.route_id for row in page]
    snapshot = (
        fleet_snapshot(session, ids, under_way)
        if constrained
        else FleetSnapshot(routes=(), under_way=under_way, out=frozenset(), in_service={})
    )
    known = {route.route_id for route in snapshot.routes} if constrained else {*ids}
    chosen = choose([each for each in ids if each in known], snapshot)
    bad = {*ids} - known | unreadable_routes(session, chosen.starts)
    return {row.route_id: row for row in page}, replace(
        chosen,
        starts=[each for each in chosen.starts if each not in bad],
        left_out=(*chosen.left_out, *(each for each in ids if each in bad)),
    )


def waiting_in(waves: WaveCounts, input: AdvanceWaveInput) -> int:
    """Return for how many routes the wave's work is still to be done."""
    before = STAGES[input.work].before
    everywhere = input.work is WaveWork.ROLL_BACK
    counted = waves.values() if everywhere else [waves.get(input.number, {})]
    return sum(each.get(before, 0) for each in counted)


def _of_waiting(input: AdvanceWaveInput) -> list[Any]:
    """Return the condition for the routes that the wave's work is still to be done on."""
    conditions: list[Any] = [
        RolloutRouteRow.rollout_run_id == input.rollout_run_id,
        RolloutRouteRow.progress == STAGES[input.work].before,
    ]
    if input.work is not WaveWork.ROLL_BACK:
        conditions.append(RolloutRouteRow.wave == input.number)
    return conditions
