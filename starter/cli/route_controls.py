"""`relight route swap`, `verify`, `cancel`, `quarantine`, `release`, `move`.

Each is recorded in the event log with its requester and its reason.
"""

from typing import Annotated

import typer

from relight.domain.route import HotSwapRouteInput
from relight.store.errors import UnknownRouteError
from starter.cli.errors import RefusedError
from starter.cli.kept_configuration import ConfigurationOption, with_kept
from starter.cli.names import (
    MoveTrackOption,
    RouteArgument,
    TagArgument,
)
from starter.cli.output import JsonOption, print_json, print_line
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
    origin,
    with_temporal,
)
from starter.cli.waiting import TimeoutOption, WaitOption, patience_of

app = typer.Typer()


@app.command()
def swap(  # noqa: PLR0913 - one argument a flag
    route: RouteArgument,
    tag: TagArgument,
    *,
    configuration: ConfigurationOption = None,
    allow_downgrade: Annotated[
        bool,
        typer.Option(
            "--allow-downgrade",
            help="Also if the route runs a newer release well. A failed route goes back to a "
            "release that it was proven at without this.",
        ),
    ] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Bring one route to a release, and prove it there. No budget and no gate applies.

    Waits for the result; exit code 0 only if the route was proven there. The declared release of
    its track or of the fleet does not change: to keep the route there, pin it with
    `relight exclude add --pin`. Without --configuration the route keeps the one that it has.

    [bold]Examples:[/]

      relight route swap eu-1 v0.0.74
      relight route swap eu-1 v0.0.73 --allow-downgrade --reason "v0.0.74 leaks"
      relight route swap eu-1 v0.0.74 --configuration 3f2a91bc04de
    """
    from starter.cli.hot_swap import hot_swap  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        found = store.routes.get(route)
    present = found.current_release_tag if found else None
    tag = with_kept(tag, present, configuration)
    request = HotSwapRouteInput(
        route_id=route, release_tag=tag, allow_downgrade=allow_downgrade, origin=origin(reason)
    )
    with_temporal(
        lambda client, settings: hot_swap(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


@app.command()
def verify(
    route: RouteArgument,
    *,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Log in on a route's machine now, and compare what it runs with its record. Changes nothing.

    The result is recorded: a proof, or a fault, which makes the route faulted and counts for its
    remediation. Waits for it, for at most some minutes if the machine does not answer. Exit code 0
    only if the route was proven; 3 if it was not observed, as while another operation runs on it.

    [bold]Example:[/]

      relight route verify eu-1
    """
    from starter.cli.verify import verify as verify_route  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        with_temporal(
            lambda client, settings: verify_route(
                client, settings.task_queue, store, route, origin(reason), patience, as_json=json
            )
        )


@app.command()
def cancel(
    route: RouteArgument,
    *,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """End the operation that runs on a route: a provision, swap, proof or replacement.

    A change that runs on the host is killed, and dpkg finishes what it had begun; the next swap
    repairs the rest. A replacement
    whose new machine serves already, and a release that is proven already, are completed instead.
    Exit code 3 if no operation runs.

    [bold]Example:[/]

      relight route cancel eu-1 --reason "its postinst hangs"
    """
    from starter.cli.cancel import cancel as cancel_operation  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        with_temporal(
            lambda client, _: cancel_operation(
                client, store, route, operation(reason), patience, as_json=json
            )
        )


@app.command()
def quarantine(
    route: RouteArgument, *, reason: ReasonOption = DEFAULT_REASON, json: JsonOption = False
) -> None:
    """Keep automation from repairing and replacing a route, until it is released.

    The route keeps its machine. Your own commands still work on it.

    [bold]Example:[/]

      relight route quarantine eu-1 --reason "under investigation, incident 412"
    """
    with fleet_store() as store:
        if not store.remediations.quarantine(route, reason, operation(reason)):
            msg = f"route {route} is in quarantine already: see `relight route show {route}`"
            raise RefusedError(msg)
        found = store.remediations.quarantine_of(route)
    if json:
        print_json({"route_id": route, "quarantine": found})
    else:
        print_line(
            f"{route} is in quarantine: `relight route release {route}` lets automation continue"
        )


@app.command()
def release(
    route: RouteArgument, reason: ReasonOption = DEFAULT_REASON, json: JsonOption = False
) -> None:
    """End the quarantine of a route. Its earlier repairs and replacements count no more.

    [bold]Example:[/]

      relight route release eu-1 --reason "the upstream network is repaired"
    """
    with fleet_store() as store:
        if not store.remediations.end_quarantine(route, operation(reason)):
            msg = f"route {route} is not in quarantine"
            raise RefusedError(msg)
    if json:
        print_json({"route_id": route, "quarantine": None})
    else:
        print_line(f"{route} is released: the next reconcile run considers it")


@app.command()
def move(
    route: RouteArgument,
    *,
    track: MoveTrackOption,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Move a route to another track. The next reconcile run brings it to that track's release.

    [bold]Example:[/]

      relight route move eu-1 --track beta --reason "it becomes a canary"
    """
    with fleet_store() as store:
        refusal = store.routes.move(route, track, operation(reason))
        if refusal is not None:
            raise RefusedError(refusal)
        moved = store.routes.get(route)
    if moved is None:
        raise UnknownRouteError(f"there is no route {route}")
    if json:
        print_json(moved)
    else:
        print_line(f"{route} is in track {track}")
