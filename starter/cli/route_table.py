"""Routes as a table, and their faults as lines."""

from collections.abc import Sequence
from datetime import UTC, datetime

from relight.domain.names import machine_workflow_id
from relight.domain.route import Route
from starter.cli.liveness_text import Silent, print_silent, shown_status
from starter.cli.output import print_line, print_table
from starter.cli.times import age

_STATUS_STYLES = {
    "serving": "green",
    "silent": "bold red",
    "faulted": "bold red",
    "failed": "bold red",
}


def print_routes(routes: Sequence[Route], silent: Silent) -> None:
    """Print routes, one per line, within 80 columns."""
    if not routes:
        print_line("no routes")
        return
    now = datetime.now(UTC)
    print_table(
        ("route", "track", "location", "address", "status", "target", "proven", "ago"),
        (
            (
                route.route_id,
                route.track,
                f"{route.provider}/{route.region}",
                route.machine.address if route.machine else None,
                shown_status(route, silent),
                route.target_release_tag,
                route.current_release_tag,
                age(now - route.proven_at) if route.proven_at else None,
            )
            for route in routes
        ),
        styles=_STATUS_STYLES,
    )


def removal_text(key: str) -> str:
    """Return what happens to a machine that serves no route any more."""
    return (
        f"{key} is drained, and destroyed once `relight breaker status` allows it: "
        f"in the Temporal UI it is {machine_workflow_id(key)}"
    )


def print_faults(routes: Sequence[Route], silent: Silent) -> None:
    """Print since when machines are silent, and the fault of each route, one per line."""
    print_silent(routes, silent)
    for route in routes:
        if route.fault is not None:
            print_line(f"{route.route_id} {route.status}: {route.fault.summary}")
