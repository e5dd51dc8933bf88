"""A fake of Oracle Cloud Infrastructure, and a driver over it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from relight.providers.oci.driver import OciDriver
from tests.providers.fakes.oci import OciFake


@pytest.fixture
def fake() -> Iterator[OciFake]:
    fake = OciFake()
    with fake.served():
        yield fake


@pytest.fixture
async def driver(fake: OciFake, tmp_path: Path) -> AsyncIterator[OciDriver]:
    driver = fake.driver(tmp_path)
    yield driver
    await driver.close()
