"""`relight route ssh`, `exec` and `logs`: log in on a route's machine, with its known host key."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from relight.domain.machine import Machine
from relight.domain.names import RouteId
from relight.domain.text import visible_head
from relight.settings import load_settings
from relight.store.errors import UnknownRouteError
from starter.cli.errors import ExitCode, OperationFailedError, RefusedError
from starter.cli.names import RouteArgument
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store, operation

app = typer.Typer()

LOGGED_IN = "route-login"
"""The event of a person who logs in on a machine. What they do there is not in the event log."""

_SSH_FAILED = 255
"""Exit code of ssh if it could not log in, or lost the connection."""

MAX_LINES = 10_000

MAX_LINE_BYTES = 16 * 1024
"""The limit of a printed line."""


@app.command()
def ssh(route: RouteArgument, reason: ReasonOption = DEFAULT_REASON) -> None:
    """Open a shell on a route's machine. The host key must be the one that is derived for it.

    It needs the files that RELIGHT_SSH__CLIENT_KEY and RELIGHT_SSH__HOST_KEY_SECRET name, and the
    program ssh. The exit code is that of the shell. That you log in is in the event log.

    [bold]Example:[/]

      relight route ssh eu-1 --reason "its load is odd"
    """
    raise typer.Exit(_run(route, [], reason, terminal=sys.stdin.isatty()))


@app.command("exec", context_settings={"allow_interspersed_args": False})
def exec_(
    route: RouteArgument,
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="The command and its arguments.")
    ],
    reason: ReasonOption = DEFAULT_REASON,
) -> None:
    """Run a command on a route's machine, and exit with its exit code.

    Options come before the route: what follows it is the command, as it stands, after one `--` if
    it begins with that. It runs as the control plane's user, who may use sudo for nothing but the
    control plane's own program.

    [bold]Examples:[/]

      relight route exec eu-1 df /
      relight route exec --reason "is it swapping?" eu-1 uptime
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise typer.BadParameter("name a command after --", param_hint="COMMAND...")
    raise typer.Exit(_run(route, words, reason, terminal=False))


@app.command()
def logs(
    route: RouteArgument,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=MAX_LINES, help="How many, the last ones.")
    ] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then print each new line, until Ctrl-C.")
    ] = False,
) -> None:
    """Print the last lines of the service's journal on a route's machine, over all its starts.

    [bold]Examples:[/]

      relight route logs eu-1 --lines 500
      relight route logs eu-1 --follow
    """
    from relight.host_login import (  # noqa: PLC0415 - slow to import
        UNKNOWN_CALL_EXIT_CODE,
        journal_words,
        ssh_command,
    )

    machine = machine_to_log_in(route)
    words = shlex.join(journal_words(lines, follow=follow))
    with (
        ssh_command(load_settings(), machine, terminal=False) as argv,
        subprocess.Popen(  # noqa: S603 - ssh, with the words of `ssh_command`
            [*argv, words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process,
    ):
        try:
            for line in _lines(process):
                typer.echo(line)
            code = process.wait()
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        finally:
            process.terminate()
    if code == UNKNOWN_CALL_EXIT_CODE and follow:
        msg = f"the relight-host of {machine.key} is older than --follow: leave it out"
        raise RefusedError(msg)
    if code != 0:
        raise login_failed(route, machine, code)


def _lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """Yield each line that a host writes, made visible; of a longer one its beginning.

    A host may write anything, and lines without an end.
    """
    assert process.stdout is not None
    while line := process.stdout.readline(MAX_LINE_BYTES):
        end = line
        while end and not end.endswith(b"\n"):
            end = process.stdout.readline(MAX_LINE_BYTES)
        yield visible_head(line.decode(errors="replace").rstrip("\n"), MAX_LINE_BYTES)


def _run(route: RouteId, command: list[str], reason: str, *, terminal: bool) -> int:
    """Run ssh with this process's own inputs and outputs; return its exit code."""
    from relight.host_login import ssh_command  # noqa: PLC0415 - slow to import

    machine = machine_to_log_in(route)
    with fleet_store() as store:
        detail = {"program": command[0] if command else "a shell"}
        asked = operation(reason)
        store.events.append(
            LOGGED_IN, asked, route_id=route, machine_key=machine.key, detail=detail
        )
    try:
        with ssh_command(load_settings(), machine, terminal=terminal) as argv:
            words = [shlex.join(command)] if command else []
            code = subprocess.run([*argv, *words], check=False).returncode  # noqa: S603 - ssh
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    if code == _SSH_FAILED:
        raise login_failed(route, machine, code)
    return code


def machine_to_log_in(route_id: RouteId) -> Machine:
    """Return the machine that serves a route.

    Raises:
        UnknownRouteError: there is no such route.
        RefusedError: it has no machine with an address.
    """
    with fleet_store(reads_only=True) as store:
        route = store.routes.get(route_id)
    if route is None:
        raise UnknownRouteError(f"there is no route {route_id}")
    if route.machine is None or route.machine.address is None:
        msg = f"route {route_id} has no machine to log in on: see `relight route show {route_id}`"
        raise RefusedError(msg)
    return route.machine


def login_failed(route: RouteId, machine: Machine, code: int) -> OperationFailedError:
    """Return the error of an ssh that did not log in, or whose command failed."""
    return OperationFailedError(
        f"ssh to {machine.key} ({machine.address}) ended with {code}; what it said is above. "
        f"`relight route verify {route}` logs in as a worker does, and records the result"
    )
