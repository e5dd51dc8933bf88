"""The command line, alone with a store or with a small installation."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client

from relight.store.store import Store
from starter.local.temporal import EmbeddedTemporal
from tests.starter.in_process import InProcess
from tests.starter.installation import Installation, operated_installation
from tests.starter.stores import serve_all, store_of
from tests.store.fleets import MANUAL, failing, run_on
from tests.support import apt_repository
from tests.support.results import RESULT_WITHIN


@pytest.fixture
def relight(tmp_path: Path) -> InProcess:
    """A command line without Temporal."""
    return InProcess(tmp_path / "home")


@pytest.fixture
def store(relight: InProcess) -> Iterator[Store]:
    """The store of that command line, with a track `stable` and v0.0.73 as default release."""
    with store_of(relight) as store:
        store.fleet_settings.set("default_release_tag", "v0.0.73", MANUAL)
        yield store


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """The settings of a signed repository that has v0.0.73 and v0.0.74 for amd64."""
    folder = tmp_path_factory.mktemp("published")
    user = "published@example.org"
    with apt_repository.key_ring() as keys:
        keys.make("published")
        repository = apt_repository.Repository(folder / "apt")
        for version in ("0.0.73", "0.0.74"):
            repository.add(version)
        repository.publish(partial(keys.sign, users=[user]))
        (folder / "key.asc").write_bytes(keys.public(user, armoured=True))
        with apt_repository.serve(repository.root) as served:
            yield {
                "RELIGHT_REPOSITORY__URL": served.url,
                "RELIGHT_REPOSITORY__SIGNING_KEY": str(folder / "key.asc"),
            }


@pytest.fixture
def one_faulted(store: Store) -> Store:
    """A fleet of two routes, one of which failed to be brought to v0.0.74."""
    serve_all(store, "east-1", "east-2")
    store.routes.record_fault(failing("east-2", key="east-2-g1"), run_on("east-2").activity())
    return store


@pytest.fixture
async def installation(
    temporal: EmbeddedTemporal,
    temporal_client: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Installation]:
    """An installation of this test only."""
    monkeypatch.setattr("activities.machine.polls.POLL", timedelta(milliseconds=50))
    made = operated_installation(temporal_client, temporal.address, tmp_path)
    async with AsyncExitStack() as stack:
        async with asyncio.timeout(RESULT_WITHIN.total_seconds()):
            installation = await stack.enter_async_context(made)
        yield installation


@pytest.fixture
async def three_routes(installation: Installation) -> list[str]:
    """Three routes that serve v0.0.73."""
    return await installation.provision(3)
