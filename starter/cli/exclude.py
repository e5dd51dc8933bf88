"""`relight exclude`: routes that rollouts skip until a date, or that stay at one release."""

from typing import Annotated

import typer

from relight.domain.hold import HoldKind
from starter.cli.hold_commands import HoldCommands
from starter.cli.hold_options import (
    ForOption,
    FromOption,
    OwnerOption,
    ProviderOption,
    RegionOption,
    RequiredReasonOption,
    RouteOption,
    TrackOption,
    UntilOption,
    selector_of,
)
from starter.cli.names import UncheckedOption, tag_or_none
from starter.cli.output import JsonOption

_commands = HoldCommands(
    kind=HoldKind.EXCLUSION,
    word="exclusion",
    command="exclude",
    add_help="",
    remove_help="Remove an exclusion or a pin; a running rollout adds its routes late.",
    remove_reason="the customer is done",
)
app = _commands.app()


@app.command()
def add(  # noqa: PLR0913 - one argument a flag
    *,
    route: RouteOption = None,
    track: TrackOption = None,
    provider: ProviderOption = None,
    region: RegionOption = None,
    pin: Annotated[
        str | None,
        typer.Option(
            metavar="TAG",
            callback=tag_or_none,
            help="Keep them at this release: rollouts of this release still reach them.",
        ),
    ] = None,
    unchecked: UncheckedOption = False,
    starts_at: FromOption = None,
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: RequiredReasonOption,
    json: JsonOption = False,
) -> None:
    """Exclude routes from rollouts until a time, which is required. They join late after it.

    It covers the routes that match all given options. To hold everything, use `relight freeze`.
    A pin to a release that the repository does not have is refused.

    [bold]Examples:[/]

      relight exclude add --route eu-7 --for 2d --reason "a customer debugs on it"
      relight exclude add --track beta --pin v0.0.73 --for 1w --reason "v0.0.74 leaks"
    """
    covers = selector_of(route, track, provider, region)
    times = starts_at, until, lasts
    _commands.add(covers, times, owner, reason, pin, unchecked=unchecked, as_json=json)
