"""A store on each of both databases, reset before each test."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relight.store.store import Store
from tests.store.databases import (
    MigratedPostgres,
    MigratedSqlite,
    MigratedStore,
    use_fast_sqlite,
)
from tests.store.fleets import declare_tracks
from tests.support.postgres import PostgresServer

DATABASES = ("sqlite", "postgresql")

use_fast_sqlite()


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigratedSqlite]:
    """A migrated SQLite store for the session."""
    migrated = MigratedSqlite(tmp_path_factory.mktemp("sqlite"))
    with migrated.store:
        yield migrated


@pytest.fixture(scope="session")
def migrated_postgresql(postgres_server: PostgresServer) -> Iterator[MigratedPostgres]:
    """A migrated PostgreSQL store for the session."""
    with closing(MigratedPostgres(postgres_server)) as migrated:
        yield migrated


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table, used by one test only."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fleet.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=DATABASES)
def migrated(request: pytest.FixtureRequest) -> MigratedStore:
    """A store that has its tables and no rows."""
    migrated: MigratedStore = request.getfixturevalue(f"migrated_{request.param}")
    migrated.reset()
    return migrated


@pytest.fixture
def store_url(migrated: MigratedStore) -> str:
    """The URL of the database of `store`."""
    return migrated.url


@pytest.fixture
def store(migrated: MigratedStore) -> Store:
    """A store with the tracks `stable`, and `pinned` with the override v0.0.70."""
    declare_tracks(migrated.store)
    return migrated.store
