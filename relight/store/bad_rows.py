"""Rows that were made invalid by hand: each is its own fault, and the rows beside it are read.

A list leaves an invalid row out and notes it here. Whoever reads the store for a person collects
what was noted, and names each row with the commands that repair or remove it.
"""

import logging
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

from relight.store.errors import BadValueError
from relight.store.tables import EventRow, Row, table_of

R = TypeVar("R", bound=Row)
M = TypeVar("M")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BadRow:
    """An invalid row.

    Attributes:
        table: its table.
        key: the values of its primary key.
        problem: what is wrong, with the record's name.
    """

    table: str
    key: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        where = shlex.join([self.table, *self.key])
        if self.table == EventRow.__tablename__:
            return f"{self.problem}: this event is left out until retention deletes it"
        return (
            f"{self.problem}: this row of {self.table} is left alone. Repair it with `relight store"
            f" repair-row {where} COLUMN=VALUE`, or delete it with `relight store remove-row"
            f" {where}`"
        )


_noted: ContextVar[dict[BadRow, None] | None] = ContextVar("noted", default=None)


class BadRows:
    """The invalid rows that were met while collecting."""

    def __init__(self, noted: dict[BadRow, None]) -> None:
        self._noted = noted

    def __iter__(self) -> Iterator[BadRow]:
        return iter(self._noted)

    def of(self, row: type[Row]) -> frozenset[str]:
        """Return the first key value of each invalid row of a table."""
        return frozenset(bad.key[0] for bad in self._noted if bad.table == row.__tablename__)


@contextmanager
def collecting() -> Iterator[BadRows]:
    """Collect the invalid rows that are met until the block ends, also by its threads."""
    noted: dict[BadRow, None] = {}
    token = _noted.set(noted)
    try:
        yield BadRows(noted)
    finally:
        _noted.reset(token)


def note(row: Row, error: BadValueError) -> None:
    """Note an invalid row; log it where nobody collects."""
    note_bad(BadRow(str(row.__tablename__), key_of(row), str(error)))


def note_bad(bad: BadRow) -> None:
    """Note an invalid row; log it where nobody collects."""
    noted = _noted.get()
    if noted is None:
        _log.warning("%s", bad)
    else:
        noted[bad] = None


def read_good(rows: Iterable[R], read: Callable[[R], M]) -> list[M]:
    """Return what a function makes of each row; those that it refuses are noted and left out."""
    return [found for row in rows if (found := read_or_note(row, read)) is not None]


def read_or_note(row: R, read: Callable[[R], M]) -> M | None:
    """Return what a function makes of a row; None if it refuses it, which is noted."""
    try:
        return read(row)
    except BadValueError as error:
        note(row, error)
        return None


def key_of(row: Row) -> tuple[str, ...]:
    """Return the values of a row's primary key."""
    return tuple(str(getattr(row, column.name)) for column in table_of(type(row)).primary_key)
