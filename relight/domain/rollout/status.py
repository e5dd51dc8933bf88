"""The status of a rollout: from its records to the message, and what a person has to do."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from relight.domain.rollout.answer import LEFT_WITH_FAULT, arguments_of, to_do_about
from relight.domain.rollout.rollout import (
    Rollout,
    RolloutPhase,
    RolloutStanding,
    RolloutStatus,
    RouteOutcome,
    RouteProgress,
)

NOT_REACHED = {
    RouteProgress.WAITING: RouteProgress.UNTOUCHED,
    RouteProgress.TO_ROLL_BACK: RouteProgress.NOT_ROLLED_BACK,
}
"""What routes that still wait are when the rollout has ended."""

NOTHING_CHANGED = "nothing was changed"

_UNCHANGED = frozenset({RouteProgress.WAITING, RouteProgress.UNTOUCHED, RouteProgress.SKIPPED})
"""The progress of routes that a rollout has not changed."""

_WORKING = (RolloutPhase.RUNNING, RolloutPhase.ROLLING_BACK)

_LEFT_BY_UNDO = (RouteProgress.UNTOUCHED, RouteProgress.FAILED)

_CONTINUES = "it continues by itself; or relight rollout abort"


def status_of(
    rollout: Rollout,
    standing: RolloutStanding,
    blocked_by: str,
    blocked_since: datetime | None,
    counts: Mapping[RouteProgress, int],
    routes: Sequence[RouteOutcome],
    *,
    undo: bool,
) -> RolloutStatus:
    """Return the status of a rollout.

    Args:
        rollout: its record.
        standing: what it last said about itself.
        blocked_by: what its running wave waits for; empty if for nothing.
        blocked_since: since when, UTC.
        counts: number of its routes by recorded progress.
        routes: those to list.
        undo: whether it brings the routes back from the release.
    """
    if rollout.closed_at is not None:
        counts = _as_ended(counts)
        routes = [
            each.model_copy(update={"progress": NOT_REACHED.get(each.progress, each.progress)})
            for each in routes
        ]
        standing = standing.model_copy(
            update={"to_do": _left_to_do(rollout, counts, undo=undo), "since": rollout.closed_at}
        )
    elif blocked_by and standing.phase in _WORKING:
        standing = standing.model_copy(
            update={
                "phase": RolloutPhase.HOLDING,
                "detail": blocked_by,
                "since": blocked_since or standing.since,
                "to_do": _CONTINUES,
            }
        )
    if not standing.to_do:
        about = to_do_about(
            sum(counts.get(each, 0) for each in LEFT_WITH_FAULT),
            arguments_of(rollout),
        )
        standing = standing.model_copy(update={"to_do": about})
    return RolloutStatus(
        release_tag=rollout.release_tag,
        scope=rollout.scope,
        routes=tuple(routes),
        counts=counts,
        undo=undo,
        image_name=rollout.image_name,
        **dict(standing),
    )


def in_wave(number: int, waves: int, since: datetime) -> RolloutStanding:
    """Return where a rollout stands as one of its waves begins."""
    return RolloutStanding(
        phase=RolloutPhase.RUNNING,
        detail=f"wave {number} of {waves}",
        since=since,
        wave=number,
        waves=waves,
    )


def tally(counts: Mapping[RouteProgress, int]) -> tuple[int, int]:
    """Return how many routes of a rollout are proven, and how many failed."""
    proven = (RouteProgress.CONVERGED, RouteProgress.SOAKING, RouteProgress.PROVING)
    return sum(counts.get(each, 0) for each in proven), counts.get(RouteProgress.FAILED, 0)


def ending_text(status: RolloutStatus) -> str:
    """Return why a rollout has ended, and what became of its routes, in one line."""
    counts = {each: status.count(each) for each in RouteProgress if status.count(each)}
    if counts.keys() <= _UNCHANGED:
        return f"{status.detail}; {NOTHING_CHANGED}"
    routes = ", ".join(f"{count} {progress}" for progress, count in counts.items())
    return f"{status.detail}; routes: {routes}"


def _as_ended(counts: Mapping[RouteProgress, int]) -> Mapping[RouteProgress, int]:
    ended: dict[RouteProgress, int] = {}
    for progress, count in counts.items():
        kept = NOT_REACHED.get(progress, progress)
        ended[kept] = ended.get(kept, 0) + count
    return ended


def _left_to_do(rollout: Rollout, counts: Mapping[RouteProgress, int], *, undo: bool) -> str:
    """Return what a person has to do now that the rollout has ended; empty if nothing."""
    if rollout.phase is RolloutPhase.SUPERSEDED:
        return ""  # The other one goes on.
    if undo:
        count = sum(counts.get(each, 0) for each in _LEFT_BY_UNDO)
        command = f"relight rollout undo {arguments_of(rollout)}"
        return f"{command}, for {count} not brought back" if count else ""
    count = counts.get(RouteProgress.NOT_ROLLED_BACK, 0)
    if not count:
        return ""
    arguments = arguments_of(rollout)
    return f"relight rollout why {arguments}, for the commands of {count} not rolled back"
