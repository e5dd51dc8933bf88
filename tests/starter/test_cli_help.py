"""Every command has a help text with an example."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devkit.man_page import man_page
from starter.cli.app import _Commands, app

ROOT = Path(__file__).parents[2]
GROUPS = [name for name, lazy in _Commands.lazy_commands.items() if lazy.has_subcommands]


def commands() -> Iterator[tuple[str, ...]]:
    for name, lazy in _Commands.lazy_commands.items():
        yield from leaves((name,), lazy.load(name))


def help_of(*path: str) -> str:
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    return shown.output


def leaves(path: tuple[str, ...], command) -> Iterator[tuple[str, ...]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path
        return
    for name, subcommand in subcommands.items():
        yield from leaves((*path, name), subcommand)


@pytest.mark.parametrize("path", [pytest.param(path, id=" ".join(path)) for path in commands()])
def test_the_help_of_every_command_has_an_example(path):
    shown = help_of(*path)
    _, _, examples = shown.partition("Example")
    assert f"relight {' '.join(path)}" in examples
    assert "--help" in shown
    assert "<bool>" not in shown
    assert "--install-completion" not in shown


def test_the_help_of_relight_itself_has_the_options_for_completion_once():
    shown = help_of()
    assert shown.count("--install-completion") == 1
    assert "<bool>" not in shown


@pytest.mark.parametrize("name", GROUPS)
def test_the_help_of_every_group_describes_it(name):
    described = " ".join(help_of(name).split())
    before_the_options, _, _ = described.partition("Options")
    assert len(before_the_options.partition("[ARGS]...")[2].split()) >= 3


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


def test_the_manual_page_is_the_one_of_these_commands():
    assert (ROOT / "docs/relight.1").read_text() == man_page(), "type `make docs`"


def test_the_manual_page_can_be_read_and_has_every_command():
    page = ROOT / "docs/relight.1"
    shown = subprocess.run(
        ["man", "--warnings", "-l", str(page)],
        env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    for path in commands():
        assert f"   relight {' '.join(path)}" in shown.stdout
