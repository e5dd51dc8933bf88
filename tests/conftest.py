"""Fixtures for all tests. Their parts are real: a Temporal server, PostgreSQL, a lab."""

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


# First, because pytest-xdist reads the groups in its own hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all tests that need a lab in one process of pytest-xdist, so that they share one lab."""
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server with its UI; its database is in a temporary folder."""
    async with embedded_temporal(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal: EmbeddedTemporal) -> Client:
    """A client of that server, with the same data converter as the worker."""
    return await Client.connect(temporal.address, data_converter=pydantic_data_converter)
