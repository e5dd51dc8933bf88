"""The database of the store: SQLite, with one writer, or PostgreSQL, with one writer per route.

A write of the whole fleet excludes every other write. On PostgreSQL a write of one route excludes
only those, and writes of the same route. What a write has read stays true until it commits if it is
of its route, or if only writes of the whole fleet change it. Locks are taken in one order, the
fleet's before a route's, and never two routes': two writers cannot deadlock.

Event ids are in the order of the writes of each route. Those of different routes may become visible
in another order: see `oldest_write`.
"""

import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cached_property
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
    text,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeEngine
from sqlmodel import Session
from sqlmodel.sql.sqltypes import UTCDateTime

from relight.domain.text import all_visible, visible_head
from relight.store.errors import BadStoreUrlError
from relight.store.threads import require_thread

URL_FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"

WRITE_LOCK_TIMEOUT = timedelta(seconds=20)
"""How long a write waits for a lock. An activity's attempt may take 30 seconds."""

IDLE_WRITE_TIMEOUT = timedelta(seconds=60)
"""After this, PostgreSQL ends a write whose process disappeared without closing the connection."""

CONNECTION_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",
}
"""Timeouts for a PostgreSQL server that does not respond. The store's URL may set others."""

MAX_CONNECTIONS = 20
"""Connections of one process. PostgreSQL admits 100 by default: see docs/deploying-workers.md."""

TRUSTED_FOR = timedelta(seconds=1)
"""A connection that was unused for longer is tested: the server may have restarted since."""

WRITE_LOCK_KEY = 0x52656C69676874
"""The key of the fleet's advisory lock on PostgreSQL: `Relight` in ASCII. No event has so high an
id: see `oldest_write`."""

ROUTE_LOCKS = 0x526F7574
"""The first of the two keys of a route's advisory lock: `Rout` in ASCII."""

_IS_WRITE, _ROUTE_ID = "relight_is_write", "relight_route_id"


class Transaction:
    """A transaction that writes.

    Attributes:
        connection: for plain statements. They do not see what the session has not flushed.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    @cached_property
    def session(self) -> Session:
        """The session of this transaction. The writes of a hot swap are cheaper without one."""
        return Session(self.connection, join_transaction_mode="rollback_only")

    def flush(self) -> None:
        """Write what the session has not written yet."""
        if "session" in vars(self):
            self.session.flush()

    def close(self) -> None:
        """Close the session. The transaction goes on."""
        if "session" in vars(self):
            self.session.close()


class Database:
    """Opens sessions that read, and transactions that write.

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
        # SQLite waits by polling, which is unfair among many threads; they queue here instead.
        self._queue = threading.Lock() if on_sqlite else nullcontext()
        self._in_thread = threading.local()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one state of the store.

        Within a write it is the session of that write: it sees what was written, and a thread that
        writes never waits for a second connection, which others that wait for it may have.
        """
        require_thread()
        writing: Transaction | None = getattr(self._in_thread, "transaction", None)
        if writing is not None:
            yield writing.session
            return
        with Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self, route_id: str | None = None) -> Iterator[Session]:
        """Open a session that writes, as `transaction` does."""
        with self.transaction(route_id) as transaction:
            yield transaction.session

    @contextmanager
    def transaction(self, route_id: str | None = None) -> Iterator[Transaction]:
        """Open a transaction that writes. It commits unless its body raises.

        Args:
            route_id: the only route that the write is of. What it reads for its decisions is of
                this route, or is changed by writes of the whole fleet only. None: it is one of
                those.
        """
        require_thread()
        with self._queue, self._writer.connect() as connection:
            connection.execution_options(**{_ROUTE_ID: route_id})
            with connection.begin():
                transaction = self._in_thread.transaction = Transaction(connection)
                try:
                    yield transaction
                    transaction.flush()
                finally:
                    self._in_thread.transaction = None
                    transaction.close()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a connection that writes and has the fleet's lock, for migrations."""
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
        pool_size=MAX_CONNECTIONS,
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
        pool_size=MAX_CONNECTIONS,
        max_overflow=0,
        # The driver would begin transactions by itself, in a round trip of its own.
        connect_args={"autocommit": True},
    )

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        options = connection.get_execution_options()
        is_write, route_id = options.get(_IS_WRITE, False), options.get(_ROUTE_ID)
        # One round trip: only a statement without parameters may be several.
        connection.exec_driver_sql(
            _begin_write(route_id) if is_write else _BEGIN_READ,
            execution_options={"no_parameters": True},
        )

    @event.listens_for(engine, "checkin")
    def _returned(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["unused_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _taken(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        unused_since = record.info.get("unused_since")
        if unused_since is None or time.monotonic() - unused_since < TRUSTED_FOR.total_seconds():
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The pool connects again.
            raise DisconnectionError from error

    return engine


# Several queries of one session must see the same state.
_BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ"


def _begin_write(route_id: str | None) -> str:
    """Return the statements that begin a write: of a route, or of the whole fleet."""
    # A write must see what was committed before it got its locks.
    begin = (
        "BEGIN ISOLATION LEVEL READ COMMITTED;"
        f"SET LOCAL lock_timeout = {_milliseconds(WRITE_LOCK_TIMEOUT)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {_milliseconds(IDLE_WRITE_TIMEOUT)};"
    )
    if route_id is None:
        return f"{begin} SELECT pg_advisory_xact_lock({WRITE_LOCK_KEY})"
    # A key has 31 bits. Routes with the same one only wait for each other.
    number = zlib.crc32(route_id.encode()) >> 1
    return (
        f"{begin} SELECT pg_advisory_xact_lock_shared({WRITE_LOCK_KEY});"
        f"SELECT pg_advisory_xact_lock({ROUTE_LOCKS}, {number}); {_ANNOUNCE}"
    )


# Read by `oldest_write`.
_ANNOUNCE = "SELECT pg_advisory_xact_lock_shared(coalesce(max(event_id), 0)) FROM events"

_OLDEST_WRITE = text("""
    SELECT min(key) FROM (
        SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS keys WHERE key < :write_lock
""").bindparams(write_lock=WRITE_LOCK_KEY)


def oldest_write(session: Session) -> int | None:
    """Return the newest event id at the begin of the oldest write of a route that has not ended.

    Such a write holds an advisory lock whose key is that id: events that it writes have higher
    ones. Every other event with a lower id than one that `session` sees can be seen by sessions
    that are opened from now on.

    Returns:
        None without such a write; always on SQLite, which has one writer.
    """
    if session.connection().dialect.name == "sqlite":
        return None
    found: int | None = session.connection().execute(_OLDEST_WRITE).scalar_one()
    return found


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
