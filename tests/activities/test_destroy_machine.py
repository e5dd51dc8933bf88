"""Destruction of machines: exactly the named machine is destroyed, and it is really gone."""

from datetime import timedelta

import asyncssh
import pytest
from temporalio.testing import ActivityEnvironment

import activities.machine.departure
import activities.machine.destruction
import activities.machine.polls
from activities.machine.departure import MachineStillAnswersError
from activities.machine.destruction import MachineNotOursError
from activities.machine.machines import MachineActivities
from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.parts import OWNER, user_data_renderer
from relight.domain.base import Origin
from relight.domain.destruction import DestroyMachineInput, DestructionReason, MachineDestroyed
from relight.domain.machine import (
    CreateMachineInput,
    Machine,
    MachinePlan,
    MachineStatus,
)
from relight.hosts.host_key_probe import HostKeyProbe, ShownKey
from relight.providers.driver import ProviderUnavailableError
from relight.providers.openstack.driver import OpenStackDriver
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.gcore_project import TaskTrap
from tests.providers.fakes.openstack import OpenStackFake
from tests.support.contract_clouds import (
    CLOUDS,
    RUN,
    ContractCloud,
    contract_cloud,
)
from tests.support.destroyers import destroyer_of
from tests.support.lab import Lab

ORIGIN = Origin(requested_by="tester", reason="a test")
USER_DATA = user_data_renderer(asyncssh.generate_private_key("ssh-ed25519"))


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activities.machine.polls, "POLL", timedelta(milliseconds=100))


@pytest.fixture(params=CLOUDS)
async def cloud(request, store):
    async with contract_cloud(request) as cloud:
        cloud.store = store
        yield cloud


def machines_at(cloud: ContractCloud) -> MachineActivities:
    return MachineActivities({cloud.driver.name: cloud.driver}, USER_DATA, OWNER)


async def destroy(
    cloud: ContractCloud,
    key: str,
    provider_id: str | None = None,
    generation: int | None = None,
    beats: list[object] | None = None,
    created_by: str = RUN,
    host_keys: HostKeyProbe | None = None,
) -> MachineDestroyed:
    """Destroy what a run has created, so that the gate needs no other evidence."""
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details) if beats is not None else None
    return await environment.run(
        destroyer_of(
            cloud.store, {cloud.driver.name: cloud.driver}, host_keys=host_keys
        ).destroy_machine,
        DestroyMachineInput(
            provider=cloud.driver.name,
            key=key,
            provider_id=provider_id,
            generation=generation,
            reason=DestructionReason.UNDONE,
            created_by=created_by,
            origin=ORIGIN,
        ),
    )


async def assert_untouched(cloud: ContractCloud, key: str) -> None:
    found = await cloud.driver.find(key)
    assert found is not None
    assert found.status is not MachineStatus.DELETING
    assert Call.DESTROY not in cloud.provider_faults.calls


@pytest.mark.parametrize("known", [True, False])
async def test_the_named_machine_is_destroyed(cloud, known):
    key = cloud.new_key()
    machine = await cloud.driver.ensure(key, cloud.spec)
    named = {"provider_id": machine.provider_id, "generation": 1} if known else {}
    assert await destroy(cloud, key, **named) == MachineDestroyed(key=key, was_present=True)
    assert await cloud.driver.find(key) is None
    assert cloud.provider_faults.calls.count(Call.DESTROY) == 1


async def test_an_absent_machine_is_success(cloud):
    key = cloud.new_key()
    assert await destroy(cloud, key) == MachineDestroyed(key=key, was_present=False)
    assert Call.DESTROY not in cloud.provider_faults.calls


@pytest.mark.parametrize(
    ("tags", "named", "message"),
    [
        ({"owner": "somebody-else"}, {}, "the ownership tag somebody-else, ours is"),
        ({"generation": 2}, {}, "its generation is 2, on record is 1"),
        ({}, {"generation": 2}, "its generation is 1, on record is 2"),
        ({}, {"provider_id": "another-id"}, "on record is another-id"),
    ],
)
async def test_a_machine_that_differs_in_one_value_is_left_alone(cloud, tags, named, message):
    key = cloud.new_key()
    await cloud.driver.ensure(key, cloud.spec_of(**tags))
    with pytest.raises(MachineNotOursError, match=message) as refused:
        await destroy(cloud, key, **named)
    assert (refused.value.kind, refused.value.retryable) == ("machine-not-ours", False)
    assert key in str(refused.value)
    await assert_untouched(cloud, key)


@pytest.mark.lab
@pytest.mark.parametrize("cloud", ["lab"], indirect=True)
@pytest.mark.parametrize("tags", [{}, {"owner": OWNER}, {"owner": OWNER, "generation": "one"}])
async def test_a_machine_with_incomplete_tags_is_left_alone(cloud, lab: Lab, tags):
    key = cloud.new_key()
    body = {"label": key, "region": cloud.region, "tags": tags}
    with lab.client() as client:
        client.post("/v1/machines", json=body).raise_for_status()
    with pytest.raises(MachineNotOursError):
        await destroy(cloud, key)
    await assert_untouched(cloud, key)


async def test_a_lost_request_is_repeated_until_the_machine_is_gone(cloud, monkeypatch):
    monkeypatch.setattr(
        activities.machine.destruction, "REPEAT_DESTROY_AFTER", timedelta(milliseconds=500)
    )
    key = cloud.new_key()
    beats: list[object] = []
    await cloud.driver.ensure(key, cloud.spec)
    cloud.provider_faults.inject(ProviderFault.ACCEPTED_NOT_DONE, Call.DESTROY, times=2)
    assert (await destroy(cloud, key, beats=beats)).was_present
    assert await cloud.driver.find(key) is None
    assert cloud.provider_faults.calls.count(Call.DESTROY) == 3
    # There is a heartbeat for every poll, and there are more polls than requests.
    assert len(beats) > 3


async def test_a_machine_that_is_being_deleted_is_awaited_without_a_request(cloud):
    key = cloud.new_key()
    machine = await cloud.driver.ensure(key, cloud.spec)
    await cloud.driver.destroy(machine.ref)
    listed = await cloud.driver.find(key)
    await destroy(cloud, key)
    # Alibaba Cloud has no status for it, so its machine may be requested once more.
    is_seen = listed is None or listed.status is MachineStatus.DELETING
    assert cloud.provider_faults.calls.count(Call.DESTROY) <= (1 if is_seen else 2)


@pytest.mark.parametrize(
    "provider_fault",
    [ProviderFault.REPLY_LOST, ProviderFault.SERVER_ERROR, ProviderFault.TOO_MANY_REQUESTS],
)
async def test_a_request_without_an_answer_is_left_to_the_next_attempt(cloud, provider_fault):
    key = cloud.new_key()
    await cloud.driver.ensure(key, cloud.spec)
    cloud.provider_faults.inject(provider_fault, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError) as unanswered:
        await destroy(cloud, key)
    assert unanswered.value.retryable
    await destroy(cloud, key)
    assert await cloud.driver.find(key) is None


class Answering:
    """A host that shows these keys, one after the other, and the last one from then on."""

    def __init__(self, *shown: ShownKey) -> None:
        self.shown = list(shown)
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, machine_key: str, address: str) -> ShownKey:
        self.asked.append((machine_key, address))
        return self.shown.pop(0) if len(self.shown) > 1 else self.shown[0]


ON_THE_FAKE = pytest.mark.parametrize("cloud", ["fake"], indirect=True)


@ON_THE_FAKE
@pytest.mark.parametrize(
    ("shown", "times"),
    [
        ([ShownKey.NONE], 1),
        ([ShownKey.OTHER], 1),
        ([ShownKey.OWN, ShownKey.OWN, ShownKey.NONE], 3),
        ([ShownKey.OWN, ShownKey.UNCLEAR, ShownKey.OWN, ShownKey.OTHER], 4),
        ([ShownKey.UNCLEAR], 3),
    ],
)
async def test_a_machine_is_gone_once_no_host_shows_its_key(cloud, shown, times):
    key, host = cloud.new_key(), Answering(*shown)
    beats: list[object] = []
    await cloud.driver.ensure(key, cloud.spec)
    machine = await cloud.until_running(key)
    assert await destroy(cloud, key, beats=beats, host_keys=host) == MachineDestroyed(
        key=key, was_present=True
    )
    assert host.asked == [(key, machine.address)] * times
    waits = [beat for beat in beats if "still answers" in str(beat)]
    assert waits == [f"absent, and the host at {machine.address} still answers"] * (times - 1)
    assert cloud.provider_faults.calls.count(Call.DESTROY) == 1


@ON_THE_FAKE
async def test_a_machine_that_a_search_by_key_lacks_is_destroyed_by_its_id(cloud, monkeypatch):
    """Another worker has just created it, so this one's searches lack it."""
    key = cloud.new_key()
    machine = await cloud.driver.ensure(key, cloud.spec)
    cloud.driver.unlisted.add(key)

    async def nothing(_key: str) -> None:
        return None

    monkeypatch.setattr(cloud.driver, "find", nothing)
    assert (await destroy(cloud, key, provider_id=machine.provider_id)).was_present
    assert await cloud.driver.get(machine.provider_id) is None


@pytest.mark.parametrize("cloud", ["gcore"], indirect=True)
async def test_the_volume_of_a_creation_that_failed_late_goes_with_its_key(cloud):
    fake, key = cloud.fake, cloud.new_key()
    fake.task_traps.add(TaskTrap.FAILS_WITH_VOLUME)
    fake.works = timedelta(minutes=5)
    with pytest.raises(ProviderUnavailableError):
        await cloud.driver.ensure(key, cloud.spec)
    fake.advance(fake.works)
    fake.settle()
    assert [each.kind for each in fake.bill.running()] == [Billed.VOLUME]
    fake.works = timedelta()
    assert not (await destroy(cloud, key)).was_present
    assert fake.bill.running() == []


async def test_the_floating_address_of_a_machine_that_somebody_deleted_goes_too(tmp_path, store):
    fake = OpenStackFake()
    with fake.served():
        settings = fake.settings(tmp_path, extra={"floating_network": "public"})
        driver = OpenStackDriver(settings, poll=timedelta(milliseconds=20))
        cloud = ContractCloud(driver, fake.region, fake.provider_faults, fake)
        cloud.store = store
        key = cloud.new_key()
        machine = await driver.ensure(key, cloud.spec)
        assert len(fake.floating) == 1
        del fake.servers[machine.provider_id]
        assert not (await destroy(cloud, key, provider_id=machine.provider_id)).was_present
        assert fake.floating == {}
        await driver.close()


@ON_THE_FAKE
async def test_a_machine_that_never_had_an_address_is_not_connected_to(cloud):
    host = Answering(ShownKey.OWN)
    assert not (await destroy(cloud, cloud.new_key(), host_keys=host)).was_present
    assert host.asked == []


@ON_THE_FAKE
async def test_a_machine_that_goes_on_without_its_provider_is_a_fault_until_it_ends(
    cloud, monkeypatch
):
    monkeypatch.setattr(activities.machine.departure, "UNREACHABLE_WITHIN", timedelta(seconds=0.3))
    key, host = cloud.new_key(), Answering(ShownKey.OWN)
    await cloud.driver.ensure(key, cloud.spec)
    machine = await cloud.until_running(key)
    # The later attempts know the machine's address only by the event of its destruction.
    for _ in range(2):
        with pytest.raises(MachineStillAnswersError) as unfinished:
            await destroy(cloud, key, host_keys=host)
        error = unfinished.value
        assert (error.kind, error.retryable) == ("machine-still-answers", False)
        for word in (key, str(machine.address), f"`relight machine remove {key}`"):
            assert word in str(error)
        assert cloud.store.events.list(kind="machine-destroyed") == []
    # A person is told once a day.
    [told] = cloud.store.events.list(kind="destruction-refused")
    assert (told.machine_key, told.fault_kind) == (key, "machine-not-destroyed")
    host.shown = [ShownKey.NONE]
    assert not (await destroy(cloud, key, host_keys=host)).was_present
    assert set(host.asked) == {(key, machine.address)}


@pytest.mark.parametrize("number", [1, 12])
async def test_a_created_machine_can_be_destroyed(cloud, number):
    """Also a pool machine, whose key ends with only its number."""
    key = f"{cloud.new_key().removesuffix('-g1')}-{number}"
    plan = MachinePlan(
        key=key,
        route_id=None,
        track=None,
        provider=cloud.driver.name,
        region=cloud.region,
        release_version="0.0.74",
    )
    created = await ActivityEnvironment().run(
        machines_at(cloud).create_machine,
        CreateMachineInput(plan=plan, user_data_sha256=USER_DATA.render(plan).sha256),
    )
    assert type(created) is Machine
    found = await cloud.driver.find(key)
    assert found is not None
    assert (found.owner, found.generation, found.ref) == (OWNER, number, created.ref)
    run = ActivityEnvironment().info.workflow_run_id
    assert run is not None
    assert found.created_by == run
    destroyed = await destroy(cloud, key, created.provider_id, created_by=run)
    assert (destroyed.was_present, destroyed.refusal) == (True, None)
