"""`relight up` and `relight down`."""

import asyncio
import os
import pwd
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from relight.domain.duration import span
from relight.settings import Settings, load_settings
from starter.cli.errors import ExitCode, OperationFailedError, RefusedError
from starter.cli.output import (
    JsonOption,
    note,
    print_json,
    print_line,
    print_table,
)
from starter.cli.session import announce
from starter.local import processes
from starter.local.accounts import is_shared, login_accounts, require_understood
from starter.local.home import prepare_home
from starter.local.lab import addresses_of, sweep_lab
from starter.local.processes import AlreadyUpError, DetachedUpError, UpState
from starter.local.supervisor import Parts, supervise

START_WITHIN = timedelta(minutes=12)
STOP_WITHIN = timedelta(minutes=2)

app = typer.Typer(add_completion=False)
down_app = typer.Typer(add_completion=False)


@app.command()
def up(  # noqa: PLR0913, PLR0917 - its options
    lab: Annotated[bool, typer.Option(help="Start the lab, which needs root on Linux.")] = True,
    temporal: Annotated[
        bool,
        typer.Option(
            help="Start an embedded Temporal server. Without it, or if TEMPORAL_ADDRESS or "
            "TEMPORAL_CONFIG_FILE is set, use the server that these variables name."
        ),
    ] = True,
    worker: Annotated[bool, typer.Option(help="Start a worker.")] = True,
    schedules: Annotated[
        bool,
        typer.Option(
            help="Reconcile on a schedule: run `relight schedule apply` as well. Without it, "
            "machines are only checked for liveness."
        ),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt-temporal",
            help="The Temporal namespace is this store's from now on, although the store has "
            "worked with another.",
        ),
    ] = False,
    ui: Annotated[
        bool | None,
        typer.Option(
            "--ui/--no-ui",
            help="Start the UI of the embedded Temporal. By default not where several people can "
            "log in.",
        ),
    ] = None,
    fsync: Annotated[
        bool,
        typer.Option(
            help="Let each write of the embedded Temporal wait for the disk. Without it, a power "
            "failure can lose its last moments; a killed process loses nothing."
        ),
    ] = False,
    understood: Annotated[
        bool,
        typer.Option(
            "--i-understand",
            help="Accept that each person who can log in here can command the embedded Temporal. "
            "It is remembered.",
        ),
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once all is up, and leave it running.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Start Temporal with its UI, the lab and a worker, and show their addresses.

    All state is in the home folder: that of the context which is named, else .relight in the
    current folder; never that of the context in use. The store there gets this version's tables;
    one that RELIGHT_STORE_URL names keeps its own. Store and Temporal are marked as one fleet, and
    those of two fleets are refused. If one part ends by itself, the others are stopped and its last
    output is shown. Behind sudo, all that needs no root belongs to the owner of the folder.

    [bold]Examples:[/]

      relight up                    everything, until Ctrl-C
      relight up --detach           in the background, until `relight down`
      relight up --no-lab           without the machines, as on a laptop
    """
    settings = load_settings(to_make=True)
    own_temporal = temporal and not settings.context.names_a_server
    people = login_accounts(pwd.getpwall())
    if own_temporal:
        require_understood(settings.home, people, understood=understood)
    parts = Parts(
        lab=lab,
        temporal=own_temporal,
        worker=worker,
        schedules=schedules,
        ui=not is_shared(people) if ui is None else ui,
        fsync=fsync,
        adopt_temporal=adopt,
    )
    bring_up(parts, detach=detach, as_json=json)


@down_app.command()
def down() -> None:
    """Stop what `relight up` started in this home folder, and sweep up after a crash.

    No data is lost: the store, the histories and the secrets stay in the home folder.

    [bold]Example:[/]

      relight down
    """
    settings = load_settings(to_make=True)
    announce(settings)
    bring_down(settings)


def bring_up(parts: Parts, *, detach: bool, as_json: bool) -> None:
    """Start the parts and show their addresses; unless detached, supervise them until a signal."""
    settings = load_settings(to_make=True)
    parts.require_packages()
    announce(settings)
    prepare_home(settings.home)
    try:
        if detach:
            _show(_start_detached(settings, parts), as_json=as_json)
            return
        supervised = supervise(
            settings, parts, report=note, on_ready=lambda state: _show(state, as_json=as_json)
        )
        asyncio.run(supervised)
    except AlreadyUpError:
        _show_already_up(settings.home, as_json=as_json)


def bring_down(settings: Settings) -> None:
    """Stop what runs in the home folder, and sweep up after a lab that was killed."""
    try:
        was_up = asyncio.run(processes.stop(settings.home, STOP_WITHIN))
    except TimeoutError:
        msg = f"it has not stopped after {span(STOP_WITHIN)}: see {settings.home / 'logs'}"
        raise OperationFailedError(msg) from None
    swept = sweep_lab(settings.home)
    if os.geteuid() != 0 and addresses_of(settings.home) is not None:
        note("a lab that was killed has left its machines: type `relight down` behind sudo")
    print_line("stopped" if was_up else f"nothing is up in {settings.home}")
    if swept:
        print_line(f"removed what a killed lab left: {len(swept)} items")


def _start_detached(settings: Settings, parts: Parts) -> UpState:
    log = processes.detached_log(settings.home)
    try:
        return processes.start_detached(settings.context, parts.flags, START_WITHIN)
    except DetachedUpError as error:
        msg = f"nothing was left running ({log}):\n{error.output}"
        refused = error.exit_code == ExitCode.REFUSED
        raise RefusedError(msg) if refused else OperationFailedError(msg) from None
    except TimeoutError:
        msg = f"not ready after {span(START_WITHIN)} (see {log})"
        raise OperationFailedError(msg) from None


def _show_already_up(home: Path, *, as_json: bool) -> None:
    state = asyncio.run(processes.wait_for_start(home, START_WITHIN))
    if state is None:
        msg = f"another `relight up` in {home} did not become ready"
        raise OperationFailedError(msg)
    note("already up")
    _show(state, as_json=as_json)


def _show(state: UpState, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    rows = (
        ("Fleet", state.fleet),
        ("Temporal UI", state.ui),
        ("Temporal", state.temporal and f"{state.temporal}, namespace {state.namespace}"),
        ("Lab API", state.lab),
        ("Repository", state.repository),
        ("Worker's task queue", state.task_queue),
        ("Home", state.home),
        ("Logs", state.logs),
    )
    print_table(
        ("part", "address"), (row for row in rows if row[1] is not None), title="Relight is up"
    )
