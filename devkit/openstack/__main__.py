"""`python -m devkit.openstack`: start a real OpenStack on this computer, show it, or stop it."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from devkit.openstack import cloud
from lab import lifecycle, locks, serve
from lab.errors import LabError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
# The first start installs OpenStack, and sets it up.
_READY_WITHIN = timedelta(minutes=40)
_POLL_SECONDS = 0.2

Name = Annotated[str, typer.Option(help="Clouds with different names can run at the same time.")]
State = Annotated[Path, typer.Option(help="The folder for the cloud's state.", file_okay=False)]
_NAME, _STATE = "openstack", Path("/var/lib/relight-openstack")


@app.command()
def up(name: Name = _NAME, state: State = _STATE) -> None:
    """Start a cloud in the background, and print what a client needs to use it."""
    state = state.absolute()
    state.mkdir(parents=True, exist_ok=True)
    log = state / "serve.log"
    argv = (sys.executable, "-m", "devkit.openstack", "serve")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [*argv, "--name", name, "--state", str(state)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + _READY_WITHIN.total_seconds()
    while (file := _running(state, process.pid)) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            raise LabError(f"the cloud {name!r} did not start: see {log}")
        time.sleep(_POLL_SECONDS)
    print(file, end="")  # noqa: T201


@app.command()
def status(name: Name = _NAME, state: State = _STATE) -> None:
    """Print what a client needs to use a running cloud; exit with 1 if none runs."""
    pid = locks.serving_pid(name)
    file = None if pid is None else _running(state.absolute(), pid)
    if file is None:
        raise LabError(f"the cloud {name!r} does not run" if pid is None else "it is starting")
    print(file, end="")  # noqa: T201


@app.command()
def down(name: Name = _NAME, state: State = _STATE) -> None:
    """Stop a cloud if it runs, and remove all its leftovers; the installed packages stay."""
    for leftover in lifecycle.sweep(name, state.absolute()):
        print(f"openstack: removed {leftover}", file=sys.stderr)  # noqa: T201
    cloud.forget(state.absolute())


@app.command("serve")
def serve_(name: Name = _NAME, state: State = _STATE) -> None:
    """Run a cloud in the foreground until SIGINT or SIGTERM."""
    asyncio.run(serve.serve(name, state.absolute(), cloud.parts))


def _running(state: Path, pid: int) -> str | None:
    """Return the file of the cloud that this process serves, None if it is not ready."""
    try:
        text = (state / lifecycle.LAB_FILE).read_text()
    except FileNotFoundError:
        return None
    return text if json.loads(text)["pid"] == pid else None


def main() -> None:
    """Run the command line; an error of the cloud is printed as one line."""
    form = "%(asctime)s openstack: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        app()
    except LabError as error:
        print(f"openstack: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    os.umask(0o022)
    main()
