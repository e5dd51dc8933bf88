"""Routes as a table, and their faults as lines."""

from relight.domain.names import machine_workflow_id
from starter.cli.known_routes import KnownRoutes, print_states
from starter.cli.output import print_line, print_table
from starter.cli.times import age

_STATUS_STYLES = {
    "proven": "green",
    "stale": "yellow",
    "unknown": "yellow",
    "unreachable": "bold red",
    "gone": "bold red",
    "faulted": "bold red",
    "failed": "bold red",
}


def print_routes(known: KnownRoutes) -> None:
    """Print routes, one per line, within 80 columns: what each is known to be, and for how long."""
    if not known.routes:
        print_line("no routes")
        return
    print_table(
        ("route", "track", "location", "address", "status", "for", "target", "last proven"),
        (
            (
                route.route_id,
                route.track,
                f"{route.provider}/{route.region}",
                route.machine.address if route.machine else None,
                known.of(route).state,
                age(known.now - since) if (since := known.of(route).since) else None,
                route.target_release_tag,
                route.current_release_tag,
            )
            for route in known.routes
        ),
        styles=_STATUS_STYLES,
    )


def removal_text(key: str) -> str:
    """Return what happens to a machine that serves no route any more."""
    return (
        f"{key} is drained, and destroyed once `relight breaker status` allows it: "
        f"in the Temporal UI it is {machine_workflow_id(key)}; "
        f"`relight machine keep {key}` ends that"
    )


def kept_text(key: str) -> str:
    """Return that a person keeps a machine, and what ends that."""
    return f"a person keeps {key}, and automation leaves it: `relight machine remove {key}` ends it"


def print_faults(known: KnownRoutes) -> None:
    """Print why routes are not known to run anything, and their faults, one per line."""
    print_states(known)
    for route in known.routes:
        if route.fault is not None:
            print_line(f"{route.route_id} {known.of(route).state}: {route.fault.summary}")
