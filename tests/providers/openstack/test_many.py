"""Many creations and deletions at once, with a fault in every tenth call, and workers that die."""

import asyncio
import itertools
import random
from datetime import timedelta

from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call, ProviderFault, ProviderFaults
from relight.domain.machine import MachineRef
from relight.providers.driver import ProviderUnavailableError
from relight.providers.openstack.driver import OpenStackDriver
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed, Entry
from tests.providers.openstack.drivers import drivers, fake, left, spec

__all__ = ["drivers", "fake"]

KEYS = 40
STALE, RESTART, SETTLE = (timedelta(seconds=each) for each in (1.5, 2, 4))
"""How long a listing lacks what is new, until a worker that died is replaced, and how long a driver
searches for what it may have made."""
ALL_DONE_WITHIN = timedelta(minutes=2)


class RandomFaults(ProviderFaults):
    """A fault in every tenth call, of any kind that the call can have."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def next_for(self, call: Call) -> ProviderFault | None:
        super().next_for(call)
        kinds = [fault for of, fault in PROVIDER_FAULTS if of is call]
        return self._random.choice(kinds) if self._random.random() < 0.1 else None


class Worker:
    """Makes one machine and destroys it again, by one driver after the other."""

    def __init__(self, make_driver, key: str, seed: int) -> None:
        self._make_driver = make_driver
        self._driver: OpenStackDriver = make_driver(SETTLE, disk_gib=10)
        self._key = key
        self._random = random.Random(seed)

    async def run(self) -> None:
        machine = None
        while machine is None:
            machine = await self._tried(lambda: self._driver.ensure(self._key, spec()))
        await self._destroy(machine.ref)

    async def _destroy(self, ref: MachineRef) -> None:
        while True:
            await self._tried(lambda: self._driver.destroy(ref))
            await asyncio.sleep(0.15)
            if await self._tried(self._is_gone):
                return

    async def _is_gone(self) -> bool:
        """As all that wait for a machine ask: the listing, and what that lacks by its key."""
        listing = await self._driver.list("north")
        is_listed = any(machine.key == self._key for machine in listing.machines)
        return not is_listed and await self._driver.find(self._key) is None

    async def _tried(self, call):
        """The result of a call; None if it failed in a way that may pass, or the worker died."""
        patience = self._random.uniform(0, 0.2) if self._random.random() < 0.05 else 30
        try:
            async with asyncio.timeout(patience):
                return await call()
        except TimeoutError:
            await asyncio.sleep(RESTART.total_seconds())
            self._driver = self._make_driver(SETTLE, disk_gib=10)
        except ProviderUnavailableError:
            await asyncio.sleep(self._random.uniform(0, 0.1))
        return None


def overlaps(entries: list[Entry]) -> bool:
    ordered = sorted(entries, key=lambda entry: entry.since)
    return any(
        first.until is None or first.until > second.since
        for first, second in itertools.pairwise(ordered)
    )


async def test_faults_make_no_twin_and_leave_nothing(fake, drivers):
    fake.provider_faults = RandomFaults(7)
    fake.traps |= {Trap.STALE_LISTING, Trap.DUPLICATE_LISTING}
    fake.stale, fake.page_size = STALE, 7
    keys = [f"r-{number}-g1" for number in range(KEYS)]
    foreign = spec(owner="another-owner")
    other = await Worker(drivers, "foreign-g1", 0)._tried(
        lambda: drivers().ensure("foreign-g1", foreign)
    )
    async with asyncio.timeout(ALL_DONE_WITHIN.total_seconds()), asyncio.TaskGroup() as group:
        for number, key in enumerate(keys):
            group.create_task(Worker(drivers, key, number).run())
    assert [name for name in left(fake) if name != "foreign-g1"] == []
    for key in keys:
        for kind in Billed:
            entries = [entry for entry in fake.bill.entries(key) if entry.kind is kind]
            assert entries
            assert not overlaps(entries)
    running = {(entry.kind, entry.id) for entry in fake.bill.running()}
    expected = set() if other is None else {(Billed.MACHINE, other.provider_id)}
    assert running == expected
