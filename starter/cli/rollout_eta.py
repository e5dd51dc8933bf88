"""How long a rollout has run, and how long it will still take by the recorded swaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from relight.domain.duration import span
from relight.domain.hold import Hold
from relight.domain.names import RouteId
from relight.domain.rollout.rollout import (
    RolloutPace,
    RolloutPhase,
    RolloutStatus,
    RouteProgress,
)
from relight.domain.rollout.simulation import FleetModel, time_for
from relight.domain.rollout.strategy import Strategy
from relight.domain.route import Route
from starter.cli.swap_durations import SwapDurations

if TYPE_CHECKING:  # slow to import
    from relight.store.rollout_status import FollowedRollout
    from relight.store.store import Store

_FORWARD = (RouteProgress.WAITING, RouteProgress.SWAPPING, RouteProgress.REPLACING)
_BACK = (RouteProgress.TO_ROLL_BACK, RouteProgress.ROLLING_BACK)

_WITHOUT = {
    RolloutPhase.PREPARING: "no ETA before it is planned",
    RolloutPhase.PAUSED: "no ETA while it is paused",
    RolloutPhase.HOLDING: "no ETA while it waits",
}
"""Why a rollout in this phase has no ETA."""


@dataclass(frozen=True)
class RoutesLeft:
    """The routes that a rollout has still to change, among the whole fleet.

    Attributes:
        waves: their ids, wave by wave.
        fleet: all routes; the disruption budget is about all of them.
        freezes: freeze windows.
        back: they are rolled back, which takes no soak.
    """

    waves: Sequence[Sequence[RouteId]]
    fleet: Sequence[Route]
    freezes: Sequence[Hold] = ()
    back: bool = False


def routes_left(store: "Store", run_id: str) -> RoutesLeft:
    """Return what a rollout has still to change; once it rolls back, only that."""
    fleet = store.routes.list()
    known = {route.route_id for route in fleet}
    back, forward = (
        [each for progress in among for each in store.rollout_routes.list(run_id, progress)]
        for among in (_BACK, _FORWARD)
    )
    waves: dict[int, list[RouteId]] = {}
    for each in back or forward:
        if each.route_id in known:
            waves.setdefault(0 if back else each.wave, []).append(each.route_id)
    return RoutesLeft(
        [waves[each] for each in sorted(waves)], fleet, store.freezes.list(), bool(back)
    )


def ends_at(left: RoutesLeft, pace: RolloutPace, swap: timedelta, now: datetime) -> datetime | None:
    """Return when a rollout will end if no swap fails, by the simulation of a rollout.

    Args:
        left: what it has still to change. Swaps in progress count as not begun.
        pace: its limits and its soaks.
        swap: how long one swap takes.
        now: UTC.

    Returns:
        None if a budget, as it is used now, never lets one of the routes start.
    """
    starts_at = max(now, pace.soaks_until or now)
    took = time_for(
        left.waves,
        FleetModel(left.fleet, [swap], starts_at, freezes=left.freezes),
        Strategy(
            max_concurrent=pace.max_concurrent,
            max_concurrent_per_provider=pace.max_concurrent_per_provider,
            max_concurrent_per_region=pace.max_concurrent_per_region,
            disruption_budget=pace.disruption_budget,
            soak=timedelta() if left.back else pace.soak,
        ),
    )
    return None if took is None else starts_at + took


def eta_text(
    followed: "FollowedRollout",
    pace: RolloutPace | None,
    durations: SwapDurations,
    end: datetime | None,
    now: datetime,
) -> str:
    """Return the elapsed time and the ETA of a running rollout, or why it has none.

    Args:
        followed: the rollout.
        pace: what it says of its pace; None if no worker answers.
        durations: of swaps.
        end: as `ends_at` returns it.
        now: UTC.
    """
    elapsed = f"elapsed {span(_rough(now - followed.opened_at))}"
    reason = _WITHOUT.get(followed.status.phase)
    if reason and not _goes_on(followed.status):
        return f"{elapsed}; {reason}"
    if durations.source == "assumed":
        return f"{elapsed}; no ETA: no swap is recorded yet"
    if pace is None:
        return f"{elapsed}; no ETA: no worker answers"
    if end is None:
        return f"{elapsed}; no ETA: what is out of service fills a budget"
    return (
        f"{elapsed}; about {span(_rough(max(end - now, timedelta())))} left "
        f"({pace.max_concurrent} at once, a swap takes {span(durations.median)})"
    )


def _goes_on(status: RolloutStatus) -> bool:
    """Return whether a rollout that waits changes routes meanwhile, as many as a budget lets out.

    In an incident it does not: the routes that it tries again have a fault.
    """
    in_progress = status.count(RouteProgress.SWAPPING) + status.count(RouteProgress.ROLLING_BACK)
    if status.phase is not RolloutPhase.HOLDING or not in_progress:
        return False
    return not any(each.fault for each in status.routes if each.progress in _FORWARD)


def _rough(duration: timedelta) -> timedelta:
    """Return a duration in whole seconds, from ten minutes on in whole minutes."""
    unit = timedelta(minutes=1) if duration >= timedelta(minutes=10) else timedelta(seconds=1)
    return round(duration / unit) * unit
