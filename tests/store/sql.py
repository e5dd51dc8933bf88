"""Changes of the database that bypass the store, as an operator may make them by hand."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg

from relight.store import bad_rows

DATABASE_ERRORS = (sqlite3.Error, psycopg.Error)


def execute(url: str, statement: str) -> None:
    """Run one statement."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute(statement)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())


@contextmanager
def naming(match: str) -> Iterator[None]:
    """Check that exactly one invalid row is met until the block ends, and that it is named so."""
    with bad_rows.collecting() as bad:
        yield
    [named] = map(str, bad)
    assert re.search(match, named), named


def insert(url: str, table: str, **values: str) -> None:
    """Insert one row of text values."""
    names, quoted = ", ".join(values), ", ".join(f"'{value}'" for value in values.values())
    execute(url, f"INSERT INTO {table} ({names}) VALUES ({quoted})")
