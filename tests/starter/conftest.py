"""Installations whose operator is the command line."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from starter.local.temporal import EmbeddedTemporal
from tests.starter.operator import Installation, operated_installation


@pytest.fixture
async def installation(
    temporal: EmbeddedTemporal, temporal_client: Client, tmp_path: Path
) -> AsyncIterator[Installation]:
    """One of this test alone."""
    async with operated_installation(temporal_client, temporal.address, tmp_path) as made:
        yield made


@pytest.fixture
async def three_routes(installation: Installation) -> list[str]:
    """Three routes that serve v0.0.73."""
    return await installation.provision(3)
