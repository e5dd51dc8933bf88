"""`relight breaker`: whether machines may be destroyed, and the overrides of its groups."""

import asyncio

import typer

from relight.domain.breaker.breaker import ConnectivityResult
from relight.domain.hold import HoldKind
from relight.setting_groups import SettingsError
from relight.settings import Settings, load_settings
from starter.cli.hold_commands import HoldCommands
from starter.cli.limit_text import limit_uses, print_limits
from starter.cli.output import (
    JsonOption,
    note,
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

        The breaker ignores this group from now on. A group is a provider, one
        of its regions, or a track; without options it is the fleet as a whole, not each of its
        parts. Connectivity checks and the hourly limits still apply.

        [bold]Examples:[/]

          relight breaker override add --provider linode --region us-east --for 6h -r "it closed"
          relight breaker override add --track beta --until 2026-12-27 --reason "they are gone"
        """,
        remove_help="Remove an override; its group counts again from now on.",
        remove_reason="the region is back",
    ).app(),
    name="override",
    help="Groups of machines that the breaker ignores for a time.",
)


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the breaker's state, its unknown groups, its limits, and the last connectivity checks.

    Of each limit it shows what is used now, and when some of it is free again: machines destroyed
    per hour, and routes out at once by the disruption budget that reconcile runs and rollouts have.

    It is evaluated now, as before each destruction and in each reconcile run: from all that is on
    record, and with connectivity checks made from here. Nothing is saved.

    [bold]Examples:[/]

      relight breaker status
      relight breaker status --json | jq .breaker.incident
    """
    from relight.breaker_settings import breaker_evaluation  # noqa: PLC0415 - brings in httpx

    settings = load_settings()
    with fleet_store(reads_only=True) as store:
        made = _connectivity(settings)
        breaker = breaker_evaluation(settings, store).evaluate(None, made)
        connectivity = store.breaker.connectivity() if made is None else made
        overrides = store.breaker_overrides.list()
        uses = limit_uses(settings, store)
    if json:
        print_json(
            {
                "breaker": breaker,
                "connectivity": connectivity,
                "overrides": overrides,
                "limits": uses,
            }
        )
        return
    incident = breaker.incident
    if incident is None:
        print_line("closed: machines may be destroyed, within the hourly limits")
    else:
        print_line(f"OPEN since {moment(incident.opened_at)} UTC, no machine is destroyed:")
        print_line(f"  {incident.summary}")
        if incident.to_do:
            print_line(f"  {incident.to_do}")
    if breaker.calm_since is not None:
        print_line(f"calm since {moment(breaker.calm_since)} UTC; it closes by itself")
    for each in breaker.unknown:
        print_line(
            f"unknown: {each.group}: {each.unreachable} of {each.observed} observed machines "
            f"cannot be reached; it has {each.machines} machines"
        )
    print_limits(uses, settings.breaker, settings.reconcile.strategy.disruption_budget)
    if connectivity:
        print_table(
            ("connectivity check", "reached", "observed at (UTC)", "answer"),
            (
                (each.name, "yes" if each.reached else "no", moment(each.observed_at), each.answer)
                for each in connectivity
            ),
        )


def _connectivity(settings: Settings) -> tuple[ConnectivityResult, ...] | None:
    """Make the connectivity checks; None where neither they nor a release source are set."""
    from relight.breaker_settings import connectivity_checks  # noqa: PLC0415
    from relight.connectivity import run_all  # noqa: PLC0415

    try:
        checks = connectivity_checks(settings)
    except SettingsError:
        note("no connectivity check is set here: those on record are shown")
        return None
    return asyncio.run(run_all(checks))
