"""Every command has a help text with an example."""

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from starter.cli.app import _Commands, app


def commands() -> Iterator[tuple[str, ...]]:
    for name, lazy in _Commands.lazy_commands.items():
        yield from leaves((name,), lazy.load(name))


def leaves(path: tuple[str, ...], command) -> Iterator[tuple[str, ...]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path
        return
    for name, subcommand in subcommands.items():
        yield from leaves((*path, name), subcommand)


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(path)) for path in commands()])
def test_the_help_of_every_command_has_an_example(path):
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    _, _, examples = shown.output.partition("Example")
    assert f"relight {' '.join(path)}" in examples
    assert "--help" in shown.output


def test_commands_of_subgroups_are_included():
    assert len(list(commands())) > 30
    assert ("breaker", "override", "add") in commands()


@pytest.mark.parametrize(
    "words",
    [
        ("breaker", "reset"),
        ("breaker", "list"),
        ("breaker", "remove"),
        ("rollout", "speed"),
    ],
    ids=" ".join,
)
def test_old_command_names_are_gone(words):
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 2
