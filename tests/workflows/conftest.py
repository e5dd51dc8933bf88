"""Small installations, each of one test alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.time_skipping import time_skipping_client
from tests.workflows.harness import Harness, small_installation


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
