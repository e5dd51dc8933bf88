"""What every test may ask for. The parts are real: a Temporal server, PostgreSQL, a lab."""

import importlib.util
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.local.temporal import EmbeddedTemporal, embedded_temporal

pytest_plugins = [
    plugin
    for plugin in ("tests.support.boundaries", "tests.support.lab", "tests.support.postgres")
    if importlib.util.find_spec(plugin)
]


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server with its UI, its database in a folder of its own."""
    async with embedded_temporal(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal: EmbeddedTemporal) -> Client:
    """A client of that server, as the worker and the CLI have it."""
    return await Client.connect(temporal.address, data_converter=pydantic_data_converter)
