"""`python -m devkit.man_page`: the manual page of `relight`, from the help of its commands."""

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from starter.cli.app import EXIT_CODES, app

_MARKUP = re.compile(r"\[/?[a-z ]*\]")


def man_page() -> str:
    """Return the page, in the macros of man(7)."""
    root: Any = get_command(app)
    context = typer.Context(root, info_name="relight", help_option_names=["-h", "--help"])
    lines = [
        '.TH RELIGHT 1 "" "relight" "Relight"',
        ".SH NAME",
        "relight \\- rolls releases of a packaged service across a fleet of hosts",
        ".SH SYNOPSIS",
        ".B relight",
        "[OPTIONS] COMMAND [ARGS]...",
        ".SH DESCRIPTION",
        *_paragraphs(root.help or ""),
        ".SH COMMANDS",
        *(line for name in root.list_commands(context) for line in _command(root, context, name)),
        ".SH EXIT STATUS",
        _escaped(EXIT_CODES),
    ]
    return "\n".join(lines) + "\n"


def _command(group: Any, context: typer.Context, *path: str) -> Iterator[str]:
    name, command, _ = group.resolve_command(context, [path[-1]])
    inner = typer.Context(command, info_name=name, parent=context)
    if subcommands := getattr(command, "list_commands", None):
        for each in subcommands(inner):
            yield from _command(command, inner, *path, each)
        return
    yield f'.SS "relight {" ".join(path)} {_escaped(_usage(command, inner))}"'
    yield from _paragraphs(command.help or "")
    for param in command.get_params(inner):
        record = param.get_help_record(inner)
        if param.param_type_name == "option" and record is not None:
            yield ".TP"
            yield f".B {_escaped(record[0])}"
            yield _escaped(_plain(record[1])) or "\\&"


def _usage(command: Any, context: typer.Context) -> str:
    return " ".join(_plain(piece) for piece in command.collect_usage_pieces(context))


def _paragraphs(text: str) -> Iterator[str]:
    """Yield a help text: its paragraphs, and its indented examples as they are."""
    for paragraph in _plain(text).split("\n\n"):
        is_example = paragraph.startswith("  ")
        yield ".EX" if is_example else ".PP"
        yield from (_escaped(line.rstrip()) for line in paragraph.strip("\n").splitlines())
        if is_example:
            yield ".EE"


def _plain(text: str) -> str:
    return _MARKUP.sub("", text.replace("\\[", "\0")).replace("\0", "[")


def _escaped(text: str) -> str:
    """Return text in which man(7) sees no escape and no macro."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    sys.stdout.write(man_page())
