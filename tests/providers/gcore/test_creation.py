"""What the driver creates at Gcore, from which image, and with whose credentials."""

import base64
from datetime import timedelta

import pytest
from pydantic import SecretBytes

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineStatus
from relight.providers.driver import (
    ProviderCredentialsError,
    ProviderInvalidError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.gcore.driver import GcoreDriver
from tests.providers.fakes.base import Trap
from tests.providers.gcore.specs import KEY_1, SMALL, USER_DATA, spec

# ---------------------------------------------------------------------- what is created


async def test_a_creation_has_its_tags_its_user_data_and_no_password(fake, driver):
    machine = await driver.ensure(KEY_1, spec(generation=7))
    [body] = fake.posted()
    tags = {
        "relight-owner": OWNER,
        "relight-key": KEY_1,
        "relight-generation": "007",
        "relight-created-by": "8a1b4c62-0000-4000-8000-000000000000",
    }
    assert body["tags"] == tags
    assert all(3 <= len(text) <= 255 for pair in tags.items() for text in pair)
    assert base64.b64decode(body["user_data"]).decode() == USER_DATA
    assert "password" not in body
    [volume] = body["volumes"]
    assert (volume["delete_on_termination"], volume["tags"]) == (True, tags)
    [instance] = fake.of(KEY_1)
    assert instance.user_data == USER_DATA.encode()
    assert machine.provider_id == f"76:{instance.id}"
    assert (machine.region, machine.architecture) == ("luxembourg-2", "amd64")
    assert (machine.owner, machine.generation) == (OWNER, 7)
    assert machine.status is MachineStatus.RUNNING
    assert machine.address is not None


async def test_user_data_that_is_too_large_is_refused_before_any_call(fake, driver):
    with pytest.raises(ProviderInvalidError, match="RELIGHT_SERVICE__FILES"):
        await driver.ensure(KEY_1, spec(user_data=SecretBytes(("x" * 49_152).encode())))
    assert fake.received == []
    await driver.ensure(KEY_1, spec(user_data=SecretBytes(("x" * 49_149).encode())))


async def test_an_owner_that_is_no_tag_is_refused_before_any_call(fake, driver):
    with pytest.raises(ProviderInvalidError, match="'us'"):
        await driver.ensure(KEY_1, spec(owner="us"))
    assert fake.received == []


async def test_a_machine_stands_in_the_configured_network(fake, tmp_path):
    extra = {
        "region_id": 76,
        "volume_type": "ssd_hiiops",
        "security_groups": ["sg-1"],
        "network_id": "net-1",
    }
    location = {"shapes": [SMALL], "image": "debian-12-x64", "disk_gib": 20, "subnet": "sub-1"}
    settings = fake.settings(tmp_path, locations={"luxembourg-2": {**location, "extra": extra}})
    driver = GcoreDriver(settings, poll=timedelta(milliseconds=5))
    await driver.ensure(KEY_1, spec())
    await driver.close()
    [body] = fake.posted()
    assert body["interfaces"] == [
        {
            "type": "subnet",
            "network_id": "net-1",
            "subnet_id": "sub-1",
            "security_groups": [{"id": "sg-1"}],
        }
    ]
    assert (body["volumes"][0]["size"], body["volumes"][0]["type_name"]) == (20, "ssd_hiiops")


# ---------------------------------------------------------------------- images


async def test_the_newest_image_of_the_prefix_and_architecture_is_used(fake, driver):
    await driver.ensure(KEY_1, spec())
    await driver.ensure("r-2-g1", spec(region="frankfurt-2"))
    by_id = {each.id: each for each in fake.images}
    used = [by_id[body["volumes"][0]["image_id"]] for body in fake.posted()]
    assert [(each.region, each.name) for each in used] == [
        (76, "relight-base-20261101"),
        (180, "relight-base-20261101-arm64"),
    ]
    assert [body["volumes"][0]["size"] for body in fake.posted()] == [10, 10]


async def test_an_image_is_named_by_its_whole_name_or_its_id(fake, driver):
    [image] = [each for each in fake.images if (each.region, each.min_disk) == (76, 5)]
    for key, wanted in ((KEY_1, image.name), ("r-2-g1", image.id)):
        await driver.ensure(key, spec(image=wanted))
    assert [body["volumes"][0]["image_id"] for body in fake.posted()] == [image.id] * 2


@pytest.mark.parametrize("wanted", ["relight-base", "relight-base-20261201", None])
async def test_a_region_without_the_image_is_named(fake, driver, wanted):
    if wanted is None:
        fake.images = [each for each in fake.images if each.region != 76]
    with pytest.raises(ProviderInvalidError, match=r"luxembourg-2 has no image .* for amd64"):
        await driver.ensure(KEY_1, spec(image=wanted))
    assert fake.posted() == []


# ---------------------------------------------------------------------- credentials and rates


@pytest.mark.parametrize("key", ["wrong", "4242"])
async def test_a_wrong_key_is_refused_and_no_part_of_it_is_shown(fake, tmp_path, key):
    driver = GcoreDriver(fake.settings(tmp_path, key=key))
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list()
    assert not refused.value.retryable
    assert key not in str(refused.value)
    await driver.close()


async def test_a_key_without_rights_is_refused(fake, driver):
    fake.traps.add(Trap.NO_PERMISSION)
    for call in (driver.list(), driver.find(KEY_1), driver.ensure(KEY_1, spec())):
        with pytest.raises(ProviderCredentialsError, match="permission"):
            await call


async def test_a_rate_limit_says_how_long_to_wait(fake, driver):
    fake.retry_after = timedelta(seconds=90)
    fake.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, Call.CREATE)
    with pytest.raises(ProviderRateLimitedError) as limited:
        await driver.ensure(KEY_1, spec())
    assert limited.value.retry_after == timedelta(seconds=90)
    fake.received.clear()
    with pytest.raises(ProviderRateLimitedError, match="not sent"):
        await driver.ensure(KEY_1, spec())
    assert fake.posted() == []


async def test_a_task_that_is_not_there_yet_is_asked_for_again(driver):
    with pytest.raises(ProviderUnavailableError, match="could not be found"):
        await driver._api.task(f"create {KEY_1}", "no-such-task")
