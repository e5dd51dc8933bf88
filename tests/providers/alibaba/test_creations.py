"""Tokens, stock, images, user-data, and machines that are not listed yet."""

import base64
import re

import httpx
import pytest
from pydantic import SecretBytes

from devkit.chaos.provider_faults import Call, ProviderFault
from relight.domain.machine import MachineStatus
from relight.providers.alibaba.unlisted import LISTED_WITHIN
from relight.providers.driver import (
    MachineConflictError,
    ProviderCapacityError,
    ProviderInvalidError,
    ProviderUnavailableError,
)
from tests.providers.alibaba.conftest import ANOTHER_RUN, ARM, KEY, SECRET, SPEC
from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.alibaba_parts import Image
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed


def creations(fake: AlibabaFake) -> list[dict[str, str]]:
    return [
        dict(httpx.URL(each.path).params)
        for each in fake.received
        if each.headers["x-acs-action"] == "RunInstances"
    ]


async def test_a_creation_has_all_that_the_machine_needs(fake, driver):
    created = await driver.ensure(KEY, SPEC)
    [params] = creations(fake)
    token = params.pop("ClientToken")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert base64.b64decode(params.pop("UserData")).decode() == SECRET
    assert params == {
        "RegionId": "cn-hangzhou",
        "InstanceName": KEY,
        "Amount": "1",
        "InstanceType": "ecs.e-c1m1.large",
        "VSwitchId": "vsw-hangzhou-g",
        "SecurityGroupId": "sg-1",
        "ImageId": "m-hangzhou",
        "InstanceChargeType": "PostPaid",
        "InternetChargeType": "PayByTraffic",
        "InternetMaxBandwidthOut": "100",
        "SystemDisk.Category": "cloud_essd",
        "Tag.1.Key": "relight-owner",
        "Tag.1.Value": "us",
        "Tag.2.Key": "relight-key",
        "Tag.2.Value": KEY,
        "Tag.3.Key": "relight-generation",
        "Tag.3.Value": "1",
        "Tag.4.Key": "relight-created-by",
        "Tag.4.Value": "run-1",
    }
    assert created.provider_id == "cn-hangzhou:i-00000001"
    assert created.created_by == "run-1"


async def test_a_key_that_begins_with_a_digit_is_one(fake, driver):
    created = await driver.ensure("7-g1", SPEC)
    assert fake.instances["i-00000001"].name == "relight-7-g1"
    assert created.key == "7-g1"
    assert (await driver.list()).machines[0].ref == created.ref
    assert await driver.destroy(created.ref)


async def test_stock_is_searched_in_each_zone_and_then_with_the_next_type(fake, driver):
    fake.traps.add(Trap.CAPACITY)
    fake.full = {
        ("vsw-hangzhou-g", "ecs.e-c1m1.large"),
        ("vsw-hangzhou-h", "ecs.e-c1m1.large"),
        ("vsw-hangzhou-g", "ecs.g7.large"),
    }
    await driver.ensure(KEY, SPEC)
    tried = creations(fake)
    assert [(each["InstanceType"], each["VSwitchId"]) for each in tried] == [
        ("ecs.e-c1m1.large", "vsw-hangzhou-g"),
        ("ecs.e-c1m1.large", "vsw-hangzhou-h"),
        ("ecs.g7.large", "vsw-hangzhou-g"),
        ("ecs.g7.large", "vsw-hangzhou-h"),
    ]
    assert len({each["ClientToken"] for each in tried}) == 4
    assert [each.kind for each in fake.bill.running()] == [Billed.MACHINE, Billed.VOLUME]


@pytest.mark.parametrize("as_mismatch", [False, True])
async def test_a_token_that_met_no_stock_is_not_used_again(fake, driver, as_mismatch):
    """The vendor refuses it for ever, also when there is stock again."""
    fake.mismatch_after_refusal = as_mismatch
    fake.traps.add(Trap.CAPACITY)
    with pytest.raises(ProviderCapacityError, match=r"OperationDenied\.NoStock") as refused:
        await driver.ensure(KEY, SPEC)
    assert "ecs.g7.large in vsw-hangzhou-h" in str(refused.value)
    fake.traps.clear()
    created = await driver.ensure(KEY, SPEC)
    assert created.key == KEY
    assert len({each["ClientToken"] for each in creations(fake)}) == 5


async def test_another_worker_gets_over_the_tokens_that_met_no_stock(fake, driver, another_worker):
    fake.traps.add(Trap.CAPACITY)
    with pytest.raises(ProviderCapacityError):
        await driver.ensure(KEY, SPEC)
    fake.traps.clear()
    with pytest.raises(ProviderCapacityError):
        await another_worker.ensure(KEY, SPEC)
    await another_worker.ensure(KEY, SPEC)
    assert len(fake.instances) == 1


async def test_the_token_of_another_run_makes_no_twin(fake, driver, another_worker):
    """Its machine is not listed yet, and its request had another tag of its run."""
    fake.traps.add(Trap.STALE_LISTING)
    fake.provider_faults.inject(ProviderFault.REPLY_LOST, Call.CREATE)
    with pytest.raises(ProviderUnavailableError):
        await driver.ensure(KEY, SPEC)
    with pytest.raises(ProviderUnavailableError, match="IdempotentParameterMismatch") as refused:
        await another_worker.ensure(KEY, ANOTHER_RUN)
    assert refused.value.retryable
    fake.traps.clear()
    found = await another_worker.ensure(KEY, ANOTHER_RUN)
    assert (found.created_by, len(fake.instances)) == ("run-1", 1)


async def test_a_token_of_another_run_that_made_nothing_is_given_up(
    fake, driver, another_worker, clock
):
    fake.traps.add(Trap.CAPACITY)
    with pytest.raises(ProviderCapacityError):
        await driver.ensure(KEY, SPEC)
    fake.traps.clear()
    for seconds in (0, LISTED_WITHIN.total_seconds() - 1):
        clock.seconds = seconds
        with pytest.raises(ProviderUnavailableError, match="IdempotentParameterMismatch"):
            await another_worker.ensure(KEY, ANOTHER_RUN)
    clock.seconds = LISTED_WITHIN.total_seconds()
    created = await another_worker.ensure(KEY, ANOTHER_RUN)
    assert (created.created_by, len(fake.instances)) == ("run-2", 1)


async def test_a_token_that_repeats_a_machine_which_is_gone_is_given_up(fake, driver, clock):
    gone = await driver.ensure(KEY, SPEC)
    fake.instances.clear()
    repeated = await driver.ensure(KEY, SPEC)
    assert (repeated.ref, repeated.status) == (gone.ref, MachineStatus.PROVISIONING)
    clock.seconds = LISTED_WITHIN.total_seconds()
    assert await driver.find(KEY) is None
    created = await driver.ensure(KEY, SPEC)
    assert created.ref != gone.ref


async def test_a_machine_that_is_not_listed_yet_is_found_by_who_created_it(fake, driver, clock):
    fake.traps.add(Trap.STALE_LISTING)
    created = await driver.ensure(KEY, SPEC)
    assert created.status is MachineStatus.PROVISIONING
    assert created.created_at is None
    assert await driver.find(KEY) == await driver.get(created.provider_id) == created
    assert (await driver.list()).machines == (created,)
    assert (await driver.list("eu-central-1")).machines == ()
    assert await driver.ensure(KEY, SPEC) == created
    clock.seconds = LISTED_WITHIN.total_seconds()
    assert await driver.find(KEY) is None


async def test_user_data_may_have_32_kib_and_no_byte_more(fake, driver):
    largest = SPEC.model_copy(update={"user_data": SecretBytes(("é" * 16 * 1024).encode())})
    await driver.ensure(KEY, largest)
    larger = SPEC.model_copy(update={"user_data": SecretBytes(("é" * 16 * 1024 + "x").encode())})
    with pytest.raises(ProviderInvalidError, match=r"32769 bytes.*at most 32768"):
        await driver.ensure("r-2-g1", larger)
    assert len(creations(fake)) == 1


async def test_user_data_that_the_query_cannot_hold_is_no_reason_to_try_again(fake, driver):
    """Its base64 has a character in each four that takes three in a query."""
    spec = SPEC.model_copy(update={"user_data": SecretBytes(("?" * 32 * 1024).encode())})
    with pytest.raises(ProviderInvalidError, match="too long") as refused:
        await driver.ensure(KEY, spec)
    assert not refused.value.retryable
    assert creations(fake) == []


async def test_the_newest_image_with_the_prefix_and_architecture_is_used(fake, driver):
    newest = "2026-03-01T00:00:00Z"
    fake.images += [
        Image("m-x86", "relight-base-3", "eu-central-1", "x86_64", created_at=newest),
        Image("m-other", "not-relight-base-3", "eu-central-1", "arm64", created_at=newest),
    ]
    fake.images += [
        Image(f"m-{number}", f"relight-base-{number}", "eu-central-1", "arm64")
        for number in range(150)
    ]
    created = await driver.ensure(KEY, ARM)
    assert created.architecture == "arm64"
    assert creations(fake)[0]["ImageId"] == "m-new"
    assert creations(fake)[0]["SystemDisk.Size"] == "40"


async def test_a_region_without_an_image_is_named(fake, driver):
    fake.images = [Image("m-x86", "relight-base-3", "eu-central-1", "x86_64")]
    with pytest.raises(
        ProviderInvalidError,
        match=r"eu-central-1: there is none for arm64 .* relight-base-",
    ):
        await driver.ensure(KEY, ARM)
    assert creations(fake) == []


async def test_an_image_family_is_resolved_by_the_vendor(fake, driver):
    fake.images.append(Image("m-1", "x", "cn-hangzhou", family="relight"))
    await driver.ensure(KEY, SPEC.model_copy(update={"image": "family:relight"}))
    [params] = creations(fake)
    assert params["ImageFamily"] == "relight"
    assert "ImageId" not in params


async def test_a_machine_of_the_same_name_without_our_tags_is_another_one(fake, driver):
    theirs = await driver.ensure("r-9-g1", SPEC)
    instance = fake.instances["i-00000001"]
    instance.tags, instance.params["InstanceName"] = {}, KEY
    ours = await driver.ensure(KEY, SPEC)
    assert ours.ref != theirs.ref
    assert len(fake.instances) == 2


async def test_two_machines_of_one_key_are_a_conflict(fake, driver):
    await driver.ensure(KEY, SPEC)
    await driver.ensure("r-2-g1", SPEC)
    fake.instances["i-00000002"].tags["relight-key"] = KEY
    with pytest.raises(MachineConflictError, match="i-00000001, cn-hangzhou:i-00000002"):
        await driver.find(KEY)
