"""Output of commands: tables for people, JSON with stable keys for programs.

Standard output has the answer only. Progress and errors go to standard error, so that the output
of `--json` can be piped. With `--json` an error is one JSON object, the last line there.

What is printed is visible: rows that were written by hand or by an older version may hold escape
sequences for the terminal.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from relight.domain.text import visible

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of a table.", show_default=False)
]
"""The option `--json` of every command that returns something."""

OutputsOption = Annotated[
    bool,
    typer.Option(
        "--outputs",
        help="Print NAME=VALUE lines, for a job's outputs in GitHub Actions.",
        show_default=False,
    ),
]

Printable = BaseModel | Mapping[str, object] | Sequence[BaseModel | Mapping[str, object]]

# A pipe has no width. Its reader is a log, a mail or another terminal.
_PIPED_WIDTH = 100


_SHORT = 25
"""A cell of so many characters is not wrapped: a date with its time, a duration, a status. No
column of longer texts is narrower."""

_GAP = 2
"""Columns between the heads and the cells of rows that are lists."""

_UNLIMITED = 10_000


class _VisibleConsole(Console):
    """A console that prints no control character but its own, whatever it is given."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render to segments of visible text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


stdout = _VisibleConsole(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
stderr = _VisibleConsole(stderr=True, width=None if sys.stderr.isatty() else _PIPED_WIDTH)


def print_json(answer: Printable) -> None:
    """Print models or mappings as JSON, with the keys in declared order."""
    # Not through rich, which would wrap and colour it.
    typer.echo(_escaped(json.dumps(to_jsonable_python(answer), indent=2, ensure_ascii=False)))


def print_json_line(answer: BaseModel) -> None:
    """Print a model as one line of JSON: one item of a stream."""
    typer.echo(_escaped(answer.model_dump_json()))


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
    # Not cropped: a word that is longer than a line is copied by people.
    stdout.print(Rows(columns, rows, title=title, styles=styles), crop=False)


class Rows:
    """Rows under column heads. Where they are too wide for that, each row is a list of its cells.

    Text is wrapped at words, never cut; names, dates, digests and other short cells stay whole. A
    word that is longer than a line, as a URL, stays whole too, on one line that is longer.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: Iterable[Iterable[object]],
        *,
        title: str = "",
        styles: Mapping[str, str] | None = None,
    ) -> None:
        """Arguments are those of `print_table`."""
        self._columns = columns
        self._rows = [[_cell(cell, styles or {}) for cell in row] for row in rows]
        self._title = title

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Render as wide as the console."""
        if self._title:
            yield from _wrapped(console, text_of(self._title, "italic"), options.max_width)
        table = self._table(console, options)
        if table is not None:
            yield table
        else:
            yield from self._stack(console, options)

    def _table(self, console: Console, options: ConsoleOptions) -> Table | None:
        """Return the rows as a table; None if it would be too wide."""
        table = open_table(*self._columns)
        for row in self._rows:
            table.add_row(*row)
        least, most = [], []
        for number, column in enumerate(table.columns):
            cells = [row[number].plain for row in self._rows]
            words = [*_words(self._columns[number]), *itertools.chain(*map(_words, cells))]
            most.append(max(map(cell_len, (self._columns[number], *cells))))
            least.append(max(*map(cell_len, words), min(most[-1], _SHORT)))
            column.min_width = least[-1]
        unlimited = options.update(width=_UNLIMITED)
        room = options.max_width - Measurement.get(console, unlimited, table).minimum
        if room < 0:
            return None
        for column, width in zip(table.columns, _widened(least, most, room), strict=True):
            column.width = width
        return table

    def _stack(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        heads = max(map(cell_len, self._columns)) + _GAP
        for number, row in enumerate(self._rows):
            if number:
                yield Text()
            for head, cell in zip(self._columns, row, strict=True):
                lines = _wrapped(console, cell, options.max_width - heads)
                for place, line in enumerate(lines):
                    start = text_of("" if place else head, "dim")
                    start.pad_right(heads - start.cell_len)
                    yield _unwrapped(start + line)


def open_table(*columns: str) -> Table:
    """Return an empty table without borders, which would cost three columns of 80.

    Text that is too wide is wrapped, never cut.
    """
    table = Table(
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
    _print(stdout, text_of(text))


def print_done(text: str, answer: Printable, *, as_json: bool) -> None:
    """Print what a command has done: a line for people, or the answer as JSON."""
    if as_json:
        print_json(answer)
    else:
        print_line(text)


def note(text: str) -> None:
    """Print progress or a warning to standard error."""
    _print(stderr, text_of(text))


def print_error(text: str) -> None:
    """Print to standard error why a command failed or was refused."""
    _print(stderr, Text.assemble(("error: ", "bold red"), visible(text)))


def print_error_answer(answer: BaseModel) -> None:
    """Print to standard error why a command failed or was refused, as one line of JSON."""
    typer.echo(_escaped(answer.model_dump_json()), err=True)


def text_of(text: str, style: str = "") -> Text:
    """Return a text to print: visible, and without interpreting markup."""
    return Text(visible(text), style=style)


@contextmanager
def live_view() -> Iterator[Live | None]:
    """Yield a view on standard error that is redrawn in place; None if that is no terminal."""
    if not stderr.is_terminal:
        yield None
        return
    with Live(console=stderr, transient=True, auto_refresh=False) as live:
        yield live


def _wrapped(console: Console, text: Text, width: int) -> list[Text]:
    """Return the lines of a text, wrapped at words. A word that is wider has a line of its own."""
    lines = text.wrap(console, width, overflow="ignore") or [Text()]
    return [_unwrapped(line) for line in lines]


def _unwrapped(line: Text) -> Text:
    """Return a line that is printed as one, however long."""
    line.no_wrap, line.overflow = True, "ignore"
    return line


def _words(text: str) -> Sequence[str]:
    """Return the parts of a text that are never wrapped: its words; a short text is one."""
    return [text] if len(text) <= _SHORT else text.split()


def _widened(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Return the widths of columns, widened from the least ones while there is room."""
    widths = list(least)
    while room > 0 and (narrow := [i for i, width in enumerate(widths) if width < most[i]]):
        widths[min(narrow, key=lambda i: widths[i])] += 1
        room -= 1
    return widths


def _cell(value: object, styles: Mapping[str, str]) -> Text:
    text = "-" if value is None else str(value)
    return text_of(text, styles.get(text, ""))


def _escaped(text: str) -> str:
    """Return JSON in which every character that is not printable is a JSON escape."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def _print(console: Console, text: Text) -> None:
    # Wrap lines at words on a terminal, and only there; never break a word.
    console.print(text, soft_wrap=not console.is_terminal, overflow="ignore", crop=False)
