"""`relight breaker`: whether machines may be destroyed, and the overrides of its groups."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from relight.domain.breaker.breaker import BreakerOverride
from relight.domain.breaker.decisions import breaker_groups
from starter.cli.errors import BadInputError
from starter.cli.hold_options import (
    ForOption,
    OwnerOption,
    RequiredReasonOption,
    UntilOption,
    state_text,
)
from starter.cli.output import (
    JsonOption,
    note,
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
override_app = typer.Typer(no_args_is_help=True)
app.add_typer(
    override_app, name="override", help="Groups of machines that the breaker ignores for a time."
)

_GROUP = re.compile(r"fleet|(provider|track) [^\s/]+|region [^\s/]+/\S+")


def _group(text: str) -> str:
    if not _GROUP.fullmatch(text):
        msg = f"{text!r} is not a group, as in `fleet`, `provider P`, `region P/R` or `track T`"
        raise typer.BadParameter(msg)
    return text


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the breaker's state, its unknown groups, and the last connectivity checks.

    Each reconcile run evaluates the breaker; this is the result of the last one.

    [bold]Examples:[/]

      relight breaker status
      relight breaker status --json | jq .breaker.incident
    """
    with fleet_store() as store:
        breaker, connectivity = store.breaker.get(), store.breaker.connectivity()
        overrides = store.breaker_overrides.list()
    if json:
        print_json({"breaker": breaker, "connectivity": connectivity, "overrides": overrides})
        return
    incident = breaker.incident
    if incident is None:
        print_line("closed: machines may be destroyed, within the hourly limits")
    else:
        print_line(f"OPEN since {moment(incident.opened_at)} UTC, no machine is destroyed:")
        print_line(f"  {incident.summary}")
    if breaker.calm_since is not None:
        print_line(f"calm since {moment(breaker.calm_since)} UTC; it closes by itself")
    for each in breaker.unknown:
        print_line(
            f"unknown: {each.group}: {each.unreachable} of {each.observed} observed machines "
            f"cannot be reached; it has {each.machines} machines"
        )
    if connectivity:
        print_table(
            ("connectivity check", "reached", "observed at (UTC)", "answer"),
            (
                (each.name, "yes" if each.reached else "no", moment(each.observed_at), each.answer)
                for each in connectivity
            ),
        )


@override_app.command()
def add(
    *,
    group: Annotated[
        str,
        typer.Option(callback=_group, help="As the status names it: `region linode/us-east`."),
    ],
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: RequiredReasonOption,
    json: JsonOption = False,
) -> None:
    """Override the breaker for one group, until a date: its machines are lost, replace them.

    The breaker ignores this group from the next reconcile run until then. Connectivity checks and
    the hourly limits still apply.

    [bold]Example:[/]

      relight breaker override add --group "region linode/us-east" --for 6h --reason "it closed"
    """
    now = datetime.now(UTC)
    override = BreakerOverride(
        group=group,
        owner=owner or origin(reason).requested_by,
        reason=reason,
        expires_at=end_of(now, until, lasts, now),
    )
    with fleet_store() as store:
        record = store.breaker_overrides.add(override, operation(reason))
        known = {
            name
            for route in store.routes.list()
            for name in breaker_groups(route.provider, route.region, route.track)
        }
    if group not in known:
        note(f"no machine is in {group} now: check the spelling")
    if json:
        print_json(record)
        return
    print_line(f"override {record.override_id}: {group}, until {moment(record.expires_at)} UTC")


@override_app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the overrides, active and expired.

    [bold]Examples:[/]

      relight breaker override list
      relight breaker override list --json
    """
    with fleet_store() as store:
        overrides = store.breaker_overrides.list()
    if json:
        print_json(overrides)
        return
    if not overrides:
        print_line("no overrides")
        return
    now = datetime.now(UTC)
    print_table(
        ("override", "group", "until (UTC)", "state", "owner", "reason"),
        (
            (
                each.override_id,
                each.group,
                moment(each.expires_at),
                state_text(each.added_at, each.expires_at, now),
                each.owner,
                each.reason,
            )
            for each in overrides
        ),
    )


@override_app.command()
def remove(
    override: Annotated[
        int, typer.Argument(help="Its number, as `relight breaker override list` shows it.")
    ],
    reason: ReasonOption = DEFAULT_REASON,
) -> None:
    """Remove an override; the next reconcile run counts its group again.

    [bold]Example:[/]

      relight breaker override remove 3 --reason "the region is back"
    """
    with fleet_store() as store:
        removed = store.breaker_overrides.remove(override, operation(reason))
    if not removed:
        msg = f"there is no override {override}: see `relight breaker override list`"
        raise BadInputError(msg)
    print_line(f"override {override} is removed")
