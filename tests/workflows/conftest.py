"""Small installations, each of one test alone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.time_skipping import time_skipping_client
from tests.workflows.harness import Harness, small_installation
from tests.workflows.reconciler import Reconciler


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    """On the server that `relight up` starts."""
    async with small_installation(temporal_client, tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
async def skipping_client() -> AsyncIterator[Client]:
    async with time_skipping_client() as client:
        yield client


@pytest.fixture
async def skipping_harness(skipping_client: Client, tmp_path: Path) -> AsyncIterator[Harness]:
    """On the server that skips time: what takes minutes of patience takes none."""
    async with small_installation(skipping_client, tmp_path) as made:
        yield made


@pytest.fixture
def forgetful_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an end that was accepted, and did not come, be asked for again after a moment."""
    monkeypatch.setattr("activities.machine.machines.ASK_AGAIN_AFTER", timedelta(milliseconds=500))


@pytest.fixture
def reconciler(harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reconciler:
    """Whoever has passes be made over the installation; they look again at once."""
    monkeypatch.setattr("activities.fleet.verification.PAUSE", timedelta(milliseconds=10))
    return Reconciler(harness, f"sqlite:///{tmp_path / 'fleet.db'}")


@pytest.fixture
async def route_ids(harness: Harness, reconciler: Reconciler) -> list[str]:
    """Four routes that serve v0.0.73 in two regions."""
    ids = sorted(harness.new_route_id() for _ in range(4))
    regions = ("fake-east", "fake-east", "fake-west", "fake-west")
    await asyncio.gather(
        *(harness.provision(each, region=region) for each, region in zip(ids, regions, strict=True))
    )
    await harness.until_nothing_runs()
    return ids
