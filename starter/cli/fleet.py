"""`relight fleet`: the state of the fleet."""

from collections import Counter

import typer

from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.route import Route, RouteStatus
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
)
from starter.cli.route_table import print_faults, print_routes
from starter.cli.session import fleet_store

app = typer.Typer(no_args_is_help=True)


@app.callback()
def fleet() -> None:
    """The state of the fleet."""


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the declared and the proven release of each route, and the faults.

    The exit code is always 0; with --json, `converged` says whether all routes are as declared.

    [bold]Example:[/]

      relight fleet status --json | jq .converged
    """
    with fleet_store() as store:
        default = store.fleet_settings.get(DEFAULT_RELEASE_SETTING)
        tracks = store.tracks.list()
        routes = store.routes.list()
    overrides = {track.name: track.release_override for track in tracks}
    drifted = [route.route_id for route in routes if not _as_declared(route, overrides, default)]
    running = Counter(route.current_release_tag or "nothing proven" for route in routes)
    if json:
        print_json(
            {
                "default_release_tag": default,
                "tracks": tracks,
                "converged": not drifted,
                "drifted": drifted,
                "proven": dict(sorted(running.items())),
                "routes": routes,
            }
        )
        return
    print_routes(routes)
    print_faults(routes)
    print_line(f"default release: {default or 'none, so provisioning is refused'}")
    for name, override in overrides.items():
        if override:
            print_line(f"track {name}: {override}")
    counts = ", ".join(f"{count} x {tag}" for tag, count in sorted(running.items()))
    print_line(f"{len(routes)} routes; proven: {counts or 'none'}")
    if drifted:
        print_line(f"not as declared: {', '.join(drifted)}")


def _as_declared(route: Route, overrides: dict[str, str | None], default: str | None) -> bool:
    if route.status is RouteStatus.RETIRED:
        return True
    declared = overrides.get(route.track) or default
    return route.status is RouteStatus.SERVING and route.current_release_tag == declared
