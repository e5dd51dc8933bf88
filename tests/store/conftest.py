"""Stores on both databases, each test's own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.store.store import Store
from tests.store.fleets import by_hand
from tests.support.postgres import PostgresServer

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the store's tables and nothing in them, to be copied."""
    path = tmp_path_factory.mktemp("template") / "fleet.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.migrate()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """A database with the store's tables and nothing in them, to be copied."""
    name = postgres_server.create_database()
    with Store.open(postgres_server.url(name)) as store:
        store.migrate()
    return name


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'fleet.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store with its tables and nothing in them."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "fleet.db")
        return f"sqlite:///{path}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(server.create_database(request.getfixturevalue("migrated_postgres")))


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """A store that knows the tracks `stable` and `pinned`, which is at v0.0.70."""
    with Store.open(store_url) as store:
        by_hand(store)
        yield store
