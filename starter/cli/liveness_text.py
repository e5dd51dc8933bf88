"""What commands say of liveness: whether it was checked, and which pool machines are silent."""

from datetime import UTC, datetime, timedelta

from relight.domain.liveness import LivenessCheck, is_silent
from relight.domain.pool.pool import PoolMachine, PoolStatus
from relight.domain.route_state import RouteState
from starter.cli.output import print_line
from starter.cli.times import age

OVERDUE = timedelta(minutes=5)
"""A liveness check that ended longer ago says nothing about now."""


def shown_pool_status(machine: PoolMachine) -> str:
    """Return the status of a pool machine as commands show it."""
    silent = is_silent(machine.silent_since, machine.proven_at, datetime.now(UTC))
    is_lost = machine.status is PoolStatus.READY and silent
    return RouteState.UNREACHABLE.value if is_lost else machine.status.value


def print_check(check: LivenessCheck | None) -> None:
    """Print what limits the trust in the shown liveness; nothing if the last check was whole."""
    if check is None:
        print_line("liveness: not checked yet; `relight schedule apply` checks it each minute")
        return
    ago = datetime.now(UTC) - check.began_at
    if ago > OVERDUE:
        print_line(
            f"liveness: last checked {age(ago)} ago, so a dead machine may be shown as proven: "
            "see `relight schedule list`, and whether a worker runs"
        )
    elif check.offline:
        print_line(f"liveness: unknown, {check.offline}: see `relight breaker status`")
    elif check.not_probed:
        print_line(
            f"liveness: {check.not_probed} of {check.machines} machines could not be probed, by a "
            "fault of the control plane's own host: see the worker's limit of open files, "
            "RELIGHT_LIVENESS__CONCURRENCY and its firewall"
        )
