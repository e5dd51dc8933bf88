"""`relight worker`."""

import os
import sys
from typing import NoReturn

import typer

app = typer.Typer(add_completion=False)


@app.command()
def worker() -> NoReturn:
    """Run a worker in the foreground, until Ctrl-C.

    The Temporal server is set by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and
    TEMPORAL_TLS_*, else by the file TEMPORAL_CONFIG_FILE, else by what `relight up` wrote. All
    other settings are RELIGHT_* variables, or lines of the file `env` in the home folder.

    [bold]Examples:[/]

      relight worker
      TEMPORAL_ADDRESS=temporal.example:7233 TEMPORAL_TLS=true relight worker
    """
    # Replaces this process, so that signals reach the worker and its exit code is returned.
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606 - no shell
