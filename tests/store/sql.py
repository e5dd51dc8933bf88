"""Changes of the database that bypass the store, as an operator may make them by hand."""

import sqlite3
from contextlib import closing

import psycopg

DATABASE_ERRORS = (sqlite3.Error, psycopg.Error)


def execute(url: str, statement: str) -> None:
    """Run one statement."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute(statement)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(statement.encode())


def insert(url: str, table: str, **values: str) -> None:
    """Insert one row of text values."""
    names, quoted = ", ".join(values), ", ".join(f"'{value}'" for value in values.values())
    execute(url, f"INSERT INTO {table} ({names}) VALUES ({quoted})")
