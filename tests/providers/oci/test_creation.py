"""Oracle Cloud Infrastructure: launches, their tokens, and where there is no room."""

import base64
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretBytes

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.providers.driver import (
    ProviderCapacityError,
    ProviderError,
    ProviderInvalidError,
    ProviderQuotaError,
    ProviderUnavailableError,
)
from relight.providers.oci.driver import MAX_TOKENS, OciDriver
from tests.providers.fakes.base import Trap
from tests.providers.fakes.oci import OciFake
from tests.providers.fakes.oci_account import FIXED, FLEX, FRANKFURT
from tests.providers.oci.machines import KEY, gone, launches, running, spec, tokens


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
