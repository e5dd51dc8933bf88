"""`relight route`: provision, show, roll back and replace routes; the rest: `route_controls`."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer

from relight.domain.event import Event, EventFilter
from relight.domain.fault.advice import subject_of
from relight.domain.route import HotSwapRouteInput, ProvisionRouteInput, Route
from relight.store.errors import UnknownRouteError, UnknownTrackError
from starter.cli import route_controls, route_ends, route_login
from starter.cli.errors import BadInputError
from starter.cli.fault_text import fault_panel
from starter.cli.known_routes import known_routes, print_states
from starter.cli.names import (
    FilterTrackOption,
    RouteArgument,
    RoutesArgument,
    TrackOption,
    route_id_of,
)
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
    stdout,
)
from starter.cli.route_holds import hold_line, holds_of, shown_hold
from starter.cli.route_table import kept_text, print_faults, print_routes, removal_text
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    origin,
    with_temporal,
)
from starter.cli.waiting import Patience, TimeoutOption, WaitOption, patience_of

app = typer.Typer(no_args_is_help=True)

SHOWN_EVENTS, MAX_EVENTS = 15, 1000
"""How many events are shown at most; with --json."""


@app.command()
def provision(  # noqa: PLR0913 - one argument a flag
    routes: RoutesArgument = None,
    *,
    track: TrackOption,
    region: Annotated[str, typer.Option(help="The region's name at the provider, as in lab-east.")],
    provider: Annotated[str, typer.Option(help="The provider's name.")] = "lab",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many routes, instead of their ids.")
    ] = 1,
    wait: Annotated[
        bool, typer.Option(help="Wait until each route is proven or has failed.")
    ] = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Provision new routes, each on its own machine, at the release that their track should run.

    Exit code 0 only if every route was proven. A route that fails leaves no machine behind.

    [bold]Examples:[/]

      relight route provision eu-1 eu-2 --track stable --region lab-east
      relight route provision --count 3 --track beta --region lab-west --no-wait
    """
    from starter.cli.provision import provision_all  # noqa: PLC0415 - brings in the SDK

    if routes and count != 1:
        msg = "give the route ids or --count, not both"
        raise BadInputError(msg)
    patience = patience_of(timeout, waits=wait)
    requester = origin(reason)
    inputs = [
        ProvisionRouteInput(
            route_id=route_id, track=track, provider=provider, region=region, origin=requester
        )
        for route_id in routes or _free_ids(region, count)
    ]
    counts = Counter(each.route_id for each in inputs)
    repeated = [route_id for route_id, times in counts.items() if times > 1]
    if repeated:
        msg = f"named more than once: {', '.join(repeated)}"
        raise BadInputError(msg)
    with_temporal(
        lambda client, settings: provision_all(
            client, settings.task_queue, inputs, patience, as_json=json
        )
    )


@app.command()
def wait(routes: RoutesArgument, timeout: TimeoutOption = None, json: JsonOption = False) -> None:
    """Wait until routes that are being provisioned are proven, or have failed.

    Exit code 0 only if every one was proven.

    [bold]Example:[/]

      relight route wait eu-1 eu-2
    """
    from starter.cli.provision import wait_for  # noqa: PLC0415 - brings in the SDK

    patience = Patience(timeout=timeout)
    with_temporal(
        lambda client, _: wait_for(client, routes or [], patience, as_json=json), reads_only=True
    )


@app.command()
def rollback(
    route: RouteArgument,
    *,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Bring a route back to the last release that it was proven at.

    If it is proven at its release now, back to the one before. Failed and repeated attempts do not
    change where it goes, and a route that has come back from a bad release already stays there.
    Waits for the result; exit code 0 only if the route was proven there. The declared release of
    its track or of the fleet does not change.

    [bold]Example:[/]

      relight route rollback eu-1 --reason "v0.0.76 crashes"
    """
    from starter.cli.hot_swap import hot_swap  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    request = HotSwapRouteInput(route_id=route, release_tag=None, origin=origin(reason))
    with_temporal(
        lambda client, settings: hot_swap(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


@app.command("list")
def list_(
    track: FilterTrackOption = None,
    json: JsonOption = False,
) -> None:
    """List the routes, with the target and the proven release of each.

    [bold]Examples:[/]

      relight route list
      relight route list --track beta --json
    """
    with fleet_store(reads_only=True) as store:
        if track is not None and store.tracks.get(track) is None:
            raise UnknownTrackError(f"there is no track {track}")
        routes = store.routes.list(track=track)
        known = known_routes(store, routes)
    if json:
        print_json(known.as_json())
    else:
        print_routes(known)
        print_faults(known)


@app.command()
def show(route: RouteArgument, json: JsonOption = False) -> None:
    """Show a route: its machines, its fault, its holds and how to remove each, its last events.

    [bold]Example:[/]

      relight route show eu-1
    """
    from relight.store.tables import RecordStatus  # noqa: PLC0415 - brings in the database

    now = datetime.now(UTC)
    with fleet_store(reads_only=True) as store:
        found = store.routes.get(route)
        if found is None:
            raise UnknownRouteError(f"there is no route {route}")
        machines = store.machines.list(route)
        events, older = store.events.page(
            EventFilter(route_id=route), MAX_EVENTS if json else SHOWN_EVENTS
        )
        holds = holds_of(store, found, now)
        quarantine = store.remediations.quarantine_of(route)
        known = known_routes(store, [found])
    if json:
        print_json(
            {
                "route": known.as_json()[0],
                "quarantine": quarantine,
                "holds": [shown_hold(hold, now) for hold in holds],
                "machines": machines,
                "events": events,
            }
        )
        return
    print_routes(known)
    print_states(known)
    print_line("")
    print_table(
        ("machine", "provider id", "address", "status", "created", "destroyed"),
        (
            (
                machine.key,
                machine.provider_id,
                machine.address,
                machine.status,
                _moment(machine.created_at),
                _moment(machine.destroyed_at),
            )
            for machine in machines
        ),
    )
    print_line("")
    if quarantine is not None:
        print_line(
            f"in quarantine since {_moment(quarantine.since)} UTC: {quarantine.reason}; "
            f"`relight route release {route}` ends it"
        )
    for hold in holds:
        print_line(hold_line(hold, now))
    for machine in machines:
        if machine.image_name is not None and machine.status != RecordStatus.DESTROYED:
            print_line(f"{machine.key} is made of image {machine.image_name} ({machine.image_id})")
        if machine.status == RecordStatus.DRAINING:
            print_line(removal_text(machine.key))
        elif machine.status == RecordStatus.KEPT:
            print_line(kept_text(machine.key))
    if found.fault is not None:
        stdout.print(fault_panel(subject_of(found), found.fault))
    _print_events(found, events, has_older=older is not None)


def _print_events(route: Route, events: list[Event], *, has_older: bool) -> None:
    print_table(
        ("at (UTC)", "event", "release", "requested by: reason"),
        (
            (
                _moment(event.at),
                f"fault: {event.fault_kind}" if event.fault_kind else event.kind,
                event.release_tag,
                f"{event.requested_by}: {event.reason}",
            )
            for event in events
        ),
    )
    if has_older:
        print_line(f"earlier events: `relight events --route {route.route_id}`")
    print_line("")
    print_line(f"for its history, search the Temporal UI for RelightRoute = '{route.route_id}'")


app.add_typer(route_ends.app)
app.add_typer(route_controls.app)
app.add_typer(route_login.app)


def _moment(at: datetime | None) -> str | None:
    return f"{at:%m-%d %H:%M:%S}" if at else None


def _free_ids(region: str, count: int) -> list[str]:
    """Return the first ids `REGION-N` that no route has yet."""
    with fleet_store() as store:
        taken = {route.route_id for route in store.routes.list()}
    try:
        route_id_of(f"{region}-1")
    except typer.BadParameter:
        msg = f"no route id can be made from the region {region!r}: name the routes"
        raise BadInputError(msg) from None
    ids: list[str] = []
    number = 1
    while len(ids) < count:
        if (candidate := f"{region}-{number}") not in taken:
            ids.append(candidate)
        number += 1
    return ids
