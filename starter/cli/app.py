"""The command `relight`: its parts, and what it says of itself."""

from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from starter.cli.lazy import LazyCommand, LazyGroup
from starter.cli.output import print_line


class _Commands(LazyGroup):
    lazy_commands: ClassVar[dict[str, LazyCommand]] = {
        "up": LazyCommand(
            "starter.cli.up",
            "Start Temporal, the lab and a worker on this computer.",
            has_subcommands=False,
        ),
        "down": LazyCommand(
            "starter.cli.up",
            "Stop what `up` started, and sweep up what a crash left.",
            app="down_app",
            has_subcommands=False,
        ),
        "lab": LazyCommand("starter.cli.lab", "The small cloud of real Debian machines."),
        "worker": LazyCommand(
            "starter.cli.worker", "Run a worker in the foreground.", has_subcommands=False
        ),
        "settings": LazyCommand("starter.cli.fleet_settings", "What the whole fleet is set to."),
        "track": LazyCommand("starter.cli.track", "Groups of routes with a release of their own."),
        "route": LazyCommand("starter.cli.route", "Bring routes up, and see what they run."),
        "pool": LazyCommand(
            "starter.cli.pool", "Machines that are ready before a route needs one."
        ),
        "release": LazyCommand("starter.cli.release", "The releases that the repository holds."),
        "rollout": LazyCommand("starter.cli.rollout", "Bring a release to the fleet, in waves."),
        "freeze": LazyCommand("starter.cli.freeze", "Times in which no route is taken out."),
        "exclude": LazyCommand("starter.cli.exclude", "Routes that rollouts leave alone."),
        "reconcile": LazyCommand(
            "starter.cli.reconcile",
            "Bring the fleet back to what is declared, or show what that takes.",
            has_subcommands=False,
        ),
        "breaker": LazyCommand(
            "starter.cli.breaker", "Whether machines may be destroyed, and who vouches for them."
        ),
        "schedule": LazyCommand("starter.cli.schedule", "What Temporal does by the clock."),
        "fleet": LazyCommand("starter.cli.fleet", "The fleet at a glance."),
    }


app = typer.Typer(
    name="relight",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_line(version("relight"))
        raise typer.Exit


@app.callback(epilog="Exit codes: 0 done, 1 failed, 2 bad input, 3 refused by the present state.")
def relight(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Rolls releases of a packaged daemon across a fleet of hosts, and proves what runs on each.

    [bold]A fleet on this computer, from nothing:[/]

      relight up --detach
      relight settings set default_release_tag v0.0.73
      relight route provision --track stable --region eu-1 --count 3
      relight rollout start v0.0.74 --wait
      relight fleet status
      relight down
    """
