"""Output of commands: tables for people, JSON with stable keys for programs.

Standard output has the answer only. Progress and errors go to standard error, so that the output
of `--json` can be piped.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", show_default=False)
]
"""The option `--json` of every command that returns something."""

Answer = BaseModel | Mapping[str, object] | Sequence[BaseModel | Mapping[str, object]]

# A pipe has no width, and nobody can use a table that is cut at 80 columns.
_PIPED_WIDTH = 200

stdout = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
stderr = Console(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH)


def print_json(answer: Answer) -> None:
    """Print models or mappings as JSON, with the keys in declared order."""
    # Not through rich, which would wrap and colour it.
    typer.echo(json.dumps(to_jsonable_python(answer), indent=2, ensure_ascii=False))


def print_json_line(answer: BaseModel) -> None:
    """Print a model as one line of JSON: one item of a stream."""
    typer.echo(answer.model_dump_json())


def print_table(
    columns: Sequence[str],
    rows: Iterable[Iterable[object]],
    title: str = "",
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print a table. None is shown as a dash, text without interpreting markup.

    Args:
        columns: the column heads.
        rows: the cells, row by row.
        title: the line above the table.
        styles: the style of each cell with exactly this text.
    """
    table = open_table(*columns, title=title)
    for row in rows:
        table.add_row(*(_cell(cell, styles or {}) for cell in row))
    stdout.print(table)


def open_table(*columns: str, title: str = "") -> Table:
    """Return an empty table without borders, which would cost three columns of 80.

    Text that is too wide is wrapped, never cut.
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


def print_line(text: str) -> None:
    """Print one line of an answer, without interpreting markup."""
    _print(stdout, Text(text))


def note(text: str) -> None:
    """Print progress or a warning to standard error."""
    _print(stderr, Text(text))


def print_error(text: str) -> None:
    """Print to standard error why a command failed or was refused."""
    _print(stderr, Text.assemble(("error: ", "bold red"), text))


@contextmanager
def live_view() -> Iterator[Live | None]:
    """Yield a view on standard error that is redrawn in place; None if that is no terminal."""
    if not stderr.is_terminal:
        yield None
        return
    with Live(console=stderr, transient=True, auto_refresh=False) as live:
        yield live


def _cell(value: object, styles: Mapping[str, str]) -> Text:
    text = "-" if value is None else str(value)
    return Text(text, style=styles.get(text, ""))


def _print(console: Console, text: Text) -> None:
    # Wrap lines at words on a terminal; never break them in a pipe.
    console.print(text, soft_wrap=not console.is_terminal)
