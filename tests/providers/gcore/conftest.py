"""Fixtures of the tests of Gcore's driver: the fake, and drivers of two workers over it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relight.providers.gcore.driver import GcoreDriver
from tests.providers.fakes.gcore import FakeGcore


@pytest.fixture
def fake() -> Iterator[FakeGcore]:
    fake = FakeGcore()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: FakeGcore, tmp_path: Path) -> AsyncIterator[GcoreDriver]:
    driver = fake.driver(tmp_path)
    yield driver
    await driver.close()


@pytest.fixture
async def another(fake: FakeGcore, tmp_path: Path) -> AsyncIterator[GcoreDriver]:
    """The driver of another worker: it knows nothing of what the first one did."""
    driver = fake.driver(tmp_path)
    yield driver
    await driver.close()
