"""What every provider's driver does: the same sentences, said of each."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from pydantic import SecretStr

from messages.machine import Machine, MachineRef, MachineStatus
from providers.driver import MachineSpec, ProviderDriver
from providers.errors import MachineConflictError, ProviderCredentialsError, ProviderError
from providers.lab import LabDriver
from starter.waiting import wait_until
from tests.support.fake_cloud import FakeCloud

DEADLINE = timedelta(seconds=60)


class Subject:
    """A driver under the contract, with a region that it has and a key that nobody uses."""

    def __init__(self, driver: ProviderDriver, region: str) -> None:
        self.driver = driver
        self.region = region
        self.spec = MachineSpec(region=region, user_data=SecretStr("#cloud-config\n{}\n"))

    def new_key(self) -> str:
        return f"contract-{uuid.uuid4().hex[:8]}-g1"

    async def until_running(self, key: str) -> Machine:
        async def booted() -> bool:
            machine = await self.driver.find(key)
            assert machine is not None
            return machine.status is not MachineStatus.PROVISIONING

        await wait_until(booted, DEADLINE)
        machine = await self.driver.find(key)
        assert machine is not None
        return machine

    async def until_gone(self, key: str) -> None:
        async def gone() -> bool:
            return await self.driver.find(key) is None

        await wait_until(gone, DEADLINE)


@pytest.fixture(params=["fake", pytest.param("lab", marks=pytest.mark.lab)])
async def subject(request):
    if request.param == "fake":
        driver: ProviderDriver = FakeCloud()
        region = FakeCloud.regions[0]
    else:
        lab = request.getfixturevalue("lab")
        driver, region = LabDriver(lab.api_url, SecretStr(lab.token)), "lab-east"
    subject = Subject(driver, region)
    yield subject
    for machine in await driver.list():
        if machine.key.startswith("contract-"):
            await driver.destroy(machine.ref)
            await subject.until_gone(machine.key)
    await driver.close()


async def test_a_region_tells_its_architecture_and_an_unknown_one_is_none(subject):
    region = await subject.driver.region(subject.region)
    assert region is not None
    assert (region.provider, region.name) == (subject.driver.name, subject.region)
    assert region.architecture in {"amd64", "arm64"}
    assert await subject.driver.region("nowhere") is None


async def test_a_machine_is_created_runs_is_listed_and_goes(subject):
    key = subject.new_key()
    created = await subject.driver.ensure(key, subject.spec)
    assert (created.key, created.region, created.provider) == (
        key,
        subject.region,
        subject.driver.name,
    )
    running = await subject.until_running(key)
    assert running.status is MachineStatus.RUNNING
    assert running.address is not None
    assert running.ref in [machine.ref for machine in await subject.driver.list()]

    assert await subject.driver.destroy(running.ref)
    await subject.until_gone(key)
    assert key not in [machine.key for machine in await subject.driver.list()]


async def test_creating_twice_adopts_the_first(subject):
    key = subject.new_key()
    first = await subject.driver.ensure(key, subject.spec)
    second = await subject.driver.ensure(key, subject.spec)
    assert second.ref == first.ref
    assert [machine.key for machine in await subject.driver.list()].count(key) == 1


async def test_creating_at_once_from_two_places_makes_one_machine(subject):
    key = subject.new_key()
    answers = await asyncio.gather(
        *(subject.driver.ensure(key, subject.spec) for _ in range(4)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, ProviderError) and answer.retryable for answer in refused)
    assert [machine.key for machine in await subject.driver.list()].count(key) == 1


async def test_destroying_what_is_absent_succeeds(subject):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    await subject.driver.destroy(machine.ref)
    await subject.until_gone(key)
    assert await subject.driver.destroy(machine.ref) is False


async def test_destroying_an_id_under_another_key_is_refused_and_destroys_nothing(subject):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    wrong = MachineRef(
        key=subject.new_key(), provider=machine.provider, provider_id=machine.provider_id
    )
    with pytest.raises(MachineConflictError):
        await subject.driver.destroy(wrong)
    still_there = await subject.driver.find(key)
    assert still_there is not None
    assert still_there.status is not MachineStatus.DELETING


@pytest.mark.lab
async def test_a_wrong_token_is_told_apart_and_not_retryable(lab):
    driver = LabDriver(lab.api_url, SecretStr("wrong"))
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list()
    assert not refused.value.retryable
    assert "wrong" not in str(refused.value)
    await driver.close()
