"""Oracle Cloud Infrastructure: what its driver makes of the vendor's traps."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretBytes

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.exercised import Against
from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineAtProvider, MachineRef, MachineStatus
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderCapacityError,
    ProviderCredentialsError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderUnavailableError,
    UnknownLocationError,
)
from relight.providers.oci.driver import MAX_TOKENS, OciDriver
from starter.local.children import wait_until
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import FIXED, FLEX, FRANKFURT, PHOENIX
from tests.support.contract_clouds import RUN
from tests.support.exercised import note

KEY = "r-1-g1"
SOON = timedelta(seconds=60)
AN_HOUR = timedelta(hours=1)


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


def spec(region: str = FRANKFURT, **of: Any) -> MachineSpec:
    user_data = SecretBytes(b"#cloud-config\n{}\n")
    known = {"owner": OWNER, "generation": 1, "created_by": RUN, "user_data": user_data}
    return MachineSpec(region=region, **{**known, **of})


def launches(fake: OciFake) -> list[dict[str, Any]]:
    """The bodies of all launches that were asked for."""
    return [
        json.loads(each.body)
        for each in fake.received
        if each.method == "POST" and each.path.endswith("/instances")
    ]


def tokens(fake: OciFake) -> list[str]:
    return [
        each.headers["opc-retry-token"]
        for each in fake.received
        if "opc-retry-token" in each.headers
    ]


async def running(driver: OciDriver, key: str = KEY, **of: Any) -> MachineAtProvider:
    machine = await driver.ensure(key, spec(**of))
    found: list[MachineAtProvider] = []

    async def runs() -> bool:
        seen = await driver.get(machine.provider_id)
        assert seen is not None
        found.append(seen)
        return seen.address is not None

    await wait_until(runs, SOON)
    return found[-1]


async def gone(driver: OciDriver, machine: MachineRef) -> None:
    async def is_gone() -> bool:
        return await driver.get(machine.provider_id) is None

    await wait_until(is_gone, SOON)


# Creation


async def test_a_launch_has_tags_shape_image_network_and_user_data(
    fake: OciFake, driver: OciDriver
) -> None:
    newest = fake.add_image(FRANKFURT, "relight-base-20260201", (FLEX,))
    fake.add_image(FRANKFURT, "relight-base-20260301", ("VM.Standard.A1.Flex",))
    fake.add_image(FRANKFURT, "other-20260401", (FLEX,))
    await driver.ensure(KEY, spec(user_data=SecretBytes(b"#cloud-config\n"), generation=3))
    [body] = launches(fake)
    assert body == {
        "availabilityDomain": fake.zones(FRANKFURT)[0],
        "compartmentId": fake.compartment,
        "displayName": KEY,
        "freeformTags": {
            "relight-owner": spec().owner,
            "relight-key": KEY,
            "relight-generation": "3",
            "relight-created-by": spec().created_by,
        },
        "shape": FLEX,
        "shapeConfig": {"ocpus": 1.0, "memoryInGBs": 8.0},
        "sourceDetails": {"sourceType": "image", "imageId": newest},
        "createVnicDetails": {"subnetId": fake.subnet(FRANKFURT), "assignPublicIp": True},
        "metadata": {"user_data": base64.b64encode(b"#cloud-config\n").decode()},
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": True},
    }


async def test_a_launch_has_what_the_location_sets_besides(fake: OciFake, tmp_path: Path) -> None:
    [zone, *_] = fake.zones(FRANKFURT)
    driver = fake.driver(
        tmp_path,
        zones=(f"{zone}/FAULT-DOMAIN-2",),
        shapes=(FIXED,),
        disk_gib=60,
        extra={"assign_public_ip": False, "network_security_groups": ("ocid1.nsg.oc1..a",)},
    )
    machine = await running(driver)
    [body] = launches(fake)
    assert (body["availabilityDomain"], body["faultDomain"]) == (zone, "FAULT-DOMAIN-2")
    assert "shapeConfig" not in body
    assert body["sourceDetails"]["bootVolumeSizeInGBs"] == 60
    assert body["createVnicDetails"] == {
        "subnetId": fake.subnet(FRANKFURT),
        "assignPublicIp": False,
        "nsgIds": ["ocid1.nsg.oc1..a"],
    }
    assert str(machine.address).startswith("10.0.")
    await driver.close()


async def test_a_machine_has_the_public_address_of_its_primary_interface(driver: OciDriver) -> None:
    machine = await running(driver)
    assert str(machine.address).startswith("198.51.")


async def test_an_image_that_is_not_there_is_named_before_anything_is_created(
    fake: OciFake, driver: OciDriver
) -> None:
    with pytest.raises(ProviderInvalidError, match="none named debian-13 that boots on"):
        await driver.ensure(KEY, spec(image="debian-13"))
    assert launches(fake) == []


async def test_user_data_may_fill_the_metadata_and_not_one_byte_more(
    fake: OciFake, driver: OciDriver
) -> None:
    largest = (32_000 - len('{"user_data":""}')) // 4 * 3
    with pytest.raises(ProviderInvalidError, match="takes at most 31984"):
        await driver.ensure("r-2-g1", spec(user_data=SecretBytes(("x" * (largest + 1)).encode())))
    assert fake.received == []
    await driver.ensure(KEY, spec(user_data=SecretBytes(("x" * largest).encode())))


async def test_a_creation_whose_reply_was_lost_is_the_same_machine_though_no_listing_has_it(
    fake: OciFake, driver: OciDriver, tmp_path: Path
) -> None:
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, spec())
    fake.traps.add(Trap.STALE_LISTING)
    again = fake.driver(tmp_path)
    machine = await again.ensure(KEY, spec())
    assert [machine.provider_id] == list(fake.instances)
    await again.close()


async def test_a_lost_reply_in_the_second_zone_makes_no_twin_in_the_first(
    fake: OciFake, driver: OciDriver
) -> None:
    [first, _, _] = fake.zones(FRANKFURT)
    fake.traps.add(Trap.CAPACITY)
    fake.full = {(first, FLEX)}
    # The first launch finds no room: the second one is done, and its reply is lost.
    faults = fake.provider_faults.next_for

    def lose_second(call: Call) -> ProviderFault | None:
        return (
            ProviderFault.REPLY_LOST
            if len(launches(fake)) == 2 and call is Call.CREATE
            else faults(call)
        )

    fake.provider_faults.next_for = lose_second  # type: ignore[method-assign]
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, spec())
    fake.traps = {Trap.STALE_LISTING}
    machine = await driver.ensure(KEY, spec())
    assert [machine.provider_id] == list(fake.instances)


async def test_a_machine_without_room_is_made_in_the_next_zone_or_shape_by_another_token(
    fake: OciFake, driver: OciDriver
) -> None:
    first, second, _ = fake.zones(FRANKFURT)
    fake.traps.add(Trap.CAPACITY)
    fake.full = {(first, FLEX), (second, FLEX), (first, FIXED)}
    await driver.ensure(KEY, spec())
    tried = [(each["availabilityDomain"], each["shape"]) for each in launches(fake)]
    assert tried == [(first, FLEX), (second, FLEX), (first, FIXED), (second, FIXED)]
    assert len(set(tokens(fake))) == 4
    assert len(fake.instances) == 1


async def test_no_room_anywhere_is_a_capacity_error_with_each_attempt(
    fake: OciFake, driver: OciDriver
) -> None:
    fake.traps.add(Trap.CAPACITY)
    with pytest.raises(
        ProviderCapacityError, match=r"AD-1: 500 InternalError: Out of host"
    ) as full:
        await driver.ensure(KEY, spec())
    assert str(full.value).count("Out of host capacity") == 4


async def test_a_limit_is_a_quota_error_and_no_other_zone_is_tried(
    fake: OciFake, driver: OciDriver
) -> None:
    fake.limits = {FLEX: 0}
    with pytest.raises(
        ProviderQuotaError, match=r"LimitExceeded: .*e4\.flex-count.*opc-request-id"
    ):
        await driver.ensure(KEY, spec())
    assert len(launches(fake)) == 1


async def test_a_launch_that_found_no_room_after_all_is_made_again(
    fake: OciFake, driver: OciDriver
) -> None:
    """It was accepted, and ended as TERMINATED: its token gives that dead instance again."""
    fake.traps.add(Trap.STARTS_FAILED)
    dead = await driver.ensure(KEY, spec())
    await gone(driver, dead)
    fake.traps.clear()
    machine = await driver.ensure(KEY, spec())
    assert machine.provider_id != dead.provider_id
    assert tokens(fake)[0] == tokens(fake)[1] != tokens(fake)[2]
    assert (await driver.ensure(KEY, spec())).ref == machine.ref


async def test_machines_that_end_one_after_the_other_are_not_made_for_ever(
    fake: OciFake, driver: OciDriver
) -> None:
    fake.traps.add(Trap.STARTS_FAILED)
    for _ in range(MAX_TOKENS):
        await gone(driver, await driver.ensure(KEY, spec()))
    with pytest.raises(ProviderError, match="have ended within a day") as refused:
        await driver.ensure(KEY, spec())
    assert not refused.value.retryable
    assert len(fake.instances) == MAX_TOKENS


async def test_a_token_whose_machine_was_purged_makes_no_other_until_it_expires(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    await driver.destroy(machine.ref)
    fake.advance(timedelta(hours=13))
    with pytest.raises(ProviderUnavailableError, match="InvalidatedRetryToken"):
        await driver.ensure(KEY, spec())
    assert len(fake.instances) == 1
    fake.advance(timedelta(hours=12))
    await driver.ensure(KEY, spec())
    assert len(fake.instances) == 2


async def test_a_token_with_another_image_adopts_the_machine_that_it_has_made(
    fake: OciFake, driver: OciDriver, tmp_path: Path
) -> None:
    """As when a new image was published after the reply of a creation was lost."""
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, spec())
    fake.add_image(FRANKFURT, "relight-base-20260201", (FLEX,))
    fake.traps.add(Trap.STALE_LISTING)
    another = fake.driver(tmp_path)
    with pytest.raises(ProviderUnavailableError, match="InvalidatedRetryToken"):
        await another.ensure(KEY, spec())
    fake.traps.clear()
    machine = await another.ensure(KEY, spec())
    await another.close()
    assert [machine.provider_id] == list(fake.instances)


# Reading


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


# Deletion


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


# Report


async def test_a_report_has_each_region_with_its_image(fake: OciFake, driver: OciDriver) -> None:
    newest = fake.add_image(FRANKFURT, "relight-base-20260201", (FLEX, FIXED))
    report = await driver.report()
    assert (report.problems, [each.problems for each in report.regions]) == ((), [(), ()])
    note("oci", "report", Against.FAKE)
    assert report.rights == ("list instances", "list addresses of instances", "list images")
    assert [(each.name, each.image == newest) for each in report.regions] == [
        (FRANKFURT, True),
        (PHOENIX, False),
    ]


async def test_a_report_names_what_a_region_lacks(fake: OciFake, tmp_path: Path) -> None:
    driver = fake.driver(
        tmp_path,
        zones=("Uocm:EU-FRANKFURT-1-AD-1/FAULT-DOMAIN-1", "Uocm:NOWHERE-AD-1"),
        shapes=(f"{FLEX}:1:8", "VM.Standard.A1.Flex:1:6"),
        subnet=fake.subnet(PHOENIX),
        image_prefix="none-",
    )
    frankfurt, _ = (await driver.report()).regions
    await driver.close()
    assert frankfurt.image is None
    problems = "; ".join(frankfurt.problems)
    for part in (
        "zone Uocm:NOWHERE-AD-1: 400 InvalidParameter",
        "no zone of it offers the shape VM.Standard.A1.Flex",
        f"subnet {fake.subnet(PHOENIX)}: 404 NotAuthorizedOrNotFound",
        f"image for {FLEX}: there is none",
    ):
        assert part in problems


async def test_a_report_names_the_rights_that_are_missing(fake: OciFake, driver: OciDriver) -> None:
    fake.forbidden = {"list_vnic_attachments"}
    report = await driver.report()
    assert report.rights == ("list instances", "list images")
    assert [fake.compartment in each for each in report.problems] == [True]
    assert "list addresses of instances" in report.problems[0]


# Console


async def test_a_console_is_captured_and_its_capture_is_deleted(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    assert f"{KEY} login:" in str(await driver.console(machine.ref))
    assert fake.histories == {}


async def test_the_console_of_a_machine_that_is_gone_is_none(
    fake: OciFake, driver: OciDriver
) -> None:
    machine = await running(driver)
    await driver.destroy(machine.ref)
    await gone(driver, machine.ref)
    assert await driver.console(machine.ref) is None


@pytest.mark.parametrize("forbidden", ["get_history", "get_history_data"])
async def test_a_capture_that_cannot_be_read_is_deleted_too(
    fake: OciFake, driver: OciDriver, forbidden: str
) -> None:
    machine = await running(driver)
    fake.forbidden = {forbidden}
    with pytest.raises(ProviderCredentialsError):
        await driver.console(machine.ref)
    assert fake.histories == {}
