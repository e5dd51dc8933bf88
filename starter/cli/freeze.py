"""`relight freeze`: times when no route is taken out of service."""

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
            help="When it starts, as in 2026-12-24T18:00; UTC if it has no time zone.  "
            "\\[default: now]",
        ),
    ] = None,
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: RequiredReasonOption,
    json: JsonOption = False,
) -> None:
    """Freeze routes for a time: none of them is taken out of service, and rollouts wait.

    It covers the routes that match all given options; without options, the whole fleet.
    Operations that are already running are not stopped.

    [bold]Examples:[/]

      relight freeze add --for 4h --reason "incident 412"
      relight freeze add --provider linode --region eu-west --for 2d --reason "rack move"
      relight freeze add --from 2026-12-24 --until 2026-12-27 --owner ann --reason "holidays"
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
    with fleet_store() as store:
        record = store.freezes.add(window, operation(reason))
        count = covered(record.covers, store.routes.list())
    warn_if_none_covered(record.covers, count)
    if json:
        print_json(record)
        return
    print_line(
        f"freeze {record.freeze_id}: {selector_text(record.covers)} ({covered_text(count)}), "
        f"{moment(record.starts_at)} to {moment(record.ends_at)} UTC"
    )


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the freezes: active, upcoming and expired.

    [bold]Examples:[/]

      relight freeze list
      relight freeze list --json | jq '.[] | select(.state == "active")'
    """
    with fleet_store() as store:
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
                selector_text(freeze.covers),
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
    reason: ReasonOption = DEFAULT_REASON,
) -> None:
    """Remove a freeze; what it held continues immediately.

    [bold]Example:[/]

      relight freeze remove 3 --reason "incident 412 is over"
    """
    with fleet_store() as store:
        removed = store.freezes.remove(freeze, operation(reason))
    if not removed:
        msg = f"there is no freeze {freeze}: see `relight freeze list`"
        raise BadInputError(msg)
    print_line(f"freeze {freeze} is removed")
