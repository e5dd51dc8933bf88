"""`relight up` and `relight down`."""

import asyncio
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from relight.settings import Settings, load_settings
from starter.cli.errors import (
    ExitCode,
    OperationFailedError,
    RefusedError,
)
from starter.cli.output import (
    JsonOption,
    note,
    print_json,
    print_line,
    print_table,
)
from starter.local import processes
from starter.local.children import POLL_INTERVAL
from starter.local.home import prepare_home
from starter.local.lab import sweep_lab
from starter.local.processes import AlreadyUpError, UpState
from starter.local.supervisor import Parts, supervise

START_WITHIN = timedelta(minutes=12)
STOP_WITHIN = timedelta(minutes=2)
_ELSEWHERE = ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE")

app = typer.Typer()
down_app = typer.Typer()


@app.command()
def up(
    lab: Annotated[bool, typer.Option(help="Start the lab, which needs root on Linux.")] = True,
    temporal: Annotated[
        bool,
        typer.Option(
            help="Start a Temporal server of our own; without it, or where TEMPORAL_ADDRESS or "
            "TEMPORAL_CONFIG_FILE is set, use the one that they name."
        ),
    ] = True,
    worker: Annotated[bool, typer.Option(help="Start a worker.")] = True,
    schedules: Annotated[
        bool, typer.Option(help="Reconcile by the clock: `relight schedule apply`, once it is up.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once all is up, and leave it running.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Start Temporal with its UI, the lab and a worker, and show where they are.

    Everything they keep is in the home folder: RELIGHT_HOME, else .relight in this folder. When
    one of them ends by itself, the others are stopped and its last words are shown.

    [bold]Examples:[/]

      relight up                    all of it, until Ctrl-C
      relight up --detach           in the background, until `relight down`
      relight up --no-lab           without the machines, as on a laptop
    """
    own_temporal = temporal and not any(name in os.environ for name in _ELSEWHERE)
    parts = Parts(lab=lab, temporal=own_temporal, worker=worker, schedules=schedules)
    bring_up(parts, detach=detach, as_json=json)


def bring_up(parts: Parts, *, detach: bool, as_json: bool) -> None:
    """Start the parts, show where they are, and stay with them unless detached."""
    settings = load_settings()
    prepare_home(settings.home)
    try:
        if detach:
            _show(_start_detached(settings.home, parts), as_json=as_json)
        else:
            asyncio.run(
                supervise(
                    settings, parts, say=note, on_ready=lambda state: _show(state, as_json=as_json)
                )
            )
    except AlreadyUpError:
        _show_already_up(settings.home, as_json=as_json)


@down_app.command()
def down() -> None:
    """Stop what `relight up` started in this home folder, and sweep up what a crash left.

    Nothing that is kept is lost: the store, the histories and the secrets stay in the home folder.

    [bold]Example:[/]

      relight down
    """
    bring_down(load_settings())


def bring_down(settings: Settings) -> None:
    """Stop what is up in the home folder, and sweep up after a lab that was killed."""
    try:
        was_up = asyncio.run(processes.stop(settings.home, STOP_WITHIN))
    except TimeoutError:
        msg = f"it has not stopped after {STOP_WITHIN}: see {settings.home / 'logs'}"
        raise OperationFailedError(msg) from None
    swept = sweep_lab(settings.home)
    print_line("stopped" if was_up else f"nothing is up in {settings.home}")
    if swept:
        print_line(f"swept up after a lab that was killed: {len(swept)} things")


def _start_detached(home: Path, parts: Parts) -> UpState:
    if processes.holder(home) is not None:
        raise AlreadyUpError
    log = home / "logs" / "up.log"
    log.parent.mkdir(exist_ok=True)
    flags = [f"--{'' if on else 'no-'}{name}" for name, on in vars(parts).items()]
    with log.open("ab") as output:
        start_bytes = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "starter.cli", "up", *flags],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "RELIGHT_HOME": str(home)},
            start_new_session=True,
        )
    try:
        return _wait_for(process, home, log, start_bytes)
    except BaseException:  # Ctrl-C above all: what is half started must not stay
        process.terminate()
        process.wait()
        raise


def _wait_for(
    process: subprocess.Popen[bytes], home: Path, log: Path, log_start_bytes: int
) -> UpState:
    deadline = time.monotonic() + START_WITHIN.total_seconds()
    while time.monotonic() < deadline:
        state = processes.state_of(home)
        if state is not None and state.pid == process.pid:
            return state
        if (code := process.poll()) is not None:
            if code == ExitCode.OK:  # another one was quicker
                raise AlreadyUpError
            said = log.read_bytes()[log_start_bytes:].decode(errors="replace").strip()
            msg = f"nothing was left running ({log}):\n{said}"
            raise RefusedError(msg) if code == ExitCode.REFUSED else OperationFailedError(msg)
        time.sleep(POLL_INTERVAL.total_seconds())
    msg = f"not all is up after {START_WITHIN} (see {log})"
    raise OperationFailedError(msg)


def _show_already_up(home: Path, *, as_json: bool) -> None:
    state = asyncio.run(processes.settled(home, START_WITHIN))
    if state is None:
        msg = f"what was being started in {home} did not come up"
        raise OperationFailedError(msg)
    note("already up")
    _show(state, as_json=as_json)


def _show(state: UpState, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    rows = (
        ("Temporal UI", state.ui),
        ("Temporal", state.temporal and f"{state.temporal}, namespace {state.namespace}"),
        ("Lab API", state.lab),
        ("Repository", state.repository),
        ("Worker's task queue", state.task_queue),
        ("Home", state.home),
        ("Logs", state.logs),
    )
    print_table(
        ("part", "where"), (row for row in rows if row[1] is not None), title="Relight is up"
    )
