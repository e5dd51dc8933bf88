"""`relight fleet`: the state of the fleet."""

from datetime import UTC, datetime

import typer

from relight.domain.fault.advice import UNKNOWN, advice_about
from relight.domain.names import DEFAULT_RELEASE_SETTING
from relight.domain.route import Route, RouteStatus
from relight.domain.route_state import NOT_KNOWN
from relight.domain.skew import SKEW_HEADER, skew_rows
from starter.cli.known_routes import known_routes
from starter.cli.liveness_text import print_check
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
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
    """Show the declared release of each route, what it is known to run now, and the faults.

    Counted as proven is what is known now: not a route whose proof is too old, or whose machine is
    silent or gone. The exit code is always 0; with --json, `converged` says whether all routes are
    as declared, and are known to be so.

    [bold]Example:[/]

      relight fleet status --json | jq .converged
    """
    with fleet_store(reads_only=True) as store:
        default = store.fleet_settings.all().get(DEFAULT_RELEASE_SETTING)
        tracks = store.tracks.list()
        routes = store.routes.list()
        known = known_routes(store, routes)
        check = store.liveness.last_check()
        pools, machines = targets_of(store, store.pool_sizes.list()), store.pool.list()
        breaker = store.breaker.get()
        incidents = store.incidents.list()
    overrides = {track.name: track.release_override for track in tracks}
    drifted = [route.route_id for route in routes if not _as_declared(route, overrides, default)]
    not_known = [route.route_id for route in routes if known.of(route).state in NOT_KNOWN]
    if json:
        print_json(
            {
                "default_release_tag": default,
                "tracks": tracks,
                "converged": not drifted and not not_known,
                "drifted": drifted,
                "not_known": not_known,
                "proven": known.proven(),
                "others": known.others(),
                "liveness": check,
                "incident": breaker.incident,
                "incidents": incidents,
                "routes": known.as_json(),
            }
        )
        return
    print_routes(known)
    print_faults(known)
    if routes:
        print_check(check)
    for incident in incidents:
        print_line(f"incident since {moment(incident.since)} UTC: {incident.summary}")
        print_line(f"  {advice_about(incident.kind, UNKNOWN)}")
    print_line(f"default release: {default or 'none, so provisioning is refused'}")
    for name, override in overrides.items():
        if override:
            print_line(f"track {name}: {override}")
    counts = ", ".join(f"{count} x {tag}" for tag, count in known.proven().items())
    others = "".join(f"; {state}: {count}" for state, count in known.others().items())
    print_line(f"{len(routes)} routes; proven: {counts or 'none'}{others}")
    if pools:
        print_line("pools:")
        print_pools(pools, machines, breaker, datetime.now(UTC))
    if breaker.incident is not None:
        print_line(f"incident, nothing is destroyed: {breaker.incident.summary}")
        print_line(f"{breaker.incident.to_do} `relight breaker status` shows it.".strip())
    if drifted:
        print_line(f"not as declared: {', '.join(drifted)}")
    if not_known:
        print_line(f"not known to run anything now: {', '.join(not_known)}")


@app.command()
def skew(json: JsonOption = False) -> None:
    """Show how many routes of each track are at which target and current release.

    The current release is the last proven one: `relight fleet status` says whether it is still
    known. The bar is the share of the track. The last column says since when the first of these
    routes does not run its target. Only routes in service count.

    [bold]Examples:[/]

      relight fleet skew
      relight fleet skew --json | jq '.tracks[] | select(.lagging > 0)'
    """
    with fleet_store(reads_only=True) as store:
        found = store.skew.get()
    if json:
        print_json(found)
        return
    if not found.tracks:
        print_line("no route is in service")
        return
    print_table(SKEW_HEADER, skew_rows(found))
    for track in found.tracks:
        if track.lagging:
            since = f", since {moment(track.oldest_lag)} UTC" if track.oldest_lag else ""
            print_line(f"{track.track}: {track.lagging} of {track.routes} lag{since}")


def _as_declared(route: Route, overrides: dict[str, str | None], default: str | None) -> bool:
    if route.status is RouteStatus.RETIRED:
        return True
    declared = overrides.get(route.track) or default
    return route.status is RouteStatus.SERVING and route.current_release_tag == declared
