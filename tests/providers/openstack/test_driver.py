"""The traps of OpenStack, over its fake: token, listings, deletion and floating addresses."""

import asyncio
from datetime import timedelta

import pytest

from devkit.exercised import Against
from relight.domain.machine import MachineStatus
from relight.providers.driver import (
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from relight.providers.openstack.api import Service, versioned
from relight.providers.openstack.driver import OpenStackDriver
from starter.local.children import wait_until
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.openstack_answers import keystone_fault, nova_fault
from tests.providers.fakes.openstack_server import DELETING
from tests.providers.openstack.drivers import (
    DEADLINE,
    KEY,
    creations,
    drivers,
    fake,
    left,
    spec,
    until_gone,
    until_running,
)
from tests.support.exercised import note

__all__ = ["drivers", "fake"]


# The token.


async def test_one_token_serves_until_shortly_before_its_end(fake, drivers):
    driver = drivers()
    await asyncio.gather(*(driver.list() for _ in range(4)))
    await driver.ensure(KEY, spec())
    assert fake.logins == 1


async def test_a_token_is_renewed_before_its_end(fake, drivers):
    fake.token_life = timedelta(seconds=2)
    driver = drivers()
    await driver.list()
    [ends] = fake.tokens.values()

    async def renewed() -> bool:
        await driver.list()
        return bool(fake.logins == 2)

    await wait_until(renewed, DEADLINE)
    assert fake.now() < ends
    assert all(
        each.path.endswith("/tokens") or "x-auth-token" in each.headers for each in fake.received
    )


async def test_a_token_that_is_refused_is_renewed_once_and_nothing_is_done_twice(fake, drivers):
    driver = drivers()
    await driver.list()
    fake.tokens.clear()
    await driver.ensure(KEY, spec())
    assert (fake.logins, left(fake)) == (2, [KEY])

    fake.faults_by_path["/compute/"] = keystone_fault(401, "not you")
    with pytest.raises(ProviderCredentialsError, match="not you") as refused:
        await driver.list("north")
    assert not refused.value.retryable
    assert fake.logins == 3


async def test_a_wrong_password_is_tried_once_and_never_shown(fake, drivers, tmp_path):
    driver = drivers()
    fake.faults_by_path["POST /identity"] = keystone_fault(401, "requires authentication")
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list("north")
    assert "correct horse" not in str(refused.value)
    assert [each.path for each in fake.received] == ["/identity/v3/auth/tokens"]


async def test_a_region_that_the_catalog_lacks_is_named_with_those_that_it_has(fake, drivers):
    location = {"shapes": ("m1.small",), "image": "i"}
    settings = fake.settings(drivers._folder)
    [some] = [type(settings.locations["north"])(**location)]
    driver = OpenStackDriver(settings.model_copy(update={"locations": {"west": some}}))
    drivers.all.append(driver)
    with pytest.raises(ProviderInvalidError, match=r"compute in west; .* north, south"):
        await driver.list()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("ACTIVE", MachineStatus.RUNNING),
        ("SHUTOFF", MachineStatus.FAILED),
        ("UNKNOWN", MachineStatus.PROVISIONING),
        ("A-NEW-ONE", MachineStatus.PROVISIONING),
    ],
)
async def test_a_status_that_is_not_known_says_nothing(
    fake, drivers, monkeypatch, status, expected
):
    driver = drivers()
    await driver.ensure(KEY, spec())
    [server] = fake.servers.values()
    monkeypatch.setattr(type(server), "status", lambda _, now: status)
    listing = await driver.list()
    assert [each.status for each in listing.machines] == [expected]
    assert listing.complete


# Listings.


@pytest.mark.parametrize("trap", [None, Trap.DUPLICATE_LISTING, Trap.TRUNCATED_PAGE])
async def test_each_machine_is_listed_once_from_all_pages_and_regions(fake, drivers, trap):
    driver = drivers()
    for number in range(1, 6):
        region = "north" if number < 5 else "south"
        await driver.ensure(f"r-{number}-g1", spec(region=region))
    fake.page_size = 2
    if trap:
        fake.traps.add(trap)
    listing = await driver.list()
    assert [machine.key for machine in listing.machines] == [f"r-{n}-g1" for n in range(1, 6)]
    assert listing.complete
    assert [machine.key for machine in (await driver.list("south")).machines] == ["r-5-g1"]


async def test_pages_without_an_end_are_an_error(fake, drivers):
    driver = drivers()
    await driver.ensure(KEY, spec())
    fake.traps.add(Trap.ENDLESS_PAGES)
    with pytest.raises(ProviderAnswerError, match="no end"):
        await driver.list()


async def test_a_part_of_the_cloud_that_is_down_proves_no_absence(fake, drivers):
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    await driver.ensure("r-2-g1", spec())
    fake.servers[machine.provider_id].is_hidden = True
    listing = await driver.list()
    assert [each.key for each in listing.machines] == ["r-2-g1"]
    assert not listing.complete
    other = drivers()
    for call in (other.find(KEY), other.ensure(KEY, spec()), other.get(machine.provider_id)):
        with pytest.raises(ProviderUnavailableError) as unknown:
            await call
        assert unknown.value.retryable
    assert creations(fake) == 2
    assert (await other.find("r-2-g1")) is not None


# Deletion.


async def test_a_machine_that_is_deleted_softly_is_not_gone(fake, drivers):
    fake.soft_delete = True
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    await until_running(driver)
    assert await driver.destroy(machine.ref)
    found = await driver.find(KEY)
    assert found is not None
    assert found.status is MachineStatus.DELETING
    assert found in (await driver.list()).machines
    assert await driver.get(machine.provider_id) == found
    assert fake.bill.running()

    assert await driver.destroy(machine.ref)
    await until_gone(fake, driver)
    assert not fake.bill.running()


async def test_a_machine_whose_host_is_down_is_absent_and_still_runs(fake, drivers):
    """So absence is not enough: whoever destroys also asks whether its host answers."""
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    fake.compute_is_down = True
    assert await driver.destroy(machine.ref)
    assert await driver.find(KEY) is None
    assert await driver.destroy(machine.ref) is False
    assert [entry.id for entry in fake.bill.running()] == [machine.provider_id]


async def test_a_locked_machine_is_not_retried(fake, drivers):
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    fake.servers[machine.provider_id].is_locked = True
    with pytest.raises(ProviderError, match="is locked") as refused:
        await driver.destroy(machine.ref)
    assert not refused.value.retryable


async def test_a_boot_volume_goes_with_its_machine(fake, drivers):
    driver = drivers(disk_gib=20)
    machine = await driver.ensure(KEY, spec())
    assert len(fake.bill.running(Billed.VOLUME)) == 1
    await until_running(driver)
    await driver.destroy(machine.ref)
    await until_gone(fake, driver)
    machine_entry, volume_entry = fake.bill.entries(KEY)
    assert machine_entry.until == volume_entry.until
    assert machine_entry.until is not None
    assert machine_entry.until - machine_entry.since >= DELETING


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cloud.example:8774/v2.1/p", "https://cloud.example:8774/v2.1/p"),
        ("https://cloud.example/compute/", "https://cloud.example/compute/v2.1"),
        ("https://v2.cloud.example:8774", "https://v2.cloud.example:8774/v2.1"),
    ],
)
def test_an_endpoint_without_a_version_in_its_path_gets_one(url, expected):
    assert versioned(url, Service.COMPUTE) == expected


# Floating addresses.


async def test_a_floating_address_is_the_machines_and_is_released_before_it(fake, drivers):
    driver = drivers(extra={"floating_network": "public"})
    machine = await driver.ensure(KEY, spec())
    running = await until_running(driver)
    assert running.address == "203.0.113.1"
    await driver.ensure(KEY, spec())
    assert len(fake.floating) == 1
    await driver.destroy(machine.ref)
    assert not fake.floating
    await until_gone(fake, driver)


async def test_a_floating_address_without_its_machine_is_released(fake, drivers):
    driver = drivers(extra={"floating_network": "public"})
    machine = await driver.ensure(KEY, spec())
    other = await driver.ensure("r-2-g1", spec())
    del fake.servers[machine.provider_id]
    assert await driver.destroy(machine.ref) is False
    [address] = fake.floating.values()
    assert address["description"].endswith(other.provider_id)


async def test_a_lost_answer_about_a_floating_address_makes_no_second_one(fake, drivers):
    driver = drivers(extra={"floating_network": "public"})
    fake.faults_by_path["GET .*/ports"] = nova_fault(503, "later")
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, spec())
    assert (left(fake), len(fake.floating)) == ([KEY], 0)
    fake.faults_by_path.clear()
    await driver.ensure(KEY, spec())
    assert (left(fake), len(fake.floating)) == ([KEY], 1)


# The report.


async def test_the_report_has_account_roles_limits_and_what_is_missing_in_a_region(fake, drivers):
    report = await drivers(zones=("a",)).report()
    assert (report.account, report.rights) == ("relight in fleet", ("member",))
    note("openstack", "report", Against.FAKE)
    assert report.limits["machines in north"] == "0 of 10"
    assert report.limits["cores in south"] == "1 of no limit"
    north, south = report.regions
    assert (north.name, south.name) == ("north", "south")
    assert (north.image, north.problems) == (fake.images[0]["id"], ())

    wrong = {"zones": ("closed",), "shapes": ("m9.huge",), "image_prefix": "debian-13-"}
    [first, _] = (await drivers(**wrong, subnet="dmz").report()).regions
    assert first.image is None
    assert len(first.problems) == 4
    assert "the zone closed is not available; those that are: a, b" in first.problems
    assert {each.method for each in fake.received} == {"GET", "POST"}
    assert creations(fake) == 0
