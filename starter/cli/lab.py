"""`relight lab`: the small cloud of real Debian machines on this computer."""

from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import TypeAdapter

from relight.engine.errors import NoHomeError
from relight.home import is_home, no_home
from relight.settings import load_settings
from starter.cli.errors import RefusedError
from starter.cli.output import (
    JsonOption,
    note,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import announce
from starter.cli.up import bring_down, bring_up
from starter.local import processes
from starter.local.lab import (
    LabAddresses,
    addresses_of,
    lab_leftovers,
    lab_preflight,
)
from starter.local.requirements import require_local
from starter.local.supervisor import Parts

app = typer.Typer(no_args_is_help=True)

_MACHINES: TypeAdapter[list[dict[str, object]]] = TypeAdapter(list[dict[str, object]])
_COLUMNS = ("label", "id", "region", "address", "status")


@app.command()
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once it is up, and leave it running.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Start the lab alone: its API and its signed apt repository. It needs root on Linux.

    [bold]Examples:[/]

      relight lab up
      relight lab up --detach --json
    """
    bring_up(Parts(lab=True, temporal=False, worker=False), detach=detach, as_json=json)


@app.command()
def status(json: JsonOption = False) -> None:
    """Show the lab and its machines; if it is down, show what it left behind.

    [bold]Example:[/]

      relight lab status
    """
    settings = load_settings()
    home = settings.home
    if not is_home(home):
        raise NoHomeError(no_home(settings.context))
    addresses = addresses_of(home)
    machines = _machines(addresses) if addresses else None
    if addresses is None or machines is None:
        _show_down(home, as_json=json)
        return
    if json:
        print_json({"up": True, "lab": addresses, "machines": machines})
        return
    print_line(f"API {addresses.url}, repository {addresses.repository_url}")
    print_table(_COLUMNS, ([machine.get(name) for name in _COLUMNS] for machine in machines))


@app.command()
def down() -> None:
    """Stop the lab, and everything that `relight up` started with it. Its machines are destroyed.

    No mount, namespace, process or address stays behind, also after a crash.

    [bold]Example:[/]

      relight lab down
    """
    settings = load_settings(to_make=True)
    announce(settings)
    state = processes.state_of(settings.home)
    if state is not None and state.temporal is not None and state.lab is not None:
        note("Temporal and the worker are stopped as well")
    bring_down(settings)


def _show_down(home: Path, *, as_json: bool) -> None:
    require_local(lab=True, temporal=False)
    leftovers, missing = lab_leftovers(home), lab_preflight()
    if as_json:
        print_json({"up": False, "left_behind": leftovers, "missing": missing})
        return
    print_line(f"the lab of {home} is down")
    for what in missing:
        print_line(f"this computer lacks: {what}")
    for what in leftovers:
        print_line(f"left behind: {what} (`relight lab down` removes it)")


def _machines(addresses: LabAddresses) -> list[dict[str, object]] | None:
    """Return the lab's machines; None if it was killed and only its address file is left."""
    token = addresses.token_file.read_text().strip()
    try:
        response = httpx.get(
            f"{addresses.url}/v1/machines",
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
    except httpx.ConnectError:
        return None
    if not response.is_success:
        msg = f"the lab answers {response.status_code}: {response.text}"
        raise RefusedError(msg)
    return _MACHINES.validate_json(response.content)
