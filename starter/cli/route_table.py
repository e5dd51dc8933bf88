"""Routes as a table."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from messages.route import Route
from starter.cli.output import print_table

_STATUS_STYLES = {"serving": "green", "faulted": "bold red", "failed": "red"}


def print_routes(routes: Sequence[Route]) -> None:
    """Print routes, one a line."""
    now = datetime.now(UTC)
    print_table(
        ("route", "track", "where", "machine", "address", "status", "target", "proven", "fault"),
        (
            (
                route.route_id,
                route.track,
                f"{route.provider}/{route.region}",
                route.machine.key if route.machine else None,
                route.machine.address if route.machine else None,
                route.status.value,
                route.target_release_tag,
                _proven(route, now),
                route.fault.kind if route.fault else None,
            )
            for route in routes
        ),
        styles=_STATUS_STYLES,
    )


def _proven(route: Route, now: datetime) -> str | None:
    if route.current_release_tag is None or route.proven_at is None:
        return None
    return f"{route.current_release_tag}, {ago(now - route.proven_at)}"


def ago(age: timedelta) -> str:
    """Return an age in its largest whole unit, as in `5 min ago`."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
