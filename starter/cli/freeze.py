"""`relight freeze`: times in which no route is taken out of service."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from relight.domain.hold import FreezeWindow
from starter.cli.errors import BadInputError
from starter.cli.hold_options import (
    ForOption,
    OwnerOption,
    ProviderOption,
    RegionOption,
    RouteOption,
    TrackOption,
    UntilOption,
    WhyOption,
    covered,
    covered_text,
    covers_text,
    selector_of,
    state_of,
    state_text,
    warn_of_nothing,
)
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import (
    BY_HAND,
    ReasonOption,
    by_hand,
    origin,
    the_store,
)
from starter.cli.times import (
    end_of,
    instant_of,
    moment,
)

app = typer.Typer(no_args_is_help=True)


@app.command()
def add(  # noqa: PLR0913 - one argument a flag
    *,
    route: RouteOption = None,
    track: TrackOption = None,
    provider: ProviderOption = None,
    region: RegionOption = None,
    starts_at: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            metavar="TIME",
            parser=instant_of,
            help="When it begins, as in 2026-12-24T18:00: UTC, if it says no time zone.  "
            "\\[default: now]",
        ),
    ] = None,
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: WhyOption,
    json: JsonOption = False,
) -> None:
    """Freeze routes for a time: none of them is taken out, and rollouts wait for the end of it.

    Routes that have all that is named are meant; without any name, the whole fleet. What is under
    way already is not stopped.

    [bold]Examples:[/]

      relight freeze add --for 4h --reason "incident 412"
      relight freeze add --provider linode --region eu-west --for 2d --reason "they move racks"
      relight freeze add --from 2026-12-24 --until 2026-12-27 --owner ann --reason "nobody is in"
    """
    now = datetime.now(UTC)
    starts = starts_at or now
    window = FreezeWindow(
        starts_at=starts,
        ends_at=end_of(starts, until, lasts, now),
        owner=owner or origin(reason).requested_by,
        reason=reason,
        covers=selector_of(route, track, provider, region),
    )
    with the_store() as store:
        record = store.freezes.add(window, by_hand(reason))
        count = covered(record.covers, store.routes.list())
    warn_of_nothing(record.covers, count)
    if json:
        print_json(record)
        return
    print_line(
        f"freeze {record.freeze_id}: {covers_text(record.covers)} ({covered_text(count)}), "
        f"{moment(record.starts_at)} to {moment(record.ends_at)} UTC"
    )


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the freezes: those that hold, those to come, and those that are over.

    [bold]Examples:[/]

      relight freeze list
      relight freeze list --json | jq '.[] | select(.state == "active")'
    """
    with the_store() as store:
        freezes = store.freezes.list()
        routes = store.routes.list()
    now = datetime.now(UTC)
    counts = [covered(freeze.covers, routes) for freeze in freezes]
    if json:
        print_json(
            [
                {
                    **freeze.model_dump(mode="json"),
                    "state": state_of(freeze.starts_at, freeze.ends_at, now),
                    "routes": count,
                }
                for freeze, count in zip(freezes, counts, strict=True)
            ]
        )
        return
    if not freezes:
        print_line("no freezes")
        return
    print_table(
        ("freeze", "covers", "routes", "from (UTC)", "until (UTC)", "state", "owner", "reason"),
        (
            (
                freeze.freeze_id,
                covers_text(freeze.covers),
                count,
                moment(freeze.starts_at),
                moment(freeze.ends_at),
                state_text(freeze.starts_at, freeze.ends_at, now),
                freeze.owner,
                freeze.reason,
            )
            for freeze, count in zip(freezes, counts, strict=True)
        ),
    )


@app.command()
def remove(
    freeze: Annotated[int, typer.Argument(help="Its number, as `relight freeze list` shows it.")],
    reason: ReasonOption = BY_HAND,
) -> None:
    """Remove a freeze; what it held may go on at once.

    [bold]Example:[/]

      relight freeze remove 3 --reason "incident 412 is over"
    """
    with the_store() as store:
        removed = store.freezes.remove(freeze, by_hand(reason))
    if not removed:
        msg = f"there is no freeze {freeze}: see `relight freeze list`"
        raise BadInputError(msg)
    print_line(f"freeze {freeze} is removed")
