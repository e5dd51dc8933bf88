"""`relight breaker`: whether machines may be destroyed, and who vouches for which group."""

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
    UntilOption,
    WhyOption,
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
    BY_HAND,
    ReasonOption,
    by_hand,
    origin,
    the_store,
)
from starter.cli.times import end_of, moment

app = typer.Typer(no_args_is_help=True)

_GROUP = re.compile(r"fleet|(provider|track) [^\s/]+|region [^\s/]+/\S+")


def _group(name: str) -> str:
    if not _GROUP.fullmatch(name):
        msg = f"{name!r} is no group, as in `fleet`, `provider P`, `region P/R` or `track T`"
        raise typer.BadParameter(msg)
    return name


@app.command()
def status(json: JsonOption = False) -> None:
    """Show where the breaker stands, which groups are unknown, and the last result of each connectivity check.

    It is turned by each pass of reconciliation; this shows where the last one left it.

    [bold]Examples:[/]

      relight breaker status
      relight breaker status --json | jq .breaker.incident
    """
    with the_store() as store:
        breaker, connectivity = store.breaker.get(), store.breaker.connectivity()
        overrides = store.overrides.list()
    if json:
        print_json({"breaker": breaker, "connectivity": connectivity, "overrides": overrides})
        return
    incident = breaker.incident
    if incident is None:
        print_line("closed: machines may be destroyed, within the hourly limits")
    else:
        print_line(f"OPEN since {moment(incident.opened_at)} UTC, nothing is destroyed:")
        print_line(f"  {incident.summary}")
    if breaker.calm_since is not None:
        print_line(f"calm since {moment(breaker.calm_since)} UTC; it closes by itself")
    for each in breaker.unknown:
        print_line(
            f"unknown: {each.group}: {each.unreachable} of {each.observed} observed machines "
            f"cannot be reached; there are {each.machines}"
        )
    if connectivity:
        print_table(
            ("connectivity check", "reached", "observed at (UTC)", "answer"),
            (
                (each.name, "yes" if each.reached else "no", moment(each.observed_at), each.answer)
                for each in connectivity
            ),
        )


@app.command()
def reset(
    *,
    group: Annotated[
        str,
        typer.Option(callback=_group, help="As the status names it: `region linode/us-east`."),
    ],
    until: UntilOption = None,
    lasts: ForOption = None,
    owner: OwnerOption = None,
    reason: WhyOption,
    json: JsonOption = False,
) -> None:
    """Vouch for a group, until a date: its machines are gone for good, and may be replaced.

    The breaker is blind for that one group until then; the next pass heeds it. Nothing overrides
    the witnesses, nor the hourly limits.

    [bold]Example:[/]

      relight breaker reset --group "region linode/us-east" --for 6h --reason "they closed it"
    """
    now = datetime.now(UTC)
    override = BreakerOverride(
        group=group,
        owner=owner or origin(reason).requested_by,
        reason=reason,
        expires_at=end_of(now, until, lasts, now),
    )
    with the_store() as store:
        record = store.overrides.add(override, by_hand(reason))
        known = {
            name
            for route in store.routes.list()
            for name in breaker_groups(route.provider, route.region, route.track)
        }
    if group not in known:
        note(f"no machine is of {group} now: is it spelt right?")
    if json:
        print_json(record)
        return
    print_line(f"override {record.override_id}: {group}, until {moment(record.expires_at)} UTC")


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the overrides: those that hold, and those that have expired.

    [bold]Examples:[/]

      relight breaker list
      relight breaker list --json
    """
    with the_store() as store:
        overrides = store.overrides.list()
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


@app.command()
def remove(
    override: Annotated[int, typer.Argument(help="Its number, as `relight breaker list` says.")],
    reason: ReasonOption = BY_HAND,
) -> None:
    """Remove an override; the next pass judges its group again.

    [bold]Example:[/]

      relight breaker remove 3 --reason "the region is back"
    """
    with the_store() as store:
        removed = store.overrides.remove(override, by_hand(reason))
    if not removed:
        msg = f"there is no override {override}: see `relight breaker list`"
        raise BadInputError(msg)
    print_line(f"override {override} is removed")
