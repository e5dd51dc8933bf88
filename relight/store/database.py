"""The database below the store: SQLite or PostgreSQL, with one writer at a time on both.

A write begins by waiting for its turn: `BEGIN IMMEDIATE` on SQLite, a lock that the transaction
holds on PostgreSQL. So what a write has read stays true until it commits, two writers cannot
deadlock, and the event log's ids are in the order in which their transactions became visible.
The store sees a few writes per host and operation: turns cost it nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import Session

from relight.store.errors import BadStoreUrlError

PATIENCE = timedelta(seconds=20)
"""How long a write waits for its turn. An activity's attempt is 30 seconds long."""

FORGOTTEN = timedelta(seconds=60)
"""After this, PostgreSQL ends a write whose process has vanished without a word."""

LINK = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "30000"}
"""How soon a PostgreSQL that does not answer is noticed, where the store's address is silent."""

TURN = 0x52656C69676874
"""The key of the lock on PostgreSQL: `Relight` in ASCII."""

_WRITES = "relight_writes"


class Database:
    """Sessions that read, and sessions that write in turn."""

    def __init__(self, url: URL) -> None:
        self._engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
        self._writer = self._engine.execution_options(**{_WRITES: True})
        on_sqlite = self._engine.dialect.name == "sqlite"
        # What is read in several queries must fit together. On SQLite it does.
        self._reader = (
            self._engine
            if on_sqlite
            else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        # SQLite's waiting is a poll, which is unfair among many threads; theirs is a queue.
        self._queue = threading.Lock() if on_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one state of the store."""
        with Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that has the turn to write, and commits when its body ends well."""
        with self._queue, Session(self._writer) as session, session.begin():
            session.connection()
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a bare connection that has the turn to write, for migrations."""
        with self._queue, self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, pool_size=20, connect_args={"timeout": PATIENCE.total_seconds()})

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, and too late: we do.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.update_query_dict(
            {name: value for name, value in LINK.items() if name not in url.query}
        ),
        pool_size=20,
        # The server may have restarted since a connection was used last.
        pool_pre_ping=True,
        # What a write reads after its turn has come must be what was committed before.
        isolation_level="READ COMMITTED",
    )

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            wait, idle = _milliseconds(PATIENCE), _milliseconds(FORGOTTEN)
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {wait}")
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {idle}")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN})")

    return engine


def _milliseconds(duration: timedelta) -> int:
    return int(duration / timedelta(milliseconds=1))


FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def parse_url(url: str) -> URL:
    """Return the address of a SQLite file or of a PostgreSQL database.

    Raises:
        BadStoreUrlError: it is of another form, or the file's folder does not exist.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password: it is not repeated.
        raise BadStoreUrlError(f"the store's address is not of the form {FORMS}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _file(parsed)
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise BadStoreUrlError(f"the store is not kept in {other}: use {FORMS}")


def _file(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise BadStoreUrlError(f"the store needs a file, which several processes open: use {FORMS}")
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise BadStoreUrlError(f"the store's folder {folder} does not exist")
    return url


# MERGEDOC """The store's address, read into what SQLAlchemy needs. Raises `BadStoreUrlError`."""
