"""A group of commands that imports a command's module only when that command is called.

The SDKs behind the commands take most of a second to import; `relight --help` and a mistyped
command need none of them.
"""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command, get_group

if TYPE_CHECKING:
    from typer._click.core import Command, Context, Parameter  # Typer does not export these types


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
        command.help = command.help or self.summary
        return command


def _without_types_of_flags(command: "Command", ctx: "Context") -> None:
    """Show no type beside the flags of a command and of its subcommands: a flag takes no value."""
    _hide_types(command.get_params(ctx))
    for subcommand in getattr(command, "commands", {}).values():
        _without_types_of_flags(subcommand, ctx)


def _hide_types(params: "Iterable[Parameter]") -> None:
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag and param.metavar is None:
            param.metavar = ""


class LazyGroup(TyperGroup):
    """The commands of `lazy_commands`, which a subclass sets, in that order."""

    lazy_commands: ClassVar[dict[str, LazyCommand]] = {}

    def list_commands(self, ctx: "Context") -> list[str]:
        """Return every command's name; commands that are not called have their summary only."""
        for name, lazy in self.lazy_commands.items():
            self.commands.setdefault(name, TyperCommand(name, help=lazy.summary))
        return super().list_commands(ctx)

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        """Return the options of the group itself."""
        params = super().get_params(ctx)
        _hide_types(params)
        return params

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> tuple[str | None, "Command | None", list[str]]:
        """Import the command that is called, then resolve it as usual."""
        self.list_commands(ctx)
        if args and (lazy := self.lazy_commands.get(args[0])):
            self.commands[args[0]] = lazy.load(args[0])
            _without_types_of_flags(self.commands[args[0]], ctx)
        return super().resolve_command(ctx, args)
