"""`relight freeze`: times when no route is taken out of service."""

from relight.domain.hold import HoldKind
from starter.cli.hold_commands import HoldCommands

app = HoldCommands(
    kind=HoldKind.FREEZE,
    word="freeze",
    command="freeze",
    add_help="""Freeze routes for a time: none of them is taken out of service, and rollouts wait.

    It covers the routes that match all given options; without options, the whole fleet.
    Operations that are already running are not stopped.

    [bold]Examples:[/]

      relight freeze add --for 4h --reason "incident 412"
      relight freeze add --provider linode --region eu-west --for 2d --reason "rack move"
      relight freeze add --from 2026-12-24 --until 2026-12-27 --owner ann --reason "holidays"
    """,
    remove_help="Remove a freeze; what it held continues immediately.",
    remove_reason="incident 412 is over",
).app()
