"""`relight provider`: the drivers, and whether a provider would make machines for us."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from relight.setting_groups import SettingsError
from relight.settings import load_settings
from starter.cli.errors import BadInputError, ExitCode, OperationFailedError, RefusedError
from starter.cli.output import JsonOption, print_json, print_line, print_table
from starter.cli.session import origin, with_temporal
from starter.cli.waiting import Patience, TimeoutOption

if TYPE_CHECKING:  # slow to import: only commands that need it do so
    from relight.provider_check import ProviderChecked

app = typer.Typer(no_args_is_help=True)

DEFAULT_REASON = "relight provider check --create"


@app.callback()
def provider() -> None:
    """The clouds that machines are made at, as `providers.toml` and the environment name them."""


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List the drivers, whether each is configured, and its regions.

    [bold]Examples:[/]

      relight provider list
      relight provider list --json
    """
    from relight.provider_check import list_providers  # noqa: PLC0415 - httpx

    found = asyncio.run(list_providers(load_settings()))
    if json:
        print_json(found)
        return
    print_table(
        ("provider", "is configured", "regions"),
        (
            (
                each.name,
                "yes" if each.configured else "no",
                each.problem or ", ".join(region.name for region in each.regions) or None,
            )
            for each in found
        ),
    )


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The provider's name.")],
    *,
    create: Annotated[
        bool,
        typer.Option(
            "--create",
            help="Make, prove and destroy one machine, as a worker does it. It costs money.",
        ),
    ] = False,
    region: Annotated[
        str | None,
        typer.Option(help="Where, with --create. Default: the first one that is configured."),
    ] = None,
    track: Annotated[
        str, typer.Option("--track", "-t", help="Whose release is proven, with --create.")
    ] = "stable",
    timeout: TimeoutOption = None,
    json: JsonOption = False,
) -> None:
    """Ask a provider what our credentials may do, and whether each region has what it needs.

    It shows the rights of the credentials, the image that a machine of each region would get, the
    limits, and what is missing; without --create nothing is changed. Without credentials it names
    the variables that it wants, with exit code 2. Exit code 1 if something is missing.

    With --create a route `check-NAME-...` is provisioned and retired again by the worker, which
    needs Temporal, a release and a track; the seconds of each part are shown.

    [bold]Examples:[/]

      relight provider check linode
      relight provider check linode --create --region us-east --track stable
      relight provider check linode --json | jq '.checked.regions[] | select(.problems != [])'
    """
    from relight.locations import ProviderNotAskedError  # noqa: PLC0415 - httpx
    from relight.provider_check import check_provider  # noqa: PLC0415 - httpx

    if not create and (region or timeout):
        msg = "--region and --timeout are for --create"
        raise BadInputError(msg)
    try:
        checked = asyncio.run(check_provider(load_settings(), name))
    except SettingsError as error:
        raise BadInputError(str(error)) from None
    except ProviderNotAskedError as error:
        raise RefusedError(str(error), remedy="Correct what the message names.") from None
    wrong = checked.all_problems
    if not json:
        _print(checked)
    if wrong and create:
        raise OperationFailedError("so no machine is made: " + "; ".join(wrong))
    if not create:
        if json:
            print_json({"checked": checked, "trial": None})
        if wrong:
            raise typer.Exit(ExitCode.FAILED)
        return
    _create(checked, region, track, Patience(timeout=timeout), as_json=json)


def _create(
    checked: "ProviderChecked", region: str | None, track: str, patience: Patience, *, as_json: bool
) -> None:
    from starter.cli.provider_trial import trial_input, try_provider  # noqa: PLC0415 - the SDK

    known = [each.name for each in checked.regions]
    if region is not None and region not in known:
        raise BadInputError(
            f"{checked.name} has no region {region}; its regions: {', '.join(known)}"
        )
    request = trial_input(checked.name, region or known[0], track, origin(DEFAULT_REASON))
    trial = with_temporal(
        lambda client, settings: try_provider(client, settings.task_queue, request, patience)
    )
    if as_json:
        print_json({"checked": checked, "trial": trial})
        return
    print_line(
        f"machine {trial.machine_key} in {trial.region}: proven after {trial.proven_after_s:.0f} s,"
        f" gone after {trial.gone_after_s:.0f} s; that is what it cost"
    )


def _print(checked: "ProviderChecked") -> None:
    if checked.account:
        print_line(f"account: {checked.account}")
    if checked.rights:
        print_line(f"rights: {', '.join(checked.rights)}")
    print_line(f"machines, of any owner: {checked.machines}")
    for name, limit in checked.limits.items():
        print_line(f"limit, {name}: {limit}")
    if checked.user_data_max_bytes is not None:
        print_line(f"limit, user-data: {checked.user_data_max_bytes} bytes")
    print_table(
        ("region", "architecture", "image", "missing"),
        (
            (each.name, each.architecture, each.image, "; ".join(each.problems) or None)
            for each in checked.regions
        ),
    )
    for problem in checked.problems:
        print_line(f"missing: {problem}")
