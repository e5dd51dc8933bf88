"""Drivers over the fake OpenStack, and what its tests ask of both."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineStatus
from relight.providers.driver import (
    MachineSpec,
)
from relight.providers.openstack.driver import OpenStackDriver
from starter.local.children import wait_until
from tests.providers.fakes.openstack import OpenStackFake

KEY = "r-1-g1"
DEADLINE = timedelta(seconds=20)
SETTLE = timedelta(seconds=0.5)


@pytest.fixture
def fake() -> Iterator[OpenStackFake]:
    fake = OpenStackFake()
    with fake.served():
        yield fake


class Drivers:
    """Drivers over one fake; each is closed in the end."""

    def __init__(self, fake: OpenStackFake, folder: Path) -> None:
        self._fake = fake
        self._folder = folder
        self.all: list[OpenStackDriver] = []

    def __call__(self, settle: timedelta = SETTLE, **location: Any) -> OpenStackDriver:
        driver = OpenStackDriver(
            self._fake.settings(self._folder, **location),
            settle=settle,
            poll=timedelta(seconds=0.02),
        )
        self.all.append(driver)
        return driver


@pytest.fixture
async def drivers(fake: OpenStackFake, tmp_path: Path):
    drivers = Drivers(fake, tmp_path)
    yield drivers
    for driver in drivers.all:
        await driver.close()


def spec(user_data: str = "#cloud-config\n{}\n", **values: Any) -> MachineSpec:
    given = {
        "region": "north",
        "user_data": SecretBytes(user_data.encode()),
        "owner": OWNER,
        "generation": 1,
    }
    return MachineSpec(**(given | values))


def creations(fake: OpenStackFake) -> int:
    return sum(each.method == "POST" and each.path.endswith("/servers") for each in fake.received)


def left(fake: OpenStackFake) -> list[str]:
    """The names of the servers that exist, of both regions."""
    existing = [*fake.existing("north"), *fake.existing("south")]
    return [server.name for server in existing]


async def until_gone(fake: OpenStackFake, driver: OpenStackDriver, key: str = KEY) -> None:
    async def gone() -> bool:
        return await driver.find(key) is None

    await wait_until(gone, DEADLINE)
    assert key not in left(fake)


async def until_running(driver: OpenStackDriver) -> Any:
    async def runs() -> bool:
        found = await driver.find(KEY)
        return found is not None and found.status is MachineStatus.RUNNING

    await wait_until(runs, DEADLINE)
    return await driver.find(KEY)


async def true(value: bool) -> bool:
    return value
