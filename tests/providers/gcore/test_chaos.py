"""Many creations and deletions at once, while requests, answers and listings go wrong."""

import asyncio
import random
from collections import Counter

import pytest
from starlette.requests import Request

from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call
from relight.domain.machine import MachineRef
from relight.providers.driver import ProviderUnavailableError
from relight.providers.gcore.driver import GcoreDriver
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.gcore_project import TaskTrap
from tests.providers.gcore.specs import spec

KEYS, ROUNDS, SHARE = 12, 4, 0.1
TASK_TRAPS = [trap for trap in TaskTrap if trap is not TaskTrap.QUOTA]
"""A quota is a matter for a person: nothing is tried again."""


class Unreliable(FakeGcore):
    """Each fault, and each lie of a listing, comes with a tenth of the requests that it suits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.is_calm = False
        self.injected: Counter[str] = Counter()

    def call_of(self, request: Request) -> Call:
        call = super().call_of(request)
        self.traps.clear()
        self.task_traps.clear()
        if self.is_calm:
            return call
        for trap in (Trap.STALE_LISTING, Trap.DUPLICATE_LISTING, Trap.TRUNCATED_PAGE):
            if self.random.random() < SHARE:
                self.traps.add(trap)
        if self.random.random() < SHARE:
            self.task_traps.add(self.random.choice(TASK_TRAPS))
        faults = [fault for kind, fault in PROVIDER_FAULTS if kind is call]
        if self.random.random() < SHARE:
            fault = self.random.choice(faults)
            self.provider_faults.inject(fault, call)
            self.injected[f"{call}: {fault}"] += 1
        return call


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_machine_is_made_twice_and_none_is_left(tmp_path, seed):
    fake = Unreliable(seed)
    foreign = [fake.add(f"{name}-r-1-g1") for name in ("a", "b")]
    with fake.served():
        workers = [fake.driver(tmp_path) for _ in range(3)]
        made = await asyncio.gather(*(life(fake, workers, number) for number in range(KEYS)))
        fake.is_calm = True
        fake.settle()
        for worker in workers:
            await worker.close()
    assert made == [ROUNDS] * KEYS
    assert sum(fake.injected.values()) > KEYS * ROUNDS
    machines = [each for each in fake.bill.entries() if each.kind is Billed.MACHINE]
    assert len(machines) == KEYS * ROUNDS + len(foreign)
    assert {each.id for each in fake.instances.values()} == {each.id for each in foreign}
    left = {each.key for each in fake.bill.running()}
    assert left == {each.name for each in foreign}


async def life(fake: Unreliable, workers: list[GcoreDriver], number: int) -> int:
    """Create and destroy the machines of one route, one after the other, as its workflow does.

    Each attempt may be made by another worker: the one before was killed.
    """
    for generation in range(1, ROUNDS + 1):
        key = f"r-{number}-g{generation}"
        wanted = spec(generation=generation)
        machine = await until_done(fake, workers, lambda worker: worker.ensure(key, wanted))  # noqa: B023
        assert [f"76:{each.id}" for each in fake.of(key)] == [machine.provider_id]
        while not await until_done(fake, workers, lambda worker: is_gone(worker, machine.ref)):  # noqa: B023
            pass
        assert fake.of(key) == []
    return ROUNDS


async def is_gone(worker: GcoreDriver, machine: MachineRef) -> bool:
    """Destroy a machine if it is there, and return whether it was not."""
    found = await worker.find(machine.key)
    if found is not None:
        assert found.ref == machine
        await worker.destroy(machine)
    return found is None


async def until_done(fake: Unreliable, workers: list[GcoreDriver], call):
    while True:
        try:
            return await call(fake.random.choice(workers))
        except ProviderUnavailableError:
            continue
