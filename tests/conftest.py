"""Fixtures for all tests. Their parts are real: a Temporal server, PostgreSQL, a lab."""

import os
from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.local.temporal import EmbeddedTemporal, embedded_temporal

# Without compiled modules each worker and command that a test starts compiles its imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["tests.support.boundaries", "tests.support.lab", "tests.support.postgres"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Group the tests for pytest-xdist, whose processes share no fixture.

    A test may name its group. The others that need a lab are one group, so that they share one lab.
    All others are grouped by module, so that a module's fixtures are set up once.
    """
    # Not in `pytest_collection_modifyitems`: there, pytest-xdist has read the groups already.
    if item.get_closest_marker("xdist_group") is None:
        lab = item.get_closest_marker("lab")
        module = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group("lab" if lab else module))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the slowest groups first, so that they do not run alone at the end."""
    items.sort(key=_order)


def _order(item: pytest.Item) -> int:
    """Return 0 for named groups with a lab of their own, 1 for the shared lab, 2 for others."""
    if item.get_closest_marker("lab") is None:
        return 2
    [group] = {marker.args[0] for marker in item.iter_markers("xdist_group")}
    return 1 if group == "lab" else 0


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server with its UI; its database is in a temporary folder."""
    async with embedded_temporal(tmp_path_factory.mktemp("temporal"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal: EmbeddedTemporal) -> Client:
    """A client of that server, with the same data converter as the worker."""
    return await Client.connect(temporal.address, data_converter=pydantic_data_converter)
