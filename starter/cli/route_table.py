"""Routes as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from relight.domain.route import Route
from starter.cli.output import print_line, print_table

_STATUS_STYLES = {"serving": "green", "faulted": "bold red", "failed": "bold red"}


def print_routes(routes: Sequence[Route]) -> None:
    """Print routes, one a line that fits 80 columns."""
    if not routes:
        print_line("no routes")
        return
    now = datetime.now(UTC)
    print_table(
        ("route", "track", "where", "address", "status", "target", "proven", "ago"),
        (
            (
                route.route_id,
                route.track,
                f"{route.provider}/{route.region}",
                route.machine.address if route.machine else None,
                route.status.value,
                route.target_release_tag,
                route.current_release_tag,
                age(now - route.proven_at) if route.proven_at else None,
            )
            for route in routes
        ),
        styles=_STATUS_STYLES,
    )


def print_faults(routes: Sequence[Route]) -> None:
    """Print what stands in the way of routes, one a line."""
    for route in routes:
        if route.fault is not None:
            print_line(f"{route.route_id} {route.status}: {route.fault.summary}")


def age(past: timedelta) -> str:
    """Return an age in its largest whole unit, as in `5 min`."""
    seconds = max(0, int(past.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
