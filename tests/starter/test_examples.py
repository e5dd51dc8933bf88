"""Every example can be typed: its options exist, none is missing, and its values are accepted.

Read are the examples of all help texts, and the consoles of the README and of the documentation.
Nothing is run: `tests.starter.pages` types the lines of the README and of the runbook,
`test_advice` checks what messages name, other tests what commands do.
"""

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.exceptions import TyperException

from starter.cli.app import _Commands
from tests.starter.test_advice import ROOT, documents
from tests.starter.test_cli_help import commands

PLACEHOLDERS = re.compile(r"\.\.\.|\b(ROUTE|KEY|TAG|TRACK|COLUMN=VALUE)\b")


def command_of(words: list[str]):
    """Return the command that words begin with, and the words after it."""
    command, rest = _Commands.lazy_commands[words[0]].load(words[0]), words[1:]
    while rest and rest[0] in (below := getattr(command, "commands", {})):
        command, rest = below[rest[0]], rest[1:]
    return command, rest


def typed(line: str) -> list[str]:
    """Return the words of a line after `relight`, without a comment and what a pipe adds."""
    line = re.split(r"  +[^ -]| # | [|>]+ |\)$", line)[0]
    return shlex.split(re.sub(r"^(?:[A-Z_]+=\S+ )*relight ", "", line))


def help_examples() -> Iterator[tuple[str, str]]:
    for path in commands():
        command, _ = command_of(list(path))
        for line in (command.help or "").splitlines():
            if re.match(r"\s+(?:[A-Z_]+=\S+ )*relight ", line):
                yield " ".join(path), line.strip()


def console_lines() -> Iterator[tuple[str, str]]:
    for file in documents():
        text = file.read_text().replace("\\\n", " ")
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if re.match(r"\$ (?:[A-Z_]+=\S+ )*relight [a-z]", line):
                    yield str(file.relative_to(ROOT)), line.removeprefix("$ ")


EXAMPLES = [each for each in help_examples() if not PLACEHOLDERS.search(each[1])]
LINES = [each for each in console_lines() if not PLACEHOLDERS.search(each[1])]


def test_help_and_documents_have_examples():
    assert len(EXAMPLES) > 80
    assert len(LINES) > 25


@pytest.mark.parametrize(
    ("place", "line"), [pytest.param(*each, id=": ".join(each)) for each in [*EXAMPLES, *LINES]]
)
def test_an_example_is_accepted(place, line):
    command, rest = command_of(typed(line))
    assert not hasattr(command, "commands"), f"{place}: a group, not a command"
    with command.make_context(place, rest):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "relight route provision eu-1 --track stable",
        "relight rollout start v0.0.74 --wave 200%",
        "relight freeze add --for 4h",
        "relight exclude add --for 4h",
        "relight rollout set-concurrency v0.0.74 --max-concurrent 0",
    ],
)
def test_a_wrong_example_is_not(line):
    command, rest = command_of(typed(line))
    with pytest.raises(TyperException):
        command.make_context("wrong", rest)
