"""A limit holds for all workers together: each has its own connection to the same store."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from temporalio.testing import ActivityEnvironment

from activities import fleet_limit
from activities.fleet_limit import FleetLimit
from activities.machine.machines import MachineActivities
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.parts import OWNER, user_data_renderer
from relight.domain.machine import CreateMachineInput, MachinePlan
from relight.domain.permit import Granted
from relight.domain.release import DebFile
from relight.providers.driver import MachineSpec
from relight.store.store import Store, open_upgraded_store
from starter.local.children import wait_until

LIMIT, WORKERS, EACH = 6, 4, 25
SOON = timedelta(seconds=20)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_limit, "RETRY", timedelta(milliseconds=20))
    monkeypatch.setattr(fleet_limit, "RENEW", timedelta(milliseconds=50))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'fleet.db'}"
        yield [stack.enter_context(open_upgraded_store(url)) for _ in range(WORKERS)]


class Uses:
    """Counts the uses that run at once, of all workers."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.done: Counter[str] = Counter()

    async def use(self, limit: FleetLimit, worker: str) -> None:
        async with limit:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.005)
            self.now -= 1
            self.done[worker] += 1


@pytest.mark.parametrize("block", [1, 4])
async def test_many_workers_together_never_exceed_the_limit(stores: list[Store], block: int):
    limits = {
        f"worker-{number}": FleetLimit(
            store.permits, "logins", LIMIT, f"worker-{number}", block=block
        )
        for number, store in enumerate(stores)
    }
    uses = Uses()
    async with asyncio.timeout(SOON.total_seconds()):
        await asyncio.gather(
            *(uses.use(limit, name) for name, limit in limits.items() for _ in range(EACH))
        )
    assert 1 < uses.most <= LIMIT
    assert set(uses.done.values()) == {EACH}
    for limit in limits.values():
        await limit.close()
    assert stores[0].permits.lease(
        "logins", "another", limit=LIMIT, wanted=LIMIT, used=0, lasts=SOON
    ) == Granted(LIMIT, LIMIT)


async def test_a_worker_that_comes_later_gets_its_part(stores: list[Store]):
    first = FleetLimit(stores[0].permits, "logins", 2, "first")
    second = FleetLimit(stores[1].permits, "logins", 2, "second")
    uses, ended = Uses(), asyncio.Event()

    async def busy() -> None:
        while not ended.is_set():
            await uses.use(first, "first")

    running = [asyncio.create_task(busy()) for _ in range(4)]
    await wait_until(_true(lambda: uses.now == 2), SOON)
    async with asyncio.timeout(SOON.total_seconds()):
        await uses.use(second, "second")
    ended.set()
    await asyncio.gather(*running)
    assert uses.most == 2
    for limit in (first, second):
        await limit.close()


async def test_unused_permits_are_returned(stores: list[Store]):
    first = FleetLimit(stores[0].permits, "logins", 2, "first")
    async with first:
        pass

    async def free() -> bool:
        asked = stores[1].permits.lease(
            "logins", "second", limit=2, wanted=2, used=0, lasts=timedelta(seconds=1)
        )
        return asked.count == 2

    await wait_until(free, SOON)
    await first.close()


async def test_a_cancelled_wait_takes_no_permit(stores: list[Store]):
    limit = FleetLimit(stores[0].permits, "logins", 1, "first")
    uses = Uses()
    async with limit:
        waiting = [asyncio.create_task(uses.use(limit, "cancelled")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
    assert {type(end) for end in await asyncio.gather(*waiting, return_exceptions=True)} == {
        asyncio.CancelledError
    }
    async with asyncio.timeout(SOON.total_seconds()):
        await uses.use(limit, "next")
    assert uses.done == {"next": 1}
    await limit.close()


class BrokenStore:
    """Fails a number of times, then grants everything."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    def lease(
        self, name: str, holder: str, *, limit: int, wanted: int, used: int, lasts: timedelta
    ) -> Granted:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("the store is down")
        return Granted(wanted, wanted)


async def test_a_store_that_fails_fails_what_waits_and_the_next_use_tries_again():
    limit, uses = FleetLimit(BrokenStore(1), "logins", 3, "first"), Uses()
    ends = await asyncio.gather(
        *(uses.use(limit, "early") for _ in range(3)), return_exceptions=True
    )
    assert [str(end) for end in ends] == ["the store is down"] * 3
    await uses.use(limit, "late")
    assert uses.done == {"late": 1}
    await limit.close()


async def test_a_worker_that_cannot_renew_its_lease_hands_out_nothing_before_it_ends():
    now = 1000.0
    store = BrokenStore(0)
    limit = FleetLimit(store, "logins", 3, "first", block=3, clock=lambda: now)
    async with limit:
        pass
    store.failures = 1000
    now += (fleet_limit.LASTS - fleet_limit.USE).total_seconds()
    with pytest.raises(OSError, match="the store is down"):
        async with limit:
            pass


async def test_creations_at_once_are_limited_over_all_workers(stores: list[Store]):
    cloud = SlowCloud()
    renderer = user_data_renderer(asyncssh.generate_private_key("ssh-ed25519"))
    limits = [
        FleetLimit(store.permits, "creations at fake", 2, f"worker-{number}")
        for number, store in enumerate(stores)
    ]
    workers = [
        MachineActivities({cloud.name: cloud}, renderer, OWNER, {cloud.name: limit})
        for limit in limits
    ]

    async def create(worker: MachineActivities, key: str) -> None:
        plan = plan_of(key)
        await ActivityEnvironment().run(
            worker.create_machine,
            CreateMachineInput(plan=plan, user_data_sha256=renderer.render(plan).sha256),
        )

    async with asyncio.timeout(SOON.total_seconds()):
        await asyncio.gather(
            *(
                create(worker, f"r-{at}-{number}-g1")
                for at, worker in enumerate(workers)
                for number in range(5)
            )
        )
    assert len(cloud.created) == WORKERS * 5
    assert cloud.most_at_once == 2
    for limit in limits:
        await limit.close()


class SlowCloud(FakeCloud):
    """Counts the creations at once, which take a moment."""

    at_once = most_at_once = 0

    async def ensure(self, key: str, spec: MachineSpec):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.005)
        self.at_once -= 1
        return await super().ensure(key, spec)


def plan_of(key: str) -> MachinePlan:
    return MachinePlan(
        key=key,
        route_id=None,
        track=None,
        provider="fake",
        region="fake-east",
        release_version="0.0.74",
        deb_file=DebFile(
            architecture="amd64", filename="pool/x.deb", sha256="0" * 64, size_bytes=1
        ),
    )


def _true(condition):
    async def holds() -> bool:
        return bool(condition())

    return holds
