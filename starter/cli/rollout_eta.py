"""How long a rollout has run, and how long it will still take by the recorded swaps."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING

from relight.domain.duration import span
from relight.domain.rollout.rollout import (
    RolloutPace,
    RolloutPhase,
    RouteProgress,
)
from starter.cli.swap_durations import SwapDurations

if TYPE_CHECKING:  # slow to import
    from relight.store.rollout_status import FollowedRollout

_FORWARD = (RouteProgress.WAITING, RouteProgress.SWAPPING)
_BACK = (RouteProgress.TO_ROLL_BACK, RouteProgress.ROLLING_BACK)

_WITHOUT = {
    RolloutPhase.PREPARING: "no ETA before it is planned",
    RolloutPhase.PAUSED: "no ETA while it is paused",
    RolloutPhase.HOLDING: "no ETA while it waits",
}
"""Why a rollout in this phase has no ETA."""


def eta_text(
    followed: "FollowedRollout",
    pace: RolloutPace | None,
    durations: SwapDurations,
    now: datetime,
) -> str:
    """Return the elapsed time and the ETA of a running rollout, or why it has none.

    Args:
        followed: the rollout.
        pace: what it says of its pace; None if no worker answers.
        durations: of swaps.
        now: UTC.
    """
    elapsed = f"elapsed {span(_rough(now - followed.opened_at))}"
    if reason := _WITHOUT.get(followed.status.phase):
        return f"{elapsed}; {reason}"
    if durations.source == "assumed":
        return f"{elapsed}; no ETA: no swap is recorded yet"
    if pace is None:
        return f"{elapsed}; no ETA: no worker answers"
    left = span(_rough(time_left(followed, pace, durations.median, now)))
    return (
        f"{elapsed}; about {left} left "
        f"({pace.max_concurrent} at once, a swap takes {span(durations.median)})"
    )


def time_left(
    followed: "FollowedRollout", pace: RolloutPace, swap: timedelta, now: datetime
) -> timedelta:
    """Return how long a rollout will still take, if nothing holds it up.

    Args:
        followed: the rollout.
        pace: its concurrency and its soaks.
        swap: how long one swap takes.
        now: UTC.
    """
    status = followed.status
    if status.phase is RolloutPhase.ROLLING_BACK:
        return ceil(_count(status.counts, _BACK) / pace.max_concurrent) * swap
    left = timedelta()
    for counts in followed.waves.values():
        if routes := _count(counts, _FORWARD):
            left += ceil(routes / pace.max_concurrent) * swap + pace.soak
    if pace.soaks_until is not None:
        left += max(pace.soaks_until - now, timedelta())
    return left


def _count(counts: Mapping[RouteProgress, int], among: tuple[RouteProgress, ...]) -> int:
    return sum(counts.get(each, 0) for each in among)


def _rough(duration: timedelta) -> timedelta:
    """Return a duration in whole seconds, from ten minutes on in whole minutes."""
    unit = timedelta(minutes=1) if duration >= timedelta(minutes=10) else timedelta(seconds=1)
    return round(duration / unit) * unit
