"""Many creations and deletions at once, over an API that loses, repeats and refuses answers."""

import asyncio
import random
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretBytes

from devkit.chaos.provider_faults import PROVIDER_FAULTS
from relight.domain.machine import MachineRef
from relight.providers.alibaba.driver import AlibabaDriver
from relight.providers.driver import ProviderCapacityError, ProviderUnavailableError
from tests.providers.alibaba.conftest import SPEC
from tests.providers.fakes.alibaba import AlibabaFake
from tests.providers.fakes.base import Trap
from tests.providers.fakes.bill import Billed

pytestmark = pytest.mark.attack("Alibaba Cloud with lost, late and repeated answers")

KEYS = 12
ROUNDS = 3
TRAPS = (Trap.STALE_LISTING, Trap.DUPLICATE_LISTING, Trap.TRUNCATED_PAGE, Trap.CAPACITY)


class Workers:
    """Drivers of one account; a worker that is killed forgets all that its driver knew."""

    def __init__(self, fake: AlibabaFake, folder: Path, dice: random.Random) -> None:
        self._fake, self._folder, self._dice = fake, folder, dice
        self._opened: list[AlibabaDriver] = []
        self.driver = self.open()

    def open(self) -> AlibabaDriver:
        self._opened.append(AlibabaDriver(self._fake.settings(self._folder)))
        return self._opened[-1]

    def disturb(self) -> None:
        """Let one call in ten meet a fault, and one in twenty the death of its worker."""
        fault = self._dice.choice([*PROVIDER_FAULTS, *[None] * 90])
        if fault is not None:
            call, provider_fault = fault
            self._fake.provider_faults.inject(provider_fault, call)
        self._fake.traps = {trap for trap in TRAPS if self._dice.random() < 0.1}
        if self._dice.random() < 0.05:
            self.driver = self.open()

    async def close(self) -> None:
        for driver in self._opened:
            await driver.close()


async def live(workers: Workers, key: str) -> None:
    """Create the machine of a key, and destroy it until its id is gone."""
    for generation in range(1, ROUNDS + 1):
        name = f"{key}-g{generation}"
        update = {
            "generation": generation,
            "user_data": SecretBytes(name.encode()),
            "created_by": name,
        }
        spec = SPEC.model_copy(update=update)
        ref: MachineRef | None = None
        while ref is None:
            workers.disturb()
            try:
                ref = (await workers.driver.ensure(name, spec)).ref
            except (ProviderCapacityError, ProviderUnavailableError):
                continue
        exists = True
        while exists:
            workers.disturb()
            try:
                exists = await workers.driver.destroy(ref)
            except ProviderUnavailableError:
                continue


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_there_are_neither_orphans_nor_twins(fake, tmp_path, seed):
    workers = Workers(fake, tmp_path, random.Random(seed))
    try:
        async with asyncio.TaskGroup() as keys:
            for number in range(KEYS):
                keys.create_task(live(workers, f"r-{number}"))
        await check(fake, workers)
    finally:
        await workers.close()


async def check(fake: AlibabaFake, workers: Workers) -> None:
    fake.traps.clear()
    fake.provider_faults.clear()
    assert (await workers.driver.list()).machines == ()
    assert fake.bill.running() == []
    for name in {entry.key for entry in fake.bill.entries()}:
        machines = [each for each in fake.bill.entries(name) if each.kind is Billed.MACHINE]
        volumes = [each for each in fake.bill.entries(name) if each.kind is Billed.VOLUME]
        assert [(each.since, each.until) for each in machines] == [
            (each.since, each.until) for each in volumes
        ]
        for earlier, later in pairwise(machines):
            assert earlier.until is not None
            assert earlier.until <= later.since, f"twins of {name}"
    assert len({entry.key for entry in fake.bill.entries()}) == KEYS * ROUNDS
