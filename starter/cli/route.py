"""`relight route`: bring routes up, and see what they run."""

from typing import TYPE_CHECKING, Annotated

import typer

from fleet.errors import UnknownRouteError
from messages.fleet import Event
from messages.route import ProvisionRouteInput, Route
from starter.cli.asking import BY_HAND, ReasonOption, origin, the_store, with_temporal
from starter.cli.errors import BadInputError
from starter.cli.fault_text import fault_panel
from starter.cli.names import RouteArgument, RoutesArgument, TrackOption
from starter.cli.output import JsonOption, print_json, print_line, print_table, stdout
from starter.cli.route_table import print_routes

if TYPE_CHECKING:
    from fleet.store import Store

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
    from starter.cli.provisioning import provision_all  # noqa: PLC0415 - brings in the SDK

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
    if len({each.route_id for each in inputs}) < len(inputs):
        msg = "a route is named twice"
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
    from starter.cli.provisioning import wait_for  # noqa: PLC0415 - brings in the SDK

    with_temporal(lambda client, _: wait_for(client, routes or [], as_json=json))


@app.command("list")
def list_(
    track: Annotated[str | None, typer.Option("--track", "-t", help="Of this track alone.")] = None,
    json: JsonOption = False,
) -> None:
    """List the routes, with what each should run and was proven to run.

    [bold]Examples:[/]

      relight route list
      relight route list --track beta --json
    """
    with the_store() as store:
        routes = store.routes.list(track=track)
    if json:
        print_json(routes)
    else:
        print_routes(routes)


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
    print_table(
        ("machine", "provider id", "address", "status", "created", "destroyed"),
        (
            (
                machine.key,
                machine.provider_id,
                machine.address,
                machine.status,
                machine.created_at,
                machine.destroyed_at,
            )
            for machine in machines
        ),
    )
    if found.fault is not None:
        stdout.print(fault_panel(f"route {route}", found.fault))
    _print_events(found, events)


def _print_events(route: Route, events: list[Event]) -> None:
    print_table(
        ("at", "event", "who", "why", "release", "fault"),
        (
            (
                f"{event.at:%Y-%m-%d %H:%M:%S}",
                event.kind,
                event.who,
                event.why,
                event.release_tag,
                event.fault_kind,
            )
            for event in events[-SHOWN_EVENTS:]
        ),
    )
    print_line(f"its history in the Temporal UI: search for RelightRoute = '{route.route_id}'")


def _free_ids(region: str, count: int) -> list[str]:
    """Return the first ids `REGION-N` that no route has."""
    with the_store() as store:
        taken = _taken(store)
    ids: list[str] = []
    number = 1
    while len(ids) < count:
        if (candidate := f"{region}-{number}") not in taken:
            ids.append(candidate)
        number += 1
    return ids


def _taken(store: "Store") -> set[str]:
    return {route.route_id for route in store.routes.list()}
