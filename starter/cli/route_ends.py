"""`relight route replace`, `retire`, `delete`: they destroy something, and ask first."""

from typing import TYPE_CHECKING, Annotated

import typer

from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RetireRouteInput
from starter.cli.confirmation import YesOption, confirm
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.names import RouteArgument, tag_or_none
from starter.cli.output import JsonOption, note, print_done
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
    origin,
    with_temporal,
)
from starter.cli.waiting import TimeoutOption, WaitOption, patience_of

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.store.store import Store

app = typer.Typer()


@app.command()
def replace(  # noqa: PLR0913 - one argument a flag
    route: RouteArgument,
    *,
    reason: ReasonOption = DEFAULT_REASON,
    release: Annotated[
        str | None,
        typer.Option(
            callback=tag_or_none,
            help="The release for the new machine. Default: the release that the route should run, "
            "or if that is known as bad, the last one that works there.",
        ),
    ] = None,
    unreachable: Annotated[
        bool,
        typer.Option("--unreachable", help="The old machine cannot be reached: count it as such."),
    ] = False,
    cancel: Annotated[
        bool,
        typer.Option("--cancel", help="End the replacement that runs or is requested instead."),
    ] = False,
    yes: YesOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Replace a route's machine, with one from the pool if there is one, and remove the old one.

    The replacement continues if this command is interrupted. Exit code 0 once the new machine is
    proven and serves. The old machine is then drained, and destroyed when the breaker allows it;
    the route is free meanwhile. Until it serves, `--cancel` leaves the route on its old machine.

    [bold]Examples:[/]

      relight route replace eu-1 --reason "its disk is failing"
      relight route replace eu-1 --unreachable --reason "no login for an hour" --json
      relight route replace eu-1 --cancel --reason "the old machine is well again"
    """
    if cancel:
        if release is not None or unreachable:
            msg = "--cancel excludes --release and --unreachable"
            raise BadInputError(msg)
        _cancel_replacement(route, reason, as_json=json)
        return
    from starter.cli.replace import replace as replace_route  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        confirm(f"{_machine_text(store, route)} is replaced, and then destroyed", yes=yes)
    request = AutoreplaceRouteInput(
        route_id=route,
        release_tag=release,
        reason=reason,
        unreachable=unreachable,
        requested=True,
        origin=origin(reason),
    )
    with_temporal(
        lambda client, settings: replace_route(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


def _cancel_replacement(route: str, reason: str, *, as_json: bool) -> None:
    from starter.cli.cancel import cancel  # noqa: PLC0415 - brings in the SDK

    with fleet_store() as store:
        if store.remediations.cancel_replacement_request(route, operation(reason)):
            note(f"{route}: the request for another machine is withdrawn")
        with_temporal(
            lambda client, _: cancel(
                client, store, route, operation(reason), only="AutoreplaceRoute", as_json=as_json
            )
        )


@app.command()
def retire(
    route: RouteArgument,
    *,
    reason: ReasonOption = DEFAULT_REASON,
    yes: YesOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """End a route: its machines are drained, and destroyed when the breaker allows it.

    Its history stays, and automation ignores it. `relight route provision` brings it back, once its
    machines are destroyed; `relight route delete` removes it from the lists.

    [bold]Example:[/]

      relight route retire eu-1 --reason "nobody is assigned to it any more"
    """
    from starter.cli.retire import retire as retire_route  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    with fleet_store() as store:
        confirm(f"route {route} ends, and {_machine_text(store, route)} is destroyed", yes=yes)
    request = RetireRouteInput(route_id=route, origin=origin(reason))
    with_temporal(
        lambda client, settings: retire_route(
            client, settings.task_queue, request, patience, as_json=json
        )
    )


@app.command()
def delete(
    route: RouteArgument,
    *,
    reason: ReasonOption = DEFAULT_REASON,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete a retired or failed route that has no machine any more. Its events stay.

    It may be provisioned again as a new route; its machines then get other keys than before.

    [bold]Example:[/]

      relight route delete eu-1 --reason "it was a typing error"
    """
    confirm(f"route {route} is removed from the record; its events stay", yes=yes)
    with fleet_store() as store:
        refusal = store.deletions.delete_route(route, operation(reason))
    if refusal is not None:
        raise RefusedError(refusal)
    print_done(f"{route} is deleted; its events stay", {"route_id": route}, as_json=json)


def _machine_text(store: "Store", route_id: str) -> str:
    """Return a route's machine for people, as in `machine eu-1-g1 (192.0.2.7) of route eu-1`."""
    route = store.routes.get(route_id)
    if route is None or route.machine is None:
        return f"each machine of route {route_id}"
    return f"machine {route.machine.key} ({route.machine.address}) of route {route_id}"
