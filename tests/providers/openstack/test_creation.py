"""The traps of a creation at OpenStack, over its fake."""

import asyncio

import pytest

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.domain.machine import MachineRef, MachineStatus
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from starter.local.children import wait_until
from tests.providers.fakes.base import Trap
from tests.providers.fakes.openstack_answers import image, nova_fault
from tests.providers.fakes.openstack_server import NO_HOST, FakeServer
from tests.providers.openstack.drivers import (
    DEADLINE,
    KEY,
    creations,
    drivers,
    fake,
    left,
    spec,
    true,
)

__all__ = ["drivers", "fake"]


# Where there is room.


async def test_a_zone_without_a_host_gives_way_to_the_next_and_leaves_nothing(fake, drivers):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {("a", "m1.small"), ("b", "m1.small"), ("a", "m1.large")}
    driver = drivers(zones=("a", "b"), shapes=("m1.small", "m1.large"))
    machine = await driver.ensure(KEY, spec())
    [server] = fake.existing("north")
    assert server.id == machine.provider_id
    assert (server.body["availability_zone"], server.body["flavorRef"]) == ("b", "f-2")
    assert creations(fake) == 4
    assert [entry.id for entry in fake.bill.running()] == [machine.provider_id]


async def test_a_region_without_room_is_an_error_of_its_own_and_leaves_nothing(fake, drivers):
    fake.traps.add(Trap.CAPACITY)
    driver = drivers(zones=("a", "b"))
    with pytest.raises(ProviderCapacityError, match=r"m1.small in a: No valid host .* in b"):
        await driver.ensure(KEY, spec())
    assert (left(fake), fake.bill.running()) == ([], [])


async def test_a_zone_that_is_closed_gives_way_to_the_next(fake, drivers):
    closed = nova_fault(400, "The requested availability zone is not available")
    fake.faults_by_path["POST .*/servers$"] = closed
    driver = drivers(zones=("a", "b"))
    with pytest.raises(ProviderCapacityError):
        await driver.ensure(KEY, spec())
    assert creations(fake) == 2


async def test_what_a_killed_worker_left_without_a_host_is_replaced(fake, drivers):
    fake.traps.add(Trap.CAPACITY)
    first = drivers()
    creating = asyncio.create_task(first.ensure(KEY, spec()))
    await wait_until(lambda: true(bool(fake.servers)), DEADLINE)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    fake.traps.clear()
    [old] = fake.servers
    await wait_until(lambda: true(fake.servers[old].status(fake.now()) == "ERROR"), DEADLINE)
    machine = await drivers().ensure(KEY, spec())
    assert machine.provider_id != old
    assert left(fake) == [KEY]


async def test_a_machine_that_has_run_is_never_removed_for_its_fault(fake, drivers):
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    server = fake.servers[machine.provider_id]
    details = server.details

    def after_a_failed_resize(now):
        fault = {"message": NO_HOST, "code": 500, "created": "2026-01-01T00:00:00Z"}
        launched = {"OS-SRV-USG:launched_at": "2026-01-01T00:00:00.000000"}
        return details(now) | launched | {"status": "ERROR", "fault": fault}

    server.details = after_a_failed_resize
    found = await driver.ensure(KEY, spec())
    assert (found.provider_id, found.status) == (machine.provider_id, MachineStatus.FAILED)
    assert left(fake) == [KEY]


async def test_a_machine_that_fails_for_another_reason_is_shown_as_failed(fake, drivers):
    fake.traps.add(Trap.STARTS_FAILED)
    machine = await drivers().ensure(KEY, spec())
    assert machine.status is MachineStatus.FAILED
    assert creations(fake) == 1


@pytest.mark.parametrize(
    ("trap", "kind"),
    [
        (Trap.QUOTA, ProviderQuotaError),
        (Trap.NO_PERMISSION, ProviderCredentialsError),
        (Trap.INVALID, ProviderInvalidError),
    ],
)
async def test_a_refused_creation_is_asked_for_once(fake, drivers, trap, kind):
    fake.traps.add(trap)
    with pytest.raises(kind) as refused:
        await drivers(zones=("a", "b")).ensure(KEY, spec())
    assert not refused.value.retryable
    assert (creations(fake), left(fake)) == (1, [])


async def test_a_creation_of_what_is_not_found_is_refused_with_novas_words(fake, drivers):
    words = "Resource provider p-9 could not be found."
    fake.faults_by_path["POST .*/servers$"] = nova_fault(404, words)
    with pytest.raises(ProviderError, match=words) as refused:
        await drivers(zones=("a", "b")).ensure(KEY, spec())
    assert not refused.value.retryable
    assert (creations(fake), left(fake)) == (1, [])


# One machine for a key.


async def test_a_new_machine_that_listings_lack_is_found_and_not_made_twice(fake, drivers):
    fake.traps.add(Trap.STALE_LISTING)
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    found = await driver.find(KEY)
    assert found is not None
    assert (await driver.ensure(KEY, spec())).ref == found.ref == machine.ref
    assert creations(fake) == 1


async def test_a_creation_without_an_answer_that_listings_lack_is_waited_for(fake, drivers):
    fake.traps.add(Trap.STALE_LISTING)
    driver = drivers()
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, spec())
    machine = await driver.ensure(KEY, spec())
    assert list(fake.servers) == [machine.provider_id]
    assert creations(fake) == 1


async def test_a_creation_of_another_worker_that_listings_lack_is_waited_for(fake, drivers):
    """Its answer was lost, and the activity is tried again elsewhere."""
    fake.traps.add(Trap.STALE_LISTING)
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await drivers().ensure(KEY, spec())
    fake.stale, looks = DEADLINE, len(fake.received)
    repeated = asyncio.create_task(drivers(DEADLINE).ensure(KEY, spec(is_repeat=True)))
    await wait_until(lambda: true(len(fake.received) > looks + 20), DEADLINE)
    fake.traps.clear()
    machine = await repeated
    assert list(fake.servers) == [machine.provider_id]
    assert creations(fake) == 1


async def test_a_rate_limit_is_not_waited_for_as_if_something_was_made(fake, drivers):
    driver = drivers()
    fake.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, Call.CREATE)
    with pytest.raises(ProviderRateLimitedError):
        await driver.ensure(KEY, spec())
    fake.received.clear()
    await driver.ensure(KEY, spec())
    by_name = [each.path for each in fake.received if "/servers/detail?name=" in each.path]
    looks = [path for path in by_name if "status" not in path]
    assert len(looks) == 2  # one for each region


async def test_two_machines_of_a_key_are_a_conflict_that_names_both(fake, drivers):
    driver = drivers()
    machine = await driver.ensure(KEY, spec())
    twin = FakeServer(fake.servers[machine.provider_id].body, "p", "south", fake.now())
    fake.servers[twin.id] = twin
    for call in (driver.find(KEY), driver.ensure(KEY, spec())):
        with pytest.raises(MachineConflictError, match=twin.id) as conflict:
            await call
        assert machine.provider_id in str(conflict.value)
    assert creations(fake) == 1


async def test_names_are_compared_exactly(fake, drivers):
    driver = drivers()
    await driver.ensure("r-1-g11", spec(generation=11))
    assert await driver.find(KEY) is None
    await driver.ensure(KEY, spec())
    assert sorted(left(fake)) == [KEY, "r-1-g11"]


# The request.


async def test_user_data_that_is_too_large_is_refused_before_any_request(fake, drivers):
    driver = drivers()
    fits = "x" * (65_535 // 4 * 3)
    with pytest.raises(ProviderInvalidError, match="65536 bytes in base64"):
        await driver.ensure(KEY, spec(user_data=fits + "x"))
    assert not fake.received
    await driver.ensure(KEY, spec(user_data=fits))
    assert left(fake) == [KEY]


async def test_an_answer_to_a_creation_that_is_not_understood_does_not_show_its_password(
    fake, drivers
):
    fake.faults_by_path["POST .*/servers$"] = nova_fault(202, "adminPass: S3cretPassw0rd")
    with pytest.raises(ProviderAnswerError) as unread:
        await drivers().ensure(KEY, spec())
    assert "S3cret" not in str(unread.value)


async def test_the_newest_image_of_the_architecture_is_taken(fake, drivers):
    fake.images += [
        image("debian-12-2", "2026-03-01"),
        image("debian-12-amd64-2", "2026-03-02", architecture="x86_64", image_type="snapshot"),
        image("debian-12-amd64-3", "2026-01-15", architecture="x86_64"),
        image("ubuntu-24", "2026-04-01", architecture="x86_64"),
    ]
    await drivers().ensure(KEY, spec())
    await drivers(architecture="arm64").ensure("r-2-g1", spec())
    used = {server.name: server.body["imageRef"] for server in fake.servers.values()}
    names = {each["id"]: each["name"] for each in fake.images}
    assert names[used[KEY]] == "debian-12-amd64-3"
    assert names[used["r-2-g1"]] == "debian-12-arm64-1"


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ({"image_prefix": "debian-13-"}, r"debian-13-\* in north: .* debian-12-amd64-1"),
        ({"shapes": ("m9.huge",)}, r"m9.huge in north: .* m1.large, m1.small"),
        ({"subnet": "dmz"}, "dmz in north: 0 networks"),
    ],
)
async def test_a_name_that_the_region_lacks_is_named_with_those_that_it_has(
    fake, drivers, location, words
):
    with pytest.raises(ProviderInvalidError, match=words):
        await drivers(**location).ensure(KEY, spec())
    assert creations(fake) == 0


async def test_a_console_of_a_machine_that_is_gone_is_none(fake, drivers):
    ref = MachineRef(key=KEY, provider="openstack", provider_id="no-such-id")
    assert await drivers().console(ref) is None
