"""`relight worker`."""

import os
import sys
from typing import NoReturn

import typer

app = typer.Typer()


@app.command()
def worker() -> NoReturn:
    """Run a worker in the foreground, until Ctrl-C.

    Where Temporal is, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and TEMPORAL_TLS_*
    say, or the file that TEMPORAL_CONFIG_FILE names, or else what `relight up` wrote. All other
    settings are RELIGHT_* variables, or lines of the file `env` in the home folder.

    [bold]Examples:[/]

      relight worker
      TEMPORAL_ADDRESS=temporal.example:7233 TEMPORAL_TLS=true relight worker
    """
    # In place of this process, so that a signal reaches it, and its exit code is ours.
    os.execv(sys.executable, [sys.executable, "-m", "worker"])  # noqa: S606 - no shell
