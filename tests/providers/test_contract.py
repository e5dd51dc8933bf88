"""The contract of every provider's driver."""

import asyncio
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.parts import OWNER
from relight.domain.machine import MachineAtProvider, MachineRef, MachineStatus
from relight.providers.driver import (
    MachineConflictError,
    ProviderAnswerError,
    ProviderCredentialsError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    UnknownLocationError,
    region_named,
)
from relight.providers.lab import LabDriver
from starter.local.children import wait_until
from tests.support.contract_clouds import (
    CLOUDS,
    ContractCloud,
    contract_cloud,
)


@pytest.fixture(params=CLOUDS)
async def subject(request):
    async with contract_cloud(request) as cloud:
        yield cloud


async def test_the_regions_are_listed_by_name_each_with_its_architecture(subject):
    regions = await subject.driver.regions()
    names = [each.name for each in regions]
    assert subject.region in names
    assert names == sorted(names)
    assert {each.provider for each in regions} == {subject.driver.name}
    assert {each.architecture for each in regions} <= {"amd64", "arm64"}


async def test_an_unknown_region_is_refused_and_the_known_ones_are_named(subject):
    assert (await region_named(subject.driver, subject.region)).name == subject.region
    with pytest.raises(UnknownLocationError, match=subject.region):
        await region_named(subject.driver, "nowhere")


async def test_a_machine_is_created_runs_is_listed_and_is_destroyed(subject):
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
    assert await subject.driver.get(running.provider_id) == running
    assert await subject.driver.get("no-such-id") is None

    assert await subject.driver.destroy(running.ref)
    await subject.until_gone(key)
    assert key not in await subject.keys()
    assert await subject.driver.get(running.provider_id) is None


async def test_creating_twice_adopts_the_first(subject):
    key = subject.new_key()
    first = await subject.driver.ensure(key, subject.spec)
    second = await subject.driver.ensure(key, subject.spec)
    assert second.ref == first.ref
    assert (await subject.keys()).count(key) == 1


async def test_concurrent_creations_make_one_machine(subject):
    if subject.fake is not None and not subject.fake.refuses_twins:
        pytest.skip("one creator per key is a matter of the workflow's id here")
    key = subject.new_key()
    answers = await asyncio.gather(
        *(subject.driver.ensure(key, subject.spec) for _ in range(4)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(answer, ProviderError) and answer.retryable for answer in refused)
    assert (await subject.keys()).count(key) == 1


async def test_destroying_an_absent_machine_succeeds(subject):
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


async def test_a_machine_has_owner_generation_and_creation_time(subject):
    # Vendors report whole seconds.
    key, before = subject.new_key(), datetime.now(UTC).replace(microsecond=0)
    created = await subject.driver.ensure(key, subject.spec_of(generation=7))
    for seen in (created, await subject.driver.find(key), await listed(subject, key)):
        assert seen is not None
        assert (seen.owner, seen.generation) == (OWNER, 7)
        assert seen.created_at is not None
        assert before - subject.rounding <= seen.created_at <= datetime.now(UTC)


async def test_a_listing_has_its_time_and_is_complete(subject):
    before = datetime.now(UTC)
    listing = await subject.driver.list()
    assert before <= listing.asked_at <= datetime.now(UTC)
    assert (listing.provider, listing.complete) == (subject.driver.name, True)
    keys = [machine.key for machine in listing.machines]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("tags", "text"),
    [({"owner": "another-owner"}, "another-owner"), ({"generation": 2}, "generation 2")],
)
async def test_a_machine_of_another_fleet_or_generation_is_never_adopted(subject, tags, text):
    key = subject.new_key()
    first = await subject.driver.ensure(key, subject.spec_of(**tags))
    with pytest.raises(MachineConflictError, match=text) as refused:
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


@pytest.mark.parametrize(
    "provider_fault",
    [
        *(ProviderFault.REPLY_LOST, ProviderFault.UNREADABLE),
        *(ProviderFault.UNANSWERED, ProviderFault.SERVER_ERROR),
    ],
)
async def test_a_creation_without_an_answer_is_repeated_and_makes_one_machine(
    subject, provider_fault
):
    key = subject.new_key()
    subject.provider_faults.inject(provider_fault, Call.CREATE)
    with pytest.raises(ProviderUnavailableError) as unanswered:
        await subject.driver.ensure(key, subject.spec)
    assert unanswered.value.retryable
    done = provider_fault in {ProviderFault.REPLY_LOST, ProviderFault.UNREADABLE}
    assert (await subject.keys()).count(key) == done
    await subject.driver.ensure(key, subject.spec)
    assert (await subject.keys()).count(key) == 1


async def test_a_page_in_place_of_an_answer_is_no_answer(subject):
    key = subject.new_key()
    await subject.driver.ensure(key, subject.spec)
    for read in (subject.driver.list, lambda: subject.driver.find(key)):
        subject.provider_faults.inject(ProviderFault.UNREADABLE, Call.READ)
        with pytest.raises(ProviderAnswerError) as page:
            await read()
        assert page.value.retryable
    assert key in await subject.keys()


@pytest.mark.parametrize("call", Call)
async def test_a_rate_limit_is_a_retryable_error(subject, call):
    key, another = subject.new_key(), subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)

    async def request() -> None:
        match call:
            case Call.READ:
                await subject.driver.list()
            case Call.CREATE:
                await subject.driver.ensure(another, subject.spec)
            case Call.DESTROY:
                await subject.driver.destroy(machine.ref)

    subject.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, call)
    with pytest.raises(ProviderRateLimitedError) as refused:
        await request()
    assert refused.value.retryable
    await request()


async def test_a_deletion_that_was_accepted_and_not_done_is_repeated(subject):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    subject.provider_faults.inject(ProviderFault.ACCEPTED_NOT_DONE, Call.DESTROY, times=2)
    for _ in range(2):
        assert await subject.driver.destroy(machine.ref)
        assert await subject.driver.find(key) is not None
    assert await subject.driver.destroy(machine.ref)
    await subject.until_gone(key)


@pytest.mark.parametrize("fault", [ProviderFault.REPLY_LOST, ProviderFault.UNREADABLE])
async def test_a_deletion_whose_answer_was_lost_still_happens(subject, fault):
    key = subject.new_key()
    machine = await subject.driver.ensure(key, subject.spec)
    subject.provider_faults.inject(fault, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError):
        await subject.driver.destroy(machine.ref)
    await subject.until_gone(key)


async def test_a_console_is_available_while_the_machine_exists(subject):
    if subject.fake is not None and not subject.fake.has_console:
        pytest.skip("the vendor gives no console")
    key = subject.new_key()
    machine = (await subject.driver.ensure(key, subject.spec)).ref
    await subject.until_running(key)

    async def available() -> bool:
        return bool(await subject.driver.console(machine))

    await wait_until(available, subject.deadline)
    await subject.driver.destroy(machine)
    await subject.until_gone(key)
    assert await subject.driver.console(machine) is None


async def listed(subject: ContractCloud, key: str) -> MachineAtProvider:
    machines = (await subject.driver.list()).machines
    [found] = [machine for machine in machines if machine.key == key]
    return found


@pytest.mark.lab
async def test_a_wrong_token_is_not_retryable(lab):
    driver = LabDriver(lab.api_url, SecretStr("wrong"))
    with pytest.raises(ProviderCredentialsError) as refused:
        await driver.list()
    assert not refused.value.retryable
    assert "wrong" not in str(refused.value)
    await driver.close()
