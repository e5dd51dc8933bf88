"""`relight breaker`: whether machines may be destroyed, and the overrides of its groups."""

import typer

from relight.domain.hold import HoldKind
from starter.cli.hold_commands import HoldCommands
from starter.cli.output import (
    JsonOption,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import fleet_store
from starter.cli.times import moment

app = typer.Typer(no_args_is_help=True)
app.add_typer(
    HoldCommands(
        kind=HoldKind.BREAKER_OVERRIDE,
        word="override",
        command="breaker override",
        add_help="""Make the breaker ignore a group for a time: its machines are lost, replace them.

        The breaker ignores this group from the next reconcile run on. A group is a provider, one
        of its regions, or a track; without options it is the fleet as a whole, not each of its
        parts. Connectivity checks and the hourly limits still apply.

        [bold]Examples:[/]

          relight breaker override add --provider linode --region us-east --for 6h -r "it closed"
          relight breaker override add --track beta --until 2026-12-27 --reason "they are gone"
        """,
        remove_help="Remove an override; the next reconcile run counts its group again.",
        remove_reason="the region is back",
    ).app(),
    name="override",
    help="Groups of machines that the breaker ignores for a time.",
)


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
