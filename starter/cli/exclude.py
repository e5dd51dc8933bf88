"""`relight exclude`: routes that rollouts skip until a date, and pins to a release."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from relight.domain.hold import Exclusion
from starter.cli.errors import BadInputError
from starter.cli.hold_options import (
    ForOption,
    OwnerOption,
    ProviderOption,
    RegionOption,
    RequiredReasonOption,
    RouteOption,
    TrackOption,
    UntilOption,
    covered,
    covered_text,
    selector_of,
    selector_text,
    state_of,
    state_text,
    warn_if_none_covered,
)
from starter.cli.names import tag_or_none
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import (
    DEFAULT_REASON,
    ReasonOption,
    fleet_store,
    operation,
    origin,
)
from starter.cli.times import end_of, moment

app = typer.Typer(no_args_is_help=True)


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
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: RequiredReasonOption,
    json: JsonOption = False,
) -> None:
    """Exclude routes from rollouts until a time, which is required. They join late after it.

    It covers the routes that match all given options. To hold everything, use `relight freeze`.

    [bold]Examples:[/]

      relight exclude add --route eu-7 --for 2d --reason "a customer debugs on it"
      relight exclude add --track beta --pin v0.0.73 --for 1w --reason "v0.0.74 leaks"
    """
    now = datetime.now(UTC)
    covers = selector_of(route, track, provider, region)
    if covers.selects_all:
        msg = "select routes with --route, --track, --provider or --region: to hold all, freeze"
        raise BadInputError(msg)
    exclusion = Exclusion(
        covers=covers,
        owner=owner or origin(reason).requested_by,
        reason=reason,
        expires_at=end_of(now, until, lasts, now),
        pinned_to=pin,
    )
    with fleet_store() as store:
        record = store.exclusions.add(exclusion, operation(reason))
        count = covered(record.covers, store.routes.list())
    warn_if_none_covered(record.covers, count)
    if json:
        print_json(record)
        return
    pinned = f"at {pin}, " if pin else ""
    print_line(
        f"exclusion {record.exclusion_id}: {selector_text(record.covers)} ({covered_text(count)}), "
        f"{pinned}until {moment(record.expires_at)} UTC"
    )


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the exclusions and pins, active and expired.

    [bold]Examples:[/]

      relight exclude list
      relight exclude list --json | jq '.[] | select(.state == "active")'
    """
    with fleet_store() as store:
        exclusions = store.exclusions.list()
        routes = store.routes.list()
    now = datetime.now(UTC)
    counts = [covered(exclusion.covers, routes) for exclusion in exclusions]
    if json:
        print_json(
            [
                {
                    **exclusion.model_dump(mode="json"),
                    "state": state_of(now, exclusion.expires_at, now),
                    "routes": count,
                }
                for exclusion, count in zip(exclusions, counts, strict=True)
            ]
        )
        return
    if not exclusions:
        print_line("no exclusions")
        return
    print_table(
        ("exclusion", "covers", "routes", "pinned to", "until (UTC)", "state", "owner", "reason"),
        (
            (
                exclusion.exclusion_id,
                selector_text(exclusion.covers),
                count,
                exclusion.pinned_to,
                moment(exclusion.expires_at),
                state_text(now, exclusion.expires_at, now),
                exclusion.owner,
                exclusion.reason,
            )
            for exclusion, count in zip(exclusions, counts, strict=True)
        ),
    )


@app.command()
def remove(
    exclusion: Annotated[
        int, typer.Argument(help="Its number, as `relight exclude list` shows it.")
    ],
    reason: ReasonOption = DEFAULT_REASON,
) -> None:
    """Remove an exclusion or a pin; a running rollout adds its routes late.

    [bold]Example:[/]

      relight exclude remove 3 --reason "the customer is done"
    """
    with fleet_store() as store:
        removed = store.exclusions.remove(exclusion, operation(reason))
    if not removed:
        msg = f"there is no exclusion {exclusion}: see `relight exclude list`"
        raise BadInputError(msg)
    print_line(f"exclusion {exclusion} is removed")
