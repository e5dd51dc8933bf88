"""Fixtures for all tests. Their parts are real: a Temporal server, PostgreSQL, a lab."""

import faulthandler
import os
from collections.abc import AsyncIterator, Iterator
from unittest import mock

import pytest
from _pytest import runner
from _pytest.faulthandler import fault_handler_stderr_fd_key
from hypothesis import settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from starter.local.temporal import EmbeddedTemporal, embedded_temporal

# How long an example takes says more about the machine's load than about the code.
settings.register_profile("relight", deadline=None)
settings.load_profile("relight")

# pytest would set and delete a variable around each phase of a test. The threads of Temporal's SDK
# read the environment of the C library, and end the process if it changes at that moment.
mock.patch.object(runner, "_update_current_test_var").start()

# Without compiled modules each worker and command that a test starts compiles its imports again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = [
    "tests.support.attacks",
    "tests.support.boundaries",
    "tests.support.exercised",
    "tests.support.lab",
    "tests.support.postgres",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that boot machines first: they are the slowest."""
    items.sort(key=lambda item: item.get_closest_marker("lab") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """End the process, with all its stacks, if a teardown hangs: after a test that has timed out
    no other limit holds."""
    limit_seconds = float(item.config.getini("timeout"))
    stderr = item.config.stash[fault_handler_stderr_fd_key]  # it is not captured
    faulthandler.dump_traceback_later(limit_seconds, exit=True, file=stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal server with its UI; its database is in a temporary folder."""
    async with embedded_temporal(tmp_path_factory.mktemp("temporal"), durable=False) as server:
        yield server


@pytest.fixture(scope="module")
async def own_temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedTemporal]:
    """A server of this module, for tests that mark its namespace so that others cannot use it."""
    async with embedded_temporal(tmp_path_factory.mktemp("own"), durable=False) as server:
        yield server


@pytest.fixture(scope="session")
async def temporal_client(temporal: EmbeddedTemporal) -> Client:
    """A client of that server, with the same data converter as the worker."""
    return await Client.connect(temporal.address, data_converter=pydantic_data_converter)
