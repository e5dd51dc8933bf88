"""Oracle Cloud Infrastructure: listings, and what is absent."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from relight.domain.machine import MachineStatus
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.oci.driver import OciDriver
from starter.local.children import wait_until
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import FIXED, FRANKFURT, PHOENIX
from tests.providers.oci.machines import KEY, SOON, gone, running, spec

AN_HOUR = timedelta(hours=1)


async def test_a_terminated_machine_is_gone_though_it_is_listed_for_twelve_hours(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    assert await driver.destroy(machine.ref)
    await gone(driver, machine.ref)
    for _ in range(2):
        assert len(fake.listed(FRANKFURT)) == 1
        assert (await driver.list()).machines == ()
        assert await driver.find(KEY) is None
        assert await driver.destroy(machine.ref) is False
        fake.advance(AN_HOUR)
    fake.advance(12 * AN_HOUR)
    assert fake.listed(FRANKFURT) == []
    assert await driver.get(machine.provider_id) is None


async def test_a_state_that_is_not_known_says_nothing_and_the_machine_can_be_destroyed(
    fake: OciFake, driver: OciDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = await running(driver)
    [instance] = fake.instances.values()
    with monkeypatch.context() as patch:
        patch.setattr(type(instance), "state", lambda _, now: "A_NEW_ONE")
        listing = await driver.list()
        assert [each.status for each in listing.machines] == [MachineStatus.PROVISIONING]
        assert listing.complete
        assert await driver.destroy(machine.ref)
    await gone(driver, machine.ref)


async def test_what_we_may_not_read_is_not_absent(fake: OciFake, driver: OciDriver) -> None:
    machine = await running(driver)
    fake.forbidden = {"get_instance"}
    for read in (driver.get(machine.provider_id), driver.destroy(machine.ref)):
        with pytest.raises(ProviderCredentialsError, match="NotAuthorizedOrNotFound"):
            await read
    fake.forbidden = {"get_instance", "list_instances"}
    for read in (driver.get(machine.provider_id), driver.destroy(machine.ref)):
        with pytest.raises(ProviderCredentialsError, match="NotAuthorizedOrNotFound"):
            await read
    assert len(fake.bill.running(Billed.MACHINE)) == 1


@pytest.mark.parametrize("call", ["find", "list", "ensure"])
async def test_a_compartment_that_we_may_not_see_is_not_empty(
    fake: OciFake, driver: OciDriver, call: str
) -> None:
    await driver.ensure(KEY, spec())
    fake.traps.add(Trap.NO_PERMISSION)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "find": lambda: driver.find(KEY),
        "list": driver.list,
        "ensure": lambda: driver.ensure(KEY, spec()),
    }
    with pytest.raises(ProviderCredentialsError, match="NotAuthorizedOrNotFound") as refused:
        await calls[call]()
    assert not refused.value.retryable


async def test_a_deletion_that_we_may_not_request_is_no_success(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    fake.forbidden = {"terminate_instance"}
    with pytest.raises(ProviderCredentialsError, match="NotAuthorizedOrNotFound"):
        await driver.destroy(machine.ref)
    assert len(fake.bill.running(Billed.MACHINE)) == 1


async def test_a_region_that_is_not_configured_any_more_is_not_without_machines(
    fake: OciFake, driver: OciDriver, tmp_path: Path
) -> None:
    phoenix = await driver.ensure("r-2-g1", spec(PHOENIX))
    fake.regions = fake.regions[:1]
    less = fake.driver(tmp_path)
    for call in (less.get(phoenix.provider_id), less.destroy(phoenix.ref), less.list(PHOENIX)):
        with pytest.raises(UnknownLocationError, match=PHOENIX):
            await call
    code = phoenix.provider_id.replace(PHOENIX, "phx")
    with pytest.raises(UnknownLocationError, match=PHOENIX):
        await less.get(code)
    await less.close()


async def test_each_region_is_listed_and_searched(fake: OciFake, driver: OciDriver) -> None:
    here = await running(driver)
    there = await running(driver, "r-2-g1", region=PHOENIX)
    assert there.region == PHOENIX
    assert (await driver.list()).machines == (here, there)
    assert (await driver.list(PHOENIX)).machines == (there,)
    assert await driver.find("r-2-g1") == there


async def test_two_machines_of_a_key_are_shown_to_a_person(
    fake: OciFake, driver: OciDriver
) -> None:
    first = await driver.ensure(KEY, spec())
    fake.launch(FRANKFURT, fake.instances[first.provider_id].details, "another-token")
    for call in (driver.find(KEY), driver.ensure(KEY, spec())):
        with pytest.raises(MachineConflictError, match="2 machines have this name") as conflict:
            await call
        assert all(each in str(conflict.value) for each in fake.instances)


async def test_a_machine_that_a_listing_lacks_at_first_is_found_by_its_id(
    fake: OciFake, driver: OciDriver
) -> None:
    fake.traps.add(Trap.STALE_LISTING)
    machine = await driver.ensure(KEY, spec())
    found = await driver.find(KEY)
    assert found is not None
    assert found.ref == machine.ref
    assert await driver.destroy(machine.ref)
    await gone(driver, machine.ref)
    assert await driver.find(KEY) is None


async def test_a_listing_that_has_each_machine_twice_has_it_once(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    fake.traps.add(Trap.DUPLICATE_LISTING)
    assert (await driver.list()).machines == (machine,)
    assert await driver.find(KEY) == machine


async def test_a_listing_of_many_pages_is_read_to_its_end_with_each_address(
    fake: OciFake, driver: OciDriver
) -> None:
    made = [await driver.ensure(f"r-{number}-g1", spec()) for number in range(1, 8)]
    fake.page_size = 2
    fake.traps.add(Trap.TRUNCATED_PAGE)

    async def all_run() -> bool:
        return all(each.address for each in (await driver.list()).machines)

    await wait_until(all_run, SOON)
    listing = await driver.list()
    assert [each.ref for each in listing.machines] == [each.ref for each in made]
    assert len({each.address for each in listing.machines}) == 7
    fake.received.clear()
    await driver.list(FRANKFURT)
    assert not any("vnic" in each.path for each in fake.received)


async def test_addresses_that_were_read_are_kept_though_another_one_could_not_be_read(
    fake: OciFake, driver: OciDriver, tmp_path: Path
) -> None:
    made = [await running(driver, f"r-{number}-g1") for number in range(1, 5)]
    [unread, *others] = [f"{each.provider_id.replace('instance', 'vnic')}.first" for each in made]
    fake.forbidden = {f"get_vnic {unread}"}
    restarted = fake.driver(tmp_path)
    with pytest.raises(ProviderUnavailableError, match=unread):
        await restarted.list()
    fake.forbidden = set()
    fake.received.clear()
    assert {each.address for each in (await restarted.list()).machines} == {
        each.address for each in made
    }
    asked = {each.path.rpartition("/")[2] for each in fake.received if "/vnics/" in each.path}
    assert unread in asked
    assert not asked & set(others)
    await restarted.close()


async def test_pages_without_an_end_are_not_a_listing(fake: OciFake, driver: OciDriver) -> None:
    fake.page_size = 1
    for number in (1, 2):
        await driver.ensure(f"r-{number}-g1", spec())
    fake.traps.add(Trap.ENDLESS_PAGES)
    with pytest.raises(ProviderAnswerError, match="no end"):
        await driver.list()


async def test_a_machine_of_others_is_listed_without_a_request_for_its_address(
    fake: OciFake, driver: OciDriver
) -> None:
    details = {
        "displayName": "their-vm",
        "availabilityDomain": fake.zones(FRANKFURT)[2],
        "shape": FIXED,
        "compartmentId": fake.compartment,
        "sourceDetails": {"sourceType": "image", "imageId": next(iter(fake.images))},
    }
    theirs = fake.launch(FRANKFURT, details, "their-token")

    async def runs() -> bool:
        [machine] = (await driver.list()).machines
        return machine.status is MachineStatus.RUNNING

    await wait_until(runs, SOON)
    found = await driver.find("their-vm")
    assert found is not None
    assert (found.provider_id, found.owner, found.address) == (theirs.id, None, None)
    assert not any("vnic" in each.path for each in fake.received)
    with pytest.raises(MachineConflictError, match="its owner is unknown"):
        await driver.ensure("their-vm", spec())


async def test_a_stopped_machine_has_failed(fake: OciFake, driver: OciDriver) -> None:
    machine = await running(driver)
    fake.instances[machine.provider_id].is_stopped = True
    found = await driver.find(KEY)
    assert found is not None
    assert found.status is MachineStatus.FAILED
