"""Oracle Cloud Infrastructure: terminations."""

import asyncio
from datetime import timedelta

from relight.domain.machine import MachineStatus
from relight.providers.driver import (
    ProviderUnavailableError,
)
from relight.providers.oci.driver import OciDriver
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.oci import OciFake
from tests.providers.oci.machines import KEY, gone, running

AN_HOUR = timedelta(hours=1)


async def test_a_deletion_takes_the_boot_volume_along(fake: OciFake, driver: OciDriver) -> None:
    machine = await running(driver)
    assert [each.kind for each in fake.bill.running()] == [Billed.MACHINE, Billed.VOLUME]
    assert await driver.destroy(machine.ref)
    assert fake.bill.running() == []


async def test_a_deletion_under_way_is_not_requested_again(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    fake.ends_within = AN_HOUR
    assert await driver.destroy(machine.ref)
    assert await driver.destroy(machine.ref)
    assert sum(each.method == "DELETE" for each in fake.received) == 1
    found = await driver.find(KEY)
    assert found is not None
    assert found.status is MachineStatus.DELETING


async def test_concurrent_deletions_succeed_or_are_repeated(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    answers = await asyncio.gather(
        *(driver.destroy(machine.ref) for _ in range(4)), return_exceptions=True
    )
    refused = [each for each in answers if isinstance(each, BaseException)]
    assert all(isinstance(each, ProviderUnavailableError) for each in refused)
    await gone(driver, machine.ref)
