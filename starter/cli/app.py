"""The command `relight`: its subcommands and its own help."""

from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from relight.context import name_context
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
            "Stop what `up` started, and sweep up after a crash.",
            app="down_app",
            has_subcommands=False,
        ),
        "init": LazyCommand(
            "starter.cli.init",
            "Make a fleet for a Temporal of your own, or a service file of a package.",
            has_subcommands=False,
        ),
        "service": LazyCommand("starter.cli.service", "The service that the fleet runs."),
        "context": LazyCommand(
            "starter.cli.context", "Names for home, store and Temporal, and which one is used here."
        ),
        "doctor": LazyCommand(
            "starter.cli.doctor",
            "Check all that a worker needs, and say what to do.",
            has_subcommands=False,
        ),
        "lab": LazyCommand("starter.cli.lab", "The small cloud of real Debian machines."),
        "worker": LazyCommand(
            "starter.cli.worker", "Run a worker in the foreground.", has_subcommands=False
        ),
        "settings": LazyCommand("starter.cli.fleet_settings", "The settings of the whole fleet."),
        "track": LazyCommand("starter.cli.track", "Groups of routes with their own release."),
        "route": LazyCommand("starter.cli.route", "Provision, show, roll back and replace routes."),
        "pool": LazyCommand(
            "starter.cli.pool", "Machines that are ready before a route needs one."
        ),
        "provider": LazyCommand(
            "starter.cli.provider", "The clouds that machines are made at, and what is missing."
        ),
        "release": LazyCommand("starter.cli.release", "The releases in the repository."),
        "image": LazyCommand(
            "starter.cli.image", "Base images: what they are made of, and which regions have them."
        ),
        "configuration": LazyCommand(
            "starter.cli.configuration", "The service's configuration files, by their revisions."
        ),
        "rollout": LazyCommand("starter.cli.rollout", "Roll a release out to the fleet, in waves."),
        "events": LazyCommand(
            "starter.cli.events", "What happened to the fleet.", has_subcommands=False
        ),
        "freeze": LazyCommand("starter.cli.freeze", "Times when no route is taken out of service."),
        "exclude": LazyCommand("starter.cli.exclude", "Routes that rollouts skip."),
        "reconcile": LazyCommand(
            "starter.cli.reconcile",
            "Bring the fleet to its declared state, or show the plan.",
            has_subcommands=False,
        ),
        "breaker": LazyCommand(
            "starter.cli.breaker", "Whether machines may be destroyed, and its overrides."
        ),
        "machine": LazyCommand(
            "starter.cli.machine", "Remove machines that serve no route, by your word."
        ),
        "keys": LazyCommand(
            "starter.cli.keys", "Exchange the keys of workers and hosts, without a lock-out."
        ),
        "schedule": LazyCommand("starter.cli.schedule", "The Temporal schedules."),
        "codec": LazyCommand("starter.cli.codec", "Encryption of what Temporal stores."),
        "fleet": LazyCommand("starter.cli.fleet", "The state of the fleet."),
        "store": LazyCommand("starter.cli.store", "Upgrade, check and prune the store."),
    }


app = typer.Typer(
    name="relight",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(version("relight"))
        raise typer.Exit


EXIT_CODES = "0 done, 1 failed, 2 bad input, 3 refused in the present state, 130 interrupted."


@app.callback(epilog=f"Exit codes: {EXIT_CODES}")
def relight(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The context to work in: a saved one, or `local`. It stands before the command.",
        ),
    ] = None,
) -> None:
    """Rolls releases of a packaged service across a fleet of hosts, and proves what runs on each.

    [bold]A fleet on this computer, from nothing:[/]

      relight up --detach
      relight settings set default_release_tag v0.0.73
      relight route provision --track stable --region eu-1 --count 3
      relight rollout start v0.0.74 --wait
      relight fleet status
      relight down

    [bold]Where a command works:[/] `relight context --help`
    """
    if context is not None:
        name_context(context)
