"""`relight route`: bring routes up, and see what they run."""

from collections import Counter
from datetime import datetime
from typing import Annotated

import typer

from relight.domain.event import Event
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import ProvisionRouteInput, Route
from relight.store.errors import UnknownRouteError, UnknownTrackError
from starter.cli.errors import BadInputError
from starter.cli.fault_text import fault_panel
from starter.cli.names import (
    FilterTrackOption,
    RouteArgument,
    RoutesArgument,
    TrackOption,
    route_id_of,
    tag_or_none,
)
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
    stdout,
)
from starter.cli.route_table import print_faults, print_routes
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    origin,
    the_store,
    with_temporal,
)

app = typer.Typer(no_args_is_help=True)

SHOWN_EVENTS = 15


@app.command()
def provision(  # noqa: PLR0913 - one argument a flag
    routes: RoutesArgument = None,
    *,
    track: TrackOption,
    region: Annotated[str, typer.Option(help="The provider's name of it, as in lab-east.")],
    provider: Annotated[str, typer.Option(help="The provider's name.")] = "lab",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many, in place of naming them.")
    ] = 1,
    wait: Annotated[bool, typer.Option(help="Wait until each is proven or has failed.")] = True,
    reason: ReasonOption = BY_HAND,
    json: JsonOption = False,
) -> None:
    """Bring up new routes, each on a machine of its own, at the release their track should run.

    Exit code 0 only if every route was proven. A route that fails leaves no machine behind.

    [bold]Examples:[/]

      relight route provision eu-1 eu-2 --track stable --region lab-east
      relight route provision --count 3 --track beta --region lab-west --no-wait
    """
    from starter.cli.provision import provision_all  # noqa: PLC0415 - brings in the SDK

    if routes and count != 1:
        msg = "name the routes, or say how many: not both"
        raise BadInputError(msg)
    asked_by = origin(reason)
    inputs = [
        ProvisionRouteInput(
            route_id=route_id, track=track, provider=provider, region=region, origin=asked_by
        )
        for route_id in routes or _free_ids(region, count)
    ]
    twice = [name for name, times in Counter(each.route_id for each in inputs).items() if times > 1]
    if twice:
        msg = f"named more than once: {', '.join(twice)}"
        raise BadInputError(msg)
    with_temporal(
        lambda client, settings: provision_all(
            client, settings.task_queue, inputs, wait=wait, as_json=json
        )
    )


@app.command()
def wait(routes: RoutesArgument, json: JsonOption = False) -> None:
    """Wait until routes that are being provisioned are proven, or have failed.

    Exit code 0 only if every one was proven.

    [bold]Example:[/]

      relight route wait eu-1 eu-2
    """
    from starter.cli.provision import wait_for  # noqa: PLC0415 - brings in the SDK

    with_temporal(lambda client, _: wait_for(client, routes or [], as_json=json))


@app.command()
def rollback(
    route: RouteArgument, reason: ReasonOption = BY_HAND, json: JsonOption = False
) -> None:
    """Bring a route back to the last release that it was proven at before its target.

    It waits for the end; exit code 0 only if the route was proven there. What its track or the
    fleet declares stays as it is.

    [bold]Example:[/]

      relight route rollback eu-1 --reason "v0.0.76 crashes"
    """
    from starter.cli.rollback import roll_back  # noqa: PLC0415 - brings in the SDK

    asked_by = origin(reason)
    with_temporal(
        lambda client, settings: roll_back(
            client, settings.task_queue, route, asked_by, as_json=json
        )
    )


@app.command()
def replace(
    route: RouteArgument,
    *,
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="Why; it is kept in the event log.")
    ],
    release: Annotated[
        str | None,
        typer.Option(
            callback=tag_or_none,
            help="What the new machine is to run; without it, what the route should run.",
        ),
    ] = None,
    unreachable: Annotated[
        bool,
        typer.Option("--unreachable", help="Nobody gets through to the old one: count it so."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Give a route another machine, from the pool if there is one, and destroy the one it has.

    The new one is proven and serves before the old one goes. That waits while the breaker is open,
    and goes on if this command is ended. Exit code 0 once the old machine is gone.

    [bold]Examples:[/]

      relight route replace eu-1 --reason "its disk is failing"
      relight route replace eu-1 --unreachable --reason "no login for an hour" --json
    """
    from starter.cli.replace import replace as replace_route  # noqa: PLC0415 - brings in the SDK

    asked = AutoreplaceRouteInput(
        route_id=route,
        release_tag=release,
        reason=reason,
        unreachable=unreachable,
        origin=origin(reason),
    )
    with_temporal(
        lambda client, settings: replace_route(client, settings.task_queue, asked, as_json=json)
    )


@app.command("list")
def list_(
    track: FilterTrackOption = None,
    json: JsonOption = False,
) -> None:
    """List the routes, with what each should run and was proven to run.

    [bold]Examples:[/]

      relight route list
      relight route list --track beta --json
    """
    with the_store() as store:
        if track is not None and store.tracks.get(track) is None:
            raise UnknownTrackError(f"there is no track {track}")
        routes = store.routes.list(track=track)
    if json:
        print_json(routes)
    else:
        print_routes(routes)
        print_faults(routes)


@app.command()
def show(route: RouteArgument, json: JsonOption = False) -> None:
    """Show a route: its machines, its fault if it has one, and what was done to it.

    [bold]Example:[/]

      relight route show eu-1
    """
    with the_store() as store:
        found = store.routes.get(route)
        if found is None:
            raise UnknownRouteError(f"there is no route {route}")
        machines = store.machines.list(route)
        events = store.events.list(route_id=route)
    if json:
        print_json({"route": found, "machines": machines, "events": events})
        return
    print_routes([found])
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
    if found.fault is not None:
        stdout.print(fault_panel(f"route {route}", found.fault))
    _print_events(found, events)


def _print_events(route: Route, events: list[Event]) -> None:
    print_table(
        ("at (UTC)", "event", "release", "who and why"),
        (
            (
                _moment(event.at),
                f"fault: {event.fault_kind}" if event.fault_kind else event.kind,
                event.release_tag,
                f"{event.requested_by}: {event.reason}",
            )
            for event in events[-SHOWN_EVENTS:]
        ),
    )
    if (left_out := len(events) - SHOWN_EVENTS) > 0:
        print_line(f"{left_out} earlier ones: --json shows them all")
    print_line("")
    print_line(f"its history in the Temporal UI: search for RelightRoute = '{route.route_id}'")


def _moment(at: datetime | None) -> str | None:
    return f"{at:%m-%d %H:%M:%S}" if at else None


def _free_ids(region: str, count: int) -> list[str]:
    """Return the first ids `REGION-N` that no route has."""
    with the_store() as store:
        taken = {route.route_id for route in store.routes.list()}
    try:
        route_id_of(f"{region}-1")
    except typer.BadParameter:
        msg = f"no route's id can be made of the region {region!r}: name the routes"
        raise BadInputError(msg) from None
    ids: list[str] = []
    number = 1
    while len(ids) < count:
        if (candidate := f"{region}-{number}") not in taken:
            ids.append(candidate)
        number += 1
    return ids
