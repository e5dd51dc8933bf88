"""`relight fleet`: the state of the fleet."""

from collections import Counter
from datetime import UTC, datetime

import typer

from relight.domain.fault.table import RULES
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.route import Route, RouteStatus
from starter.cli.liveness_text import (
    SILENT,
    print_check,
    shown_route,
    silent_routes,
)
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
)
from starter.cli.pool import print_pools, targets_of
from starter.cli.route_table import print_faults, print_routes
from starter.cli.session import fleet_store
from starter.cli.times import moment

app = typer.Typer(no_args_is_help=True)


@app.callback()
def fleet() -> None:
    """The state of the fleet."""


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the declared and the proven release of each route, silent machines, and the faults.

    The exit code is always 0; with --json, `converged` says whether all routes are as declared and
    none has a silent machine.

    [bold]Example:[/]

      relight fleet status --json | jq .converged
    """
    with fleet_store(reads_only=True) as store:
        default = store.fleet_settings.all().get(DEFAULT_RELEASE_SETTING)
        tracks = store.tracks.list()
        routes = store.routes.list()
        silent = silent_routes(store, routes)
        check = store.liveness.last_check()
        pools, machines = targets_of(store, store.pool_sizes.list()), store.pool.list()
        breaker = store.breaker.get()
        incidents = store.incidents.list()
    overrides = {track.name: track.release_override for track in tracks}
    drifted = [route.route_id for route in routes if not _as_declared(route, overrides, default)]
    running = Counter(
        SILENT if route.route_id in silent else route.current_release_tag or "nothing proven"
        for route in routes
    )
    if json:
        print_json(
            {
                "default_release_tag": default,
                "tracks": tracks,
                "converged": not drifted and not silent,
                "drifted": drifted,
                "silent": sorted(silent),
                "proven": dict(sorted(running.items())),
                "liveness": check,
                "incident": breaker.incident,
                "incidents": incidents,
                "routes": [shown_route(route, silent) for route in routes],
            }
        )
        return
    print_routes(routes, silent)
    print_faults(routes, silent)
    if routes:
        print_check(check)
    for incident in incidents:
        advice = RULES[incident.kind].advice if incident.kind in RULES else ""
        print_line(f"incident since {moment(incident.since)} UTC: {incident.summary}")
        print_line(f"  {advice}")
    print_line(f"default release: {default or 'none, so provisioning is refused'}")
    for name, override in overrides.items():
        if override:
            print_line(f"track {name}: {override}")
    counts = ", ".join(f"{count} x {tag}" for tag, count in sorted(running.items()))
    print_line(f"{len(routes)} routes; proven: {counts or 'none'}")
    if pools:
        print_line("pools:")
        print_pools(pools, machines, breaker, datetime.now(UTC))
    if breaker.incident is not None:
        print_line(f"incident, nothing is destroyed: {breaker.incident.summary}")
        print_line(f"{breaker.incident.to_do} `relight breaker status` shows it.".strip())
    if drifted:
        print_line(f"not as declared: {', '.join(drifted)}")
    if silent:
        print_line(f"silent: {', '.join(sorted(silent))}")


def _as_declared(route: Route, overrides: dict[str, str | None], default: str | None) -> bool:
    if route.status is RouteStatus.RETIRED:
        return True
    declared = overrides.get(route.track) or default
    return route.status is RouteStatus.SERVING and route.current_release_tag == declared
