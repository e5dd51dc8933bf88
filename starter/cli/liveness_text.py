"""Which routes have a silent machine, and what commands say of that."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from relight.domain.liveness import Liveness, LivenessCheck, is_silent
from relight.domain.names import RouteId
from relight.domain.pool.pool import PoolMachine, PoolStatus
from relight.domain.route import Route, RouteStatus
from starter.cli.output import print_line
from starter.cli.times import age

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.store import Store

SILENT = "silent"
"""Shown instead of `serving`: a machine that does not answer serves nobody."""

OVERDUE = timedelta(minutes=5)
"""A liveness check that ended longer ago says nothing about now."""

Silent = Mapping[RouteId, Liveness]
"""What is on record of the machine of each route that counts as silent."""


def silent_routes(store: "Store", routes: Sequence[Route]) -> Silent:
    """Return the routes whose machine counts as silent."""
    found, now = store.liveness.silent(), datetime.now(UTC)
    by_route = {
        route.route_id: found[route.machine.key]
        for route in routes
        if route.machine is not None and route.machine.key in found
    }
    return {
        route.route_id: by_route[route.route_id]
        for route in routes
        if route.route_id in by_route
        and is_silent(by_route[route.route_id].since, route.proven_at, now)
    }


def shown_status(route: Route, silent: Silent) -> str:
    """Return the status of a route as commands show it."""
    if route.status is RouteStatus.SERVING and route.route_id in silent:
        return SILENT
    return route.status.value


def shown_pool_status(machine: PoolMachine) -> str:
    """Return the status of a pool machine as commands show it."""
    silent = is_silent(machine.silent_since, machine.proven_at, datetime.now(UTC))
    return SILENT if machine.status is PoolStatus.READY and silent else machine.status.value


def shown_route(route: Route, silent: Silent) -> dict[str, Any]:
    """Return a route for JSON: with the shown status, and since when its machine is silent."""
    liveness = silent.get(route.route_id)
    return {
        **dict(route),
        "status": shown_status(route, silent),
        "silent_since": liveness.since if liveness else None,
    }


def print_silent(routes: Sequence[Route], silent: Silent) -> None:
    """Print since when each silent machine is silent, one line per route."""
    for route in routes:
        liveness = silent.get(route.route_id)
        if liveness is not None:
            key = liveness.machine_key
            last = f"{liveness.answered_at:%m-%d %H:%M}" if liveness.answered_at else "never"
            print_line(
                f"{route.route_id} silent since {liveness.since:%m-%d %H:%M:%S} UTC: {key} does not"
                f" answer on its SSH port (last answer on record: {last}); "
                f"`relight route verify {route.route_id}` tries a login now"
            )


def print_check(check: LivenessCheck | None) -> None:
    """Print what limits the trust in the shown liveness; nothing if the last check was whole."""
    if check is None:
        print_line("liveness: not checked yet; `relight schedule apply` checks it each minute")
        return
    ago = datetime.now(UTC) - check.began_at
    if ago > OVERDUE:
        print_line(
            f"liveness: last checked {age(ago)} ago, so a dead machine may be shown as serving: "
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
