"""What every provider's driver does: the same sentences, said of each."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from devkit.chaos.troubles import Call, Trouble
from relight.domain.machine import MachineRef, MachineStatus
from relight.domain.sweep.sweep import MachineAtProvider
from relight.providers.driver import (
    MachineConflictError,
    ProviderCredentialsError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from relight.providers.lab import LabDriver
from starter.local.children import wait_until
from tests.support.contract_clouds import (
    CLOUDS,
    DEADLINE,
    ContractCloud,
    contract_cloud,
)
from tests.support.installation import OWNER


@pytest.fixture(params=CLOUDS)
async def subject(request):
    async with contract_cloud(request) as cloud:
        yield cloud


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
    assert running in (await subject.driver.list()).machines

    assert await subject.driver.destroy(running.ref)
    await subject.until_gone(key)
    assert key not in await subject.keys()


async def test_creating_twice_adopts_the_first(subject):
    key = subject.new_key()
    first = await subject.driver.ensure(key, subject.spec)
    second = await subject.driver.ensure(key, subject.spec)
    assert second.ref == first.ref
    assert (await subject.keys()).count(key) == 1


async def test_creating_at_once_from_two_places_makes_one_machine(subject):
    key = subject.new_key()
    answers = await asyncio.gather(
        *(subject.driver.ensure(key, subject.spec) for _ in range(4)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, ProviderError) and answer.retryable for answer in refused)
    assert (await subject.keys()).count(key) == 1


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


async def test_a_machine_bears_our_tag_its_generation_and_the_time_of_its_creation(subject):
    key, before = subject.new_key(), datetime.now(UTC)
    created = await subject.driver.ensure(key, subject.spec_of(generation=7))
    for seen in (created, await subject.driver.find(key), await listed(subject, key)):
        assert seen is not None
        assert (seen.owner, seen.generation) == (OWNER, 7)
        assert seen.created_at is not None
        assert before <= seen.created_at <= datetime.now(UTC)


async def test_a_listing_says_when_it_was_asked_for_and_that_all_of_it_came(subject):
    before = datetime.now(UTC)
    listing = await subject.driver.list()
    assert before <= listing.asked_at <= datetime.now(UTC)
    assert (listing.provider, listing.complete) == (subject.driver.name, True)
    keys = [machine.key for machine in listing.machines]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("tags", "said"),
    [({"owner": "somebody-else"}, "somebody-else"), ({"generation": 2}, "generation 2")],
)
async def test_a_machine_of_another_fleet_or_generation_is_never_adopted(subject, tags, said):
    key = subject.new_key()
    first = await subject.driver.ensure(key, subject.spec_of(**tags))
    with pytest.raises(MachineConflictError, match=said) as refused:
        await subject.driver.ensure(key, subject.spec)
    assert not refused.value.retryable
    assert first.provider_id in str(refused.value)
    found = await subject.driver.find(key)
    assert found is not None
    assert (found.ref, found.owner, found.generation) == (
        first.ref,
        first.owner,
        first.generation,
    )
    assert (await subject.keys()).count(key) == 1


@pytest.mark.parametrize("trouble", [Trouble.REPLY_LOST, Trouble.UNANSWERED, Trouble.BROKEN])
async def test_a_creation_without_an_answer_is_asked_for_again_and_makes_one_machine(
    subject, trouble
):
    key = subject.new_key()
    subject.troubles.bring(trouble, Call.CREATE)
    with pytest.raises(ProviderUnavailableError) as unanswered:
        await subject.driver.ensure(key, subject.spec)
    assert unanswered.value.retryable
    assert (await subject.keys()).count(key) == (trouble is Trouble.REPLY_LOST)
    await subject.driver.ensure(key, subject.spec)
    assert (await subject.keys()).count(key) == 1


@pytest.mark.parametrize("call", Call)
async def test_a_provider_that_asks_for_patience_is_told_apart(subject, call):
    key, another = subject.new_key(), subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)

    async def ask() -> None:
        match call:
            case Call.LOOK:
                await subject.driver.list()
            case Call.CREATE:
                await subject.driver.ensure(another, subject.spec)
            case Call.DESTROY:
                await subject.driver.destroy(machine.ref)

    subject.troubles.bring(Trouble.TOO_MANY, call)
    with pytest.raises(ProviderRateLimitedError) as refused:
        await ask()
    assert refused.value.retryable
    await ask()


async def test_an_end_that_was_accepted_and_forgotten_comes_when_it_is_asked_for_again(subject):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    subject.troubles.bring(Trouble.NOT_DONE, Call.DESTROY, times=2)
    for _ in range(2):
        assert await subject.driver.destroy(machine.ref)
        assert await subject.driver.find(key) is not None
    assert await subject.driver.destroy(machine.ref)
    await subject.until_gone(key)


async def test_an_end_whose_answer_was_lost_comes_all_the_same(subject):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    subject.troubles.bring(Trouble.REPLY_LOST, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.destroy(machine.ref)
    await subject.until_gone(key)


async def test_a_console_is_told_while_the_machine_is_there(subject):
    key = subject.new_key()
    machine = (await subject.driver.ensure(key, subject.spec)).ref
    await subject.until_running(key)

    async def told() -> bool:
        return bool(await subject.driver.console(machine))

    await wait_until(told, DEADLINE)
    await subject.driver.destroy(machine)
    await subject.until_gone(key)
    assert await subject.driver.console(machine) is None


async def listed(subject: ContractCloud, key: str) -> MachineAtProvider:
    machines = (await subject.driver.list()).machines
    [found] = [machine for machine in machines if machine.key == key]
    return found


@pytest.mark.lab
async def test_a_wrong_token_is_told_apart_and_not_retryable(lab):
    driver = LabDriver(lab.api_url, SecretStr("wrong"))
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list()
    assert not refused.value.retryable
    assert "wrong" not in str(refused.value)
    await driver.close()
