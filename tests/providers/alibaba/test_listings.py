"""Pages, addresses and ids; deletions, and when a machine is taken for gone."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relight.domain.machine import MachineRef, MachineStatus
from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from tests.providers.alibaba.conftest import ARM, KEY, SPEC
from tests.providers.fakes.alibaba_parts import LOCATIONS, Refused
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed


async def test_a_listing_has_all_pages_and_each_machine_once(fake, driver):
    keys = [f"r-{number:03}-g1" for number in range(101)]
    await driver.ensure(keys[0], SPEC)
    await driver.ensure("r-arm-g1", ARM)
    [first, _] = fake.instances.values()
    for key in keys[1:]:
        fake.instances[f"i-{key}"] = replace(first, id=f"i-{key}", tags={"relight-key": key})
    for trap in (None, Trap.TRUNCATED_PAGE, Trap.DUPLICATE_LISTING):
        fake.traps = {trap} if trap else set()
        listing = await driver.list("cn-hangzhou")
        assert [machine.key for machine in listing.machines] == keys
        assert listing.complete
    assert len((await driver.list()).machines) == 102


async def test_a_status_that_is_not_known_says_nothing(fake, driver):
    await driver.ensure(KEY, SPEC)
    [instance] = fake.instances.values()
    instance.status = "SomethingElse"
    listing = await driver.list()
    assert [each.status for each in listing.machines] == [MachineStatus.PROVISIONING]
    assert listing.complete


async def test_a_new_machine_that_another_worker_deleted_is_not_listed(fake, driver, tmp_path):
    fake.traps.add(Trap.STALE_LISTING)
    machine = await driver.ensure(KEY, SPEC)
    assert [each.key for each in (await driver.list()).machines] == [KEY]
    fake.traps.clear()
    other = fake.driver(tmp_path)
    assert await other.destroy(machine.ref)
    assert [each.key for each in (await other.list()).machines] == [KEY]  # It is being deleted.
    assert not fake.instances
    assert (await driver.list()).machines == ()
    assert await driver.find(KEY) is None
    await other.close()


async def test_pages_without_an_end_are_no_listing(fake, driver):
    await driver.ensure(KEY, SPEC)
    fake.traps.add(Trap.ENDLESS_PAGES)
    for look in (driver.list(), driver.find(KEY)):
        with pytest.raises(ProviderAnswerError, match="no end"):
            await look


async def test_a_new_machine_may_be_stopped_before_its_boot_and_an_old_one_is_off(fake, driver):
    await driver.ensure(KEY, SPEC)
    [instance] = fake.instances.values()
    instance.status = "Stopped"
    new = await driver.find(KEY)
    assert new is not None
    assert new.status is MachineStatus.PROVISIONING
    instance.created_at -= timedelta(hours=1)
    old = await driver.find(KEY)
    assert old is not None
    assert old.status is MachineStatus.FAILED


async def test_the_private_address_counts_where_there_is_no_public_one(fake, tmp_path):
    location = LOCATIONS["cn-hangzhou"].model_copy(
        update={"extra": {"security_group": "sg-1", "bandwidth_mbits": 0}}
    )
    settings = fake.settings(tmp_path).model_copy(update={"locations": {"cn-hangzhou": location}})
    driver = AlibabaDriver(settings)
    await driver.ensure(KEY, SPEC)
    found = await driver.find(KEY)
    assert found is not None
    assert (found.status, found.address) == (MachineStatus.RUNNING, "172.16.0.7")
    await driver.close()


async def test_the_disk_goes_with_the_machine(fake, driver):
    machine = await driver.ensure(KEY, SPEC)
    fake.advance(timedelta(seconds=90))
    assert await driver.destroy(machine.ref)
    assert fake.bill.running() == []
    assert {each.kind for each in fake.bill.entries(KEY)} == {Billed.MACHINE, Billed.VOLUME}
    for each in fake.bill.entries(KEY):
        assert each.until is not None
        assert 90 <= (each.until - each.since).total_seconds() < 100


@pytest.mark.parametrize("code", ["IncorrectInstanceStatus.Initializing", "LastTokenProcessing"])
async def test_a_deletion_that_is_refused_for_a_while_is_retried(fake, driver, code):
    machine = await driver.ensure(KEY, SPEC)
    fake.refuse("DeleteInstance", Refused(403, code, "Please try again later."))
    with pytest.raises(ProviderUnavailableError, match=f"{code}: Please try again") as refused:
        await driver.destroy(machine.ref)
    assert refused.value.retryable
    assert await driver.destroy(machine.ref)
    assert fake.bill.running() == []


async def test_a_machine_that_is_not_listed_yet_is_not_taken_for_gone(fake, driver, another_worker):
    fake.traps.add(Trap.STALE_LISTING)
    machine = await driver.ensure(KEY, SPEC)
    with pytest.raises(ProviderUnavailableError, match="exists, but is not listed yet") as refused:
        await another_worker.destroy(machine.ref)
    assert refused.value.retryable
    assert len(fake.bill.running()) == 2
    assert await driver.destroy(machine.ref)
    assert fake.bill.running() == []


async def test_an_id_without_its_region_is_searched_in_each(fake, driver):
    machine = await driver.ensure(KEY, ARM)
    bare = MachineRef(key=KEY, provider="alibaba", provider_id="i-00000001")
    found = await driver.get(bare.provider_id)
    assert found is not None
    assert found.ref == machine.ref
    assert await driver.console(bare) == f"{KEY} login: "
    assert await driver.destroy(bare)
    assert fake.bill.running() == []


async def test_a_machine_of_a_region_that_is_not_configured_is_not_taken_for_gone(driver):
    ref = MachineRef(key=KEY, provider="alibaba", provider_id="us-west-1:i-1")
    for call in (driver.get(ref.provider_id), driver.destroy(ref), driver.console(ref)):
        with pytest.raises(UnknownLocationError, match="us-west-1"):
            await call
