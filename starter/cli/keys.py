"""`relight keys`: rotate the client key and the host-key secret, and show how far that is."""

from typing import Annotated

import typer

from relight.domain.key_rotation import KeyKind
from starter.cli.output import JsonOption, print_json
from starter.cli.session import DEFAULT_REASON, ReasonOption, fleet_store
from starter.cli.waiting import TimeoutOption, patience_of

app = typer.Typer(no_args_is_help=True)


@app.callback()
def keys() -> None:
    """The keys by which workers and hosts know each other."""


@app.command()
def rotate(
    kind: Annotated[KeyKind, typer.Argument(help="Which key.")],
    *,
    leave: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="Go on without this machine or this route's machine. Repeatable."
        ),
    ] = None,
    start_over: Annotated[
        bool,
        typer.Option(
            "--start-over",
            help="The new key of the unfinished rotation is lost on all computers: make another.",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is finished.")] = True,
    timeout: TimeoutOption = None,
    reason: ReasonOption = DEFAULT_REASON,
    json: JsonOption = False,
) -> None:
    """Exchange a key on all machines, without locking the control plane out; or go on with that.

    Type it where a worker runs. It makes the new key beside the present one, as FILE.next. Workers
    elsewhere need a copy; the rotation waits for it. Each machine gets the new key and is proven to
    accept it; only then is the old one taken away. A machine that does not answer is waited for.
    At the end FILE.next becomes FILE. Whatever is interrupted goes on when it is typed again.

    [bold]Examples:[/]

      relight keys rotate client --reason "a laptop with the key was stolen"
      relight keys rotate host-secret --no-wait
      relight keys rotate client --leave eu-1-g3 --leave eu-2
    """
    from starter.cli.key_rotation import rotate as rotate_keys  # noqa: PLC0415 - brings in the SDK

    patience = patience_of(timeout, waits=wait)
    rotate_keys(
        kind, leave or [], start_over=start_over, patience=patience, reason=reason, as_json=json
    )


@app.command()
def status(json: JsonOption = False) -> None:
    """Show which keys are in use, how far rotations are, and what to do next.

    [bold]Examples:[/]

      relight keys status
      relight keys status --json | jq '.[].next'
    """
    from starter.cli.key_status import print_status, read_status  # noqa: PLC0415 - asyncssh

    with fleet_store(reads_only=True) as store:
        found = read_status(store)
    if json:
        print_json(found)
    else:
        print_status(found)
