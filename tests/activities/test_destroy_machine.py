"""No machine is destroyed but the very one that is named, and that one surely is."""

from datetime import timedelta

import asyncssh
import pytest
from temporalio.testing import ActivityEnvironment

import activities.machine.machines
from activities.machine.machines import MachineActivities, MachineNotOursError
from devkit.chaos.troubles import Call, Trouble
from relight.domain.machine import (
    CreateMachineInput,
    DestroyMachineInput,
    Machine,
    MachineDestroyed,
    MachinePlan,
    MachineStatus,
)
from relight.providers.driver import ProviderUnavailableError
from tests.support.contract_clouds import (
    CLOUDS,
    ContractCloud,
    contract_cloud,
)
from tests.support.installation import OWNER, user_data_renderer
from tests.support.lab import Lab

USER_DATA = user_data_renderer(asyncssh.generate_private_key("ssh-ed25519"))


@pytest.fixture(params=CLOUDS)
async def cloud(request):
    async with contract_cloud(request) as cloud:
        yield cloud


def machines_at(cloud: ContractCloud) -> MachineActivities:
    return MachineActivities({cloud.driver.name: cloud.driver}, USER_DATA, OWNER)


async def destroy(
    cloud: ContractCloud,
    key: str,
    provider_id: str | None = None,
    generation: int | None = None,
    beats: list[object] | None = None,
) -> MachineDestroyed:
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *said: beats.extend(said) if beats is not None else None
    return await environment.run(
        machines_at(cloud).destroy_machine,
        DestroyMachineInput(
            provider=cloud.driver.name, key=key, provider_id=provider_id, generation=generation
        ),
    )


async def assert_untouched(cloud: ContractCloud, key: str) -> None:
    found = await cloud.driver.find(key)
    assert found is not None
    assert found.status is not MachineStatus.DELETING
    assert Call.DESTROY not in cloud.troubles.asked


@pytest.mark.parametrize("known", [True, False])
async def test_the_machine_that_is_named_goes(cloud, known):
    key = cloud.new_key()
    machine = await cloud.driver.ensure(key, cloud.spec)
    named = {"provider_id": machine.provider_id, "generation": 1} if known else {}
    assert await destroy(cloud, key, **named) == MachineDestroyed(key=key, was_present=True)
    assert await cloud.driver.find(key) is None
    assert cloud.troubles.asked.count(Call.DESTROY) == 1


async def test_one_that_is_not_there_is_gone_already(cloud):
    key = cloud.new_key()
    assert await destroy(cloud, key) == MachineDestroyed(key=key, was_present=False)
    assert Call.DESTROY not in cloud.troubles.asked


@pytest.mark.parametrize(
    ("tags", "named", "said"),
    [
        ({"owner": "somebody-else"}, {}, "the ownership tag somebody-else, ours is"),
        ({"generation": 2}, {}, "its generation is 2, on record is 1"),
        ({}, {"generation": 2}, "its generation is 1, on record is 2"),
        ({}, {"provider_id": "another-id"}, "on record is another-id"),
    ],
)
async def test_one_that_differs_in_one_name_alone_is_left_alone(cloud, tags, named, said):
    key = cloud.new_key()
    await cloud.driver.ensure(key, cloud.spec_of(**tags))
    with pytest.raises(MachineNotOursError, match=said) as refused:
        await destroy(cloud, key, **named)
    assert (refused.value.kind, refused.value.retryable) == ("machine-not-ours", False)
    assert key in str(refused.value)
    await assert_untouched(cloud, key)


@pytest.mark.lab
@pytest.mark.parametrize("cloud", ["lab"], indirect=True)
@pytest.mark.parametrize("tags", [{}, {"owner": OWNER}, {"owner": OWNER, "generation": "one"}])
async def test_one_whose_tags_say_too_little_is_left_alone(cloud, lab: Lab, tags):
    key = cloud.new_key()
    body = {"label": key, "region": cloud.region, "tags": tags}
    with lab.client() as client:
        client.post("/v1/machines", json=body).raise_for_status()
    with pytest.raises(MachineNotOursError):
        await destroy(cloud, key)
    await assert_untouched(cloud, key)


async def test_an_end_that_was_forgotten_is_asked_for_until_it_comes(cloud, monkeypatch):
    monkeypatch.setattr(activities.machine.machines, "ASK_AGAIN_AFTER", timedelta(milliseconds=500))
    key = cloud.new_key()
    beats: list[object] = []
    await cloud.driver.ensure(key, cloud.spec)
    cloud.troubles.bring(Trouble.NOT_DONE, Call.DESTROY, times=2)
    assert (await destroy(cloud, key, beats=beats)).was_present
    assert await cloud.driver.find(key) is None
    assert cloud.troubles.asked.count(Call.DESTROY) == 3
    # It says at every look that it is alive, and it looked more often than it asked.
    assert len(beats) > 3


async def test_an_end_that_is_under_way_is_waited_for_and_not_asked_for(cloud):
    key = cloud.new_key()
    machine = await cloud.driver.ensure(key, cloud.spec)
    await cloud.driver.destroy(machine.ref)
    await destroy(cloud, key)
    assert cloud.troubles.asked.count(Call.DESTROY) == 1


@pytest.mark.parametrize("trouble", [Trouble.REPLY_LOST, Trouble.BROKEN, Trouble.TOO_MANY])
async def test_an_end_without_an_answer_is_for_the_next_attempt(cloud, trouble):
    key = cloud.new_key()
    await cloud.driver.ensure(key, cloud.spec)
    cloud.troubles.bring(trouble, Call.DESTROY)
    with pytest.raises(ProviderUnavailableError) as unanswered:
        await destroy(cloud, key)
    assert unanswered.value.retryable
    await destroy(cloud, key)
    assert await cloud.driver.find(key) is None


@pytest.mark.parametrize("number", [1, 12])
async def test_a_machine_that_was_created_is_one_that_may_be_destroyed(cloud, number):
    """A pool's machine too, whose key ends with its number alone."""
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
    assert (await destroy(cloud, key, created.provider_id)).was_present
