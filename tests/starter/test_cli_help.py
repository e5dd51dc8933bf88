"""Every command says what it is for, and shows how it is typed."""

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from starter.cli.app import _Commands, app


def commands() -> Iterator[tuple[str, ...]]:
    for name, lazy in _Commands.lazy_commands.items():
        command = lazy.load(name)
        if lazy.has_subcommands:
            yield from ((name, part) for part in command.commands)  # type: ignore[attr-defined]
        else:
            yield (name,)


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(path)) for path in commands()])
def test_the_help_of_every_command_has_an_example_to_type(path):
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    _, _, examples = shown.output.partition("Example")
    assert f"relight {' '.join(path)}" in examples
    assert "--help" in shown.output


def test_every_group_that_is_walked_has_commands():
    assert len(list(commands())) > 20
