"""The database of the store: SQLite or PostgreSQL, with one writer at a time on both.

A write first waits for the write lock: `BEGIN IMMEDIATE` on SQLite, an advisory lock of the
transaction on PostgreSQL. So what a write has read stays true until it commits, two writers cannot
deadlock, and event ids are in the order in which their transactions became visible. The store has
a few writes per host and operation, so the lock does not limit throughput.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    BigInteger,
    Connection,
    Dialect,
    Engine,
    Integer,
    Text,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import TypeEngine
from sqlmodel import Session
from sqlmodel.sql.sqltypes import UTCDateTime

from relight.domain.text import all_visible, visible_head
from relight.store.errors import BadStoreUrlError
from relight.store.threads import require_thread

URL_FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"

WRITE_LOCK_TIMEOUT = timedelta(seconds=20)
"""How long a write waits for the write lock. An activity's attempt may take 30 seconds."""

IDLE_WRITE_TIMEOUT = timedelta(seconds=60)
"""After this, PostgreSQL ends a write whose process disappeared without closing the connection."""

CONNECTION_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",
}
"""Timeouts for a PostgreSQL server that does not respond. The store's URL may set others."""

WRITE_LOCK_KEY = 0x52656C69676874
"""The key of the advisory lock on PostgreSQL: `Relight` in ASCII."""

_IS_WRITE = "relight_is_write"


class Database:
    """Opens sessions that read, and sessions that write one at a time.

    Attributes:
        file: the path of the database, None if it is not a file.
        name: that path, else the database's address without user and password.
    """

    def __init__(self, url: URL) -> None:
        self._engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
        self._writer = self._engine.execution_options(**{_IS_WRITE: True})
        on_sqlite = self._engine.dialect.name == "sqlite"
        self.file = url.database if on_sqlite else None
        self.name = self.file or str(
            URL.create(url.get_backend_name(), None, None, url.host, url.port, url.database)
        )
        # Several queries of one session must see the same state. On SQLite they always do.
        self._reader = (
            self._engine
            if on_sqlite
            else self._engine.execution_options(isolation_level="REPEATABLE READ")
        )
        # SQLite waits by polling, which is unfair among many threads; they queue here instead.
        self._queue = threading.Lock() if on_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one state of the store."""
        require_thread()
        with Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that has the write lock. It commits unless its body raises."""
        require_thread()
        with self._queue, Session(self._writer) as session, session.begin():
            session.connection()
            yield session

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a connection that has the write lock, for migrations."""
        require_thread()
        with self._queue, self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def parse_url(url: str) -> URL:
    """Return the URL of a SQLite file or of a PostgreSQL database.

    Raises:
        BadStoreUrlError: the URL has another form, or the file's folder does not exist.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not repeated in the message: it may hold a password.
        raise BadStoreUrlError(f"the store's address is not of the form {URL_FORMS}") from None
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _existing_folder(parsed)
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise BadStoreUrlError(f"the store does not support {other}: use {URL_FORMS}")


def with_password(url: str, password: str) -> str:
    """Return the URL of a PostgreSQL database with the password of its user.

    Raises:
        BadStoreUrlError: the URL is malformed or of a file, or has no user, or a password already.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "postgresql" or not parsed.username or parsed.password:
        msg = (
            "RELIGHT_STORE_PASSWORD_FILE needs a RELIGHT_STORE_URL with a user and no password, as"
            " in postgresql://relight@db.example/relight"
        )
        raise BadStoreUrlError(msg)
    return parsed.set(password=password).render_as_string(hide_password=False)


def _existing_folder(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        raise BadStoreUrlError(
            f"the store needs a file, which several processes open: use {URL_FORMS}"
        )
    folder = Path(url.database).absolute().parent
    if not folder.is_dir():
        raise BadStoreUrlError(f"the store's folder {folder} does not exist")
    return url


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=20,
        connect_args={"timeout": WRITE_LOCK_TIMEOUT.total_seconds()},
        json_deserializer=_read_json,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: object) -> None:
        # The driver would begin transactions by itself, and too late. `_begins` does it.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_IS_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.update_query_dict(
            {name: value for name, value in CONNECTION_DEFAULTS.items() if name not in url.query}
        ),
        pool_size=20,
        # The server may have restarted since a connection was last used.
        pool_pre_ping=True,
        # A write must see what was committed before it got the write lock.
        isolation_level="READ COMMITTED",
    )

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        if connection.get_execution_options().get(_IS_WRITE, False):
            wait, idle = _milliseconds(WRITE_LOCK_TIMEOUT), _milliseconds(IDLE_WRITE_TIMEOUT)
            # One round trip: only a statement without parameters may be several.
            connection.exec_driver_sql(
                f"SET LOCAL lock_timeout = {wait};"
                f"SET LOCAL idle_in_transaction_session_timeout = {idle};"
                f"SELECT pg_advisory_xact_lock({WRITE_LOCK_KEY})",
                execution_options={"no_parameters": True},
            )

    return engine


def _milliseconds(duration: timedelta) -> int:
    return int(duration / timedelta(milliseconds=1))


MAX_TEXT_BYTES = 64 * 1024
"""The limit of one text. A row has to stay small enough to be read, whoever wrote the text."""


class AnyText(TypeDecorator[str]):
    """A visible text of at most `MAX_TEXT_BYTES`. A longer one is cut."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Make characters visible that cannot be stored or shown, and cut the text."""
        return None if value is None else visible_head(value, MAX_TEXT_BYTES)


class AnyJson(TypeDecorator[dict[str, Any]]):
    """A JSON object; JSONB on PostgreSQL, which can be searched."""

    impl = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Make characters visible that cannot be stored or shown."""
        return all_visible(value)


class _SqliteTime(sqlite.DATETIME):
    """SQLite has no type for times: a column may hold any text, put there by hand."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        parse = super().result_processor(dialect, coltype)
        assert parse is not None

        def parse_or_name(value: Any) -> Any:
            try:
                return parse(value)
            except (TypeError, ValueError):
                return unreadable(value)

        return parse_or_name


class AnyTime(UTCDateTime):
    """A time in UTC. One that cannot be read is returned as a text that is no time."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SqliteTime(timezone=True))  # type: ignore[no-untyped-call]
        return super().load_dialect_impl(dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return a time in UTC."""
        if isinstance(value, datetime):
            return super().process_result_value(value, dialect)
        return value


def _read_json(text: str) -> Any:
    """Return a JSON value. SQLite keeps it as text: a column may hold any other."""
    try:
        return json.loads(text)
    except (RecursionError, TypeError, ValueError):
        return unreadable(text[:200])


def unreadable(value: object) -> str:
    """Return the text that stands for a value of another type than its column's."""
    return f"unreadable: {value!r}"


NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""A counter. SQLite numbers rows itself only where the type is INTEGER."""
