"""What a control of a rollout has done, and what follows: two lines."""

from relight.domain.rollout.rollout import (
    IN_PROGRESS,
    ControlInput,
    RolloutPhase,
    RolloutStatus,
    RouteProgress,
    SetConcurrency,
    SkipRoute,
)
from starter.cli.rollout_text import counted, title_of

_DONE = {
    "pause": "paused",
    "resume": "resumed",
    "approve": "approved",
    "abort": "aborted",
    "retry": "failed routes requeued",
}

_LEFT = (RouteProgress.WAITING, RouteProgress.TO_ROLL_BACK)


def control_text(
    action: str, input: ControlInput, status: RolloutStatus, arguments: str
) -> tuple[str, str]:
    """Return what was done, and what goes on and what to type next.

    Args:
        action: the control, as in `pause`.
        input: with which it was called.
        status: of the rollout after it.
        arguments: of the rollout on the command line.
    """
    by = f"by {input.origin.requested_by}: {input.origin.reason}"
    return f"{title_of(status)}: {_done(action, input)} {by}", _next(action, status, arguments)


def _done(action: str, input: ControlInput) -> str:
    match input:
        case SkipRoute(route_id=route_id):
            return f"{route_id} skipped"
        case SetConcurrency(max_concurrent=number):
            return f"concurrency set to {number}"
        case _:
            return _DONE[action]


def _next(action: str, status: RolloutStatus, arguments: str) -> str:
    in_progress = counted(sum(status.count(each) for each in IN_PROGRESS), "route")
    follow = f"`relight rollout watch {arguments}` follows it"
    if status.phase is RolloutPhase.PAUSED:
        resume = f"`relight rollout resume {arguments}` continues it"
        return f"{in_progress} in progress will be finished, no further one starts; {resume}"
    if action == "abort":
        return (
            f"{in_progress} in progress will be finished; then its changes are rolled back, unless "
            f"it keeps failed routes; {follow}"
        )
    if status.phase is RolloutPhase.HOLDING:
        to_do = f"; to do: {status.to_do}" if status.to_do else ""
        return f"it waits: {status.detail}{to_do}"
    waiting = sum(status.count(each) for each in _LEFT)
    return f"{in_progress} in progress, {waiting:,} waiting; {follow}"
