"""Real hosts for tests of faults: each test has its own, with the release `OLD` installed."""

from collections.abc import AsyncIterator, Iterator

import pytest

from relight.store.store import Store
from tests.store.databases import MigratedSqlite
from tests.support.faulty_host import FaultyHost, FaultyHosts, faulty_hosts
from tests.support.lab import Lab


@pytest.fixture(scope="session")
async def hosts(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaultyHosts]:
    """The hosts that start from one snapshot."""
    async with faulty_hosts(lab, tmp_path_factory.mktemp("faulty")) as started:
        yield started


@pytest.fixture
async def host(hosts: FaultyHosts) -> AsyncIterator[FaultyHost]:
    """A host of this test's own."""
    async with hosts.start() as started:
        yield started


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MigratedSqlite]:
    """A store of the session that has its tables."""
    migrated = MigratedSqlite(tmp_path_factory.mktemp("store"))
    with migrated.store:
        yield migrated


@pytest.fixture
def store(migrated_store: MigratedSqlite) -> Store:
    """A store without rows."""
    migrated_store.reset()
    return migrated_store.store
