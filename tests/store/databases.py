"""One migrated store per database type and session, reset before each test.

Creating and migrating a database costs more than most tests. Both stores keep their engine, so
compiled statements and connections are reused as well.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.sql import SQL, Composable, Identifier, Literal
from sqlalchemy import Engine, event

from relight.store.store import Store
from relight.store.tables import FleetRow, Row
from tests.support.postgres import PostgresServer


class MigratedStore(Protocol):
    """A store that has its tables.

    Attributes:
        url: its database.
        store: the store, open for the whole session.
    """

    url: str
    store: Store

    def reset(self) -> None:
        """Bring the database back to its state after migration: tables without rows."""


class MigratedSqlite:
    """A SQLite file, overwritten with a saved copy to reset it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "fleet.db"
        self.template = folder / "template.db"
        self.url = f"sqlite:///{self._path}"
        with Store.open(f"sqlite:///{self.template}") as store:
            store.upgrade()
        self.store = Store.open(self.url)
        self.reset()

    def reset(self) -> None:
        with (
            closing(sqlite3.connect(self.template)) as template,
            closing(sqlite3.connect(self._path)) as target,
        ):
            template.backup(target)


class MigratedPostgres:
    """A PostgreSQL database. A reset deletes all rows and restarts all counters."""

    def __init__(self, server: PostgresServer) -> None:
        self.url = server.url(server.create_database())
        self.store = Store.open(self.url)
        self.store.upgrade()
        self._connection = psycopg.connect(self.url, autocommit=True)
        [(version,)] = self._connection.execute("SELECT version_num FROM alembic_version")
        sequences = self._connection.execute("SELECT sequencename FROM pg_sequences").fetchall()
        self._reset = SQL("; ").join(_reset(str(version), [name for (name,) in sequences]))

    def reset(self) -> None:
        self._connection.execute(self._reset)

    def close(self) -> None:
        self._connection.close()
        self.store.close()


def _reset(version: str, sequences: Sequence[str]) -> list[Composable]:
    return [
        SQL("BEGIN"),
        # A failed test may have left a transaction open.
        SQL(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ="
            " current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        ),
        # Without triggers: the event log refuses deletion, and foreign keys would set an order.
        SQL("SET LOCAL session_replication_role = replica"),
        # The row with the fleet's id comes with the tables.
        *(
            SQL("DELETE FROM {}").format(Identifier(name))
            for name in Row.metadata.tables.keys() - {FleetRow.__tablename__}
        ),
        SQL("UPDATE fleet SET namespace_id = NULL"),
        *(SQL("SELECT setval({}, 1, false)").format(Literal(name)) for name in sequences),
        SQL("UPDATE alembic_version SET version_num = {}").format(Literal(version)),
        SQL("COMMIT"),
    ]


def use_fast_sqlite() -> None:
    """Let SQLite not wait for the disk: no test is about a power failure."""

    @event.listens_for(Engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")
