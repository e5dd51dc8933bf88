"""`relight worker`."""

import os
import sys
from typing import NoReturn

import typer

from relight.context import current_context

app = typer.Typer(add_completion=False)


@app.command()
def worker() -> NoReturn:
    """Run a worker in the foreground, until Ctrl-C.

    It serves the context that all commands here work in (`relight context show`). All other
    settings are RELIGHT_* variables, or lines of the file `env` in the home folder. It starts only
    if nothing that it needs fails in `relight doctor`, and says in one line what it serves.

    [bold]Examples:[/]

      relight worker
      TEMPORAL_ADDRESS=temporal.example:7233 TEMPORAL_TLS=true relight worker
    """
    # Replaces this process, so that signals reach the worker and its exit code is returned.
    variables = {**os.environ, **current_context().variables}
    os.execve(sys.executable, [sys.executable, "-m", "worker"], variables)  # noqa: S606 - no shell
