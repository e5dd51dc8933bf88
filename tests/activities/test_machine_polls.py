"""What waits for machines of a region shares one listing per interval."""

import asyncio
from datetime import timedelta

import asyncssh
import pytest
from pydantic import SecretBytes
from temporalio.testing import ActivityEnvironment

from activities.machine import polls
from activities.machine.machines import MachineActivities, MachineFailedError
from devkit.chaos.provider_faults import Call, ProviderFault
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.parts import OWNER, user_data_renderer
from relight.domain.base import Origin
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.destruction import DestroyMachineInput, DestructionReason
from relight.domain.machine import AwaitMachineInput, MachineRef
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import MachineSpec, ProviderRateLimitedError
from relight.store.store import Store
from tests.support.contract_clouds import RUN
from tests.support.destroyers import destroyer_of

ORIGIN = Origin(requested_by="tester", reason="a test")
MACHINES = 50
RENDERER = user_data_renderer(asyncssh.generate_private_key("ssh-ed25519"))


class CountingCloud(FakeCloud):
    """Counts its listings by region, and its searches for one machine."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str | None] = []
        self.searched: list[str] = []

    async def list(self, region: str | None = None) -> ProviderListing:
        self.listed.append(region)
        return await super().list(region)

    async def find(self, key: str):
        self.searched.append(key)
        return await super().find(key)


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polls, "POLL", timedelta(milliseconds=20))
    monkeypatch.setattr(polls, "MAX_POLL", timedelta(milliseconds=80))


@pytest.fixture
def cloud() -> CountingCloud:
    return CountingCloud()


@pytest.fixture
def machines(cloud: CountingCloud) -> MachineActivities:
    return MachineActivities({cloud.name: cloud}, RENDERER, OWNER)


async def created(cloud: CountingCloud, count: int = MACHINES) -> list[MachineRef]:
    made = []
    for number in range(count):
        spec = MachineSpec(
            region=cloud.REGIONS[number % 2],
            user_data=SecretBytes(b""),
            owner=OWNER,
            generation=1,
            created_by=RUN,
        )
        made.append((await cloud.ensure(f"r-{number}-g1", spec)).ref)
    cloud.searched.clear()
    return made


def region_of(cloud: CountingCloud, ref: MachineRef) -> str:
    return cloud.REGIONS[int(ref.key.split("-")[1]) % 2]


async def await_all(machines: MachineActivities, cloud: CountingCloud, refs: list[MachineRef]):
    return await asyncio.gather(
        *(
            ActivityEnvironment().run(
                machines.await_machine,
                AwaitMachineInput(machine=ref, region=region_of(cloud, ref)),
            )
            for ref in refs
        )
    )


async def test_machines_that_boot_together_are_listed_once_per_region_and_interval(
    machines: MachineActivities, cloud: CountingCloud
):
    refs = await created(cloud)
    booted = await await_all(machines, cloud, refs)
    assert [each.key for each in booted] == [ref.key for ref in refs]
    # At first they boot, then they run.
    assert sorted(cloud.listed, key=str) == ["fake-east"] * 2 + ["fake-west"] * 2
    assert cloud.searched == []


async def test_machines_that_are_destroyed_together_share_the_listings(
    cloud: CountingCloud, store: Store, monkeypatch: pytest.MonkeyPatch
):
    # The gate asks the store for one after the other, so they begin some 30 ms apart.
    monkeypatch.setattr(polls, "POLL", timedelta(seconds=1))
    limits = BreakerLimits(destroyed_per_hour=MACHINES, destroyed_per_hour_in_region=MACHINES)
    destroyer = destroyer_of(store, {cloud.name: cloud}, limits=limits)
    refs = await created(cloud)
    await asyncio.gather(
        *(
            ActivityEnvironment().run(
                destroyer.destroy_machine,
                DestroyMachineInput(
                    provider=cloud.name,
                    key=ref.key,
                    provider_id=ref.provider_id,
                    region=region_of(cloud, ref),
                    reason=DestructionReason.UNDONE,
                    created_by=RUN,
                    origin=ORIGIN,
                ),
            )
            for ref in refs
        )
    )
    assert (await FakeCloud.list(cloud)).machines == ()
    assert len(cloud.listed) <= 4 * len(cloud.REGIONS)
    # Each is searched before the request, and once more when a listing has it no longer.
    assert len(cloud.searched) == 2 * MACHINES


async def test_a_rate_limit_makes_listings_rarer_and_fails_nothing(
    machines: MachineActivities, cloud: CountingCloud
):
    refs = await created(cloud, 2)
    cloud.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, Call.READ, times=2)
    assert len(await await_all(machines, cloud, refs[:1])) == 1
    assert cloud.listed == ["fake-east"] * 4


async def test_a_rate_limit_that_lasts_is_an_error_in_the_end(
    machines: MachineActivities, cloud: CountingCloud
):
    refs = await created(cloud, 1)
    cloud.provider_faults.inject(ProviderFault.TOO_MANY_REQUESTS, Call.READ, times=9)
    with pytest.raises(ProviderRateLimitedError):
        await await_all(machines, cloud, refs)
    assert cloud.listed == ["fake-east"] * 3


async def test_a_machine_that_a_listing_lacks_is_searched_before_it_counts_as_gone(
    machines: MachineActivities, cloud: CountingCloud, monkeypatch: pytest.MonkeyPatch
):
    refs = await created(cloud, 1)
    gone = MachineRef(key="r-8-g1", provider=cloud.name, provider_id="fake-99")
    with pytest.raises(MachineFailedError, match="the machine is gone"):
        await await_all(machines, cloud, [gone])
    assert cloud.searched == ["r-8-g1"]

    async def late(region: str | None = None) -> ProviderListing:
        listing = await FakeCloud.list(cloud, region)
        return listing.model_copy(update={"machines": ()})

    monkeypatch.setattr(cloud, "list", late)
    [booted] = await await_all(machines, cloud, refs)
    assert booted.key == refs[0].key


async def test_a_machine_that_another_worker_created_is_searched_by_its_id(
    machines: MachineActivities, cloud: CountingCloud, monkeypatch: pytest.MonkeyPatch
):
    """What this worker reads of its provider, by key, lacks it still."""
    [ref] = await created(cloud, 1)
    cloud.unlisted.add(ref.key)

    async def nothing(_key: str) -> None:
        return None

    monkeypatch.setattr(cloud, "find", nothing)
    [booted] = await await_all(machines, cloud, [ref])
    assert booted.provider_id == ref.provider_id
