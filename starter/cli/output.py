"""How commands speak: tables for people, JSON with stable keys for programs.

Standard output carries the answer alone; what happens on the way goes to standard error, so that
`--json` can be piped.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON in place of a table.", show_default=False)
]
"""The option `--json` of every command that answers something."""

Answer = BaseModel | Mapping[str, object] | Sequence[BaseModel | Mapping[str, object]]

# A pipe has no width; a table that is cut to 80 columns is of no use to whoever reads it.
_PIPED_WIDTH = 200

stdout = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
stderr = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH)


def print_json(answer: Answer) -> None:
    """Print models or mappings as JSON, their keys in the order in which they are declared."""
    # Not through rich: it would wrap and colour what programs read.
    typer.echo(json.dumps(to_jsonable_python(answer), indent=2, ensure_ascii=False))


def print_json_line(answer: BaseModel) -> None:
    """Print a model as one line of JSON, at once: one item of a stream."""
    typer.echo(answer.model_dump_json())


def print_table(
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    title: str = "",
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table. None becomes a dash; text is shown as it is, without markup.

    Args:
        columns: their heads.
        rows: their cells.
        title: what stands above it.
        styles: how a cell is shown that reads exactly so.
    """
    table = open_table(*columns, title=title)
    for row in rows:
        table.add_row(*(_cell(cell, styles or {}) for cell in row))
    stdout.print(table)


def open_table(*columns: str, title: str = "") -> Table:
    """Return an empty table without a frame: at 80 columns each line of one costs three.

    What does not fit is folded into a further line, never cut.
    """
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cell(value: object, styles: Mapping[str, str]) -> Text:
    text = "-" if value is None else str(value)
    return Text(text, style=styles.get(text, ""))


def print_line(text: str) -> None:
    """Print one line of an answer, as it is."""
    _say(stdout, Text(text))


def note(text: str) -> None:
    """Say to a person what happens, on standard error."""
    _say(stderr, Text(text))


def complain(text: str) -> None:
    """Say why a command ends without having done what it was asked."""
    _say(stderr, Text.assemble(("error: ", "bold red"), text))


def _say(console: Console, text: Text) -> None:
    # A terminal would break a long line in the middle of a word; a pipe must not have it broken.
    console.print(text, soft_wrap=not console.is_terminal)
