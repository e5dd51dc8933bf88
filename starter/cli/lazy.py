"""A group of commands that imports a command's module only when that command is called.

The SDKs behind the commands take most of a second to import; `relight --help` and a mistyped
command need none of them.
"""

import importlib
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

if TYPE_CHECKING:
    from typer._click.core import Command, Context  # Typer does not export these types


class LazyCommand(NamedTuple):
    """The location of a command.

    Attributes:
        module: the module that defines it.
        summary: its line in the list of `--help`.
        app: the name of the `typer.Typer` in that module.
        has_subcommands: whether it is a group, even with a single command.
    """

    module: str
    summary: str
    app: str = "app"
    has_subcommands: bool = True

    def load(self, name: str) -> "Command":
        """Import the command."""
        app: typer.Typer = getattr(importlib.import_module(self.module), self.app)
        command: Command = get_group(app) if self.has_subcommands else get_command(app)
        command.name = name
        return command


class LazyGroup(TyperGroup):
    """The commands of `lazy_commands`, which a subclass sets, in that order."""

    lazy_commands: ClassVar[dict[str, LazyCommand]] = {}

    def list_commands(self, ctx: "Context") -> list[str]:
        """Return every command's name; commands that are not called have their summary only."""
        for name, lazy in self.lazy_commands.items():
            self.commands.setdefault(name, TyperCommand(name, help=lazy.summary))
        return super().list_commands(ctx)

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> tuple[str | None, "Command | None", list[str]]:
        """Import the command that is called, then resolve it as usual."""
        self.list_commands(ctx)
        if args and (lazy := self.lazy_commands.get(args[0])):
            self.commands[args[0]] = lazy.load(args[0])
        return super().resolve_command(ctx, args)
