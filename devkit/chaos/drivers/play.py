"""One run over one vendor: keys whose machines are created and destroyed, generation by generation.

Each call may be made by any worker, so nothing that a driver remembers can be relied on.
"""

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from devkit.chaos.drivers.driver_worker import UNLISTED, Call, Order, Report, Setup
from devkit.chaos.drivers.judge import is_running, vendor_id, violations
from devkit.chaos.drivers.record import MachineRecords, opened_records
from devkit.chaos.drivers.unreliable import UnreliableApi
from devkit.chaos.drivers.workers import WorkerKilledError, Workers, started
from relight.domain.machine import MachineAtProvider
from relight.providers.driver import MachineConflictError
from relight.store.threads import in_thread
from tests.providers.fakes import FAKES
from tests.providers.fakes.base import VendorFake
from tests.providers.fakes.bill import Billed
from tests.providers.fakes.gcore import FakeGcore
from tests.providers.fakes.openstack import OpenStackFake

OWNER, STRANGER = "relight-chaos", "another-fleet"
WORKERS = 4
CALLS_PER_KILL = 50
TIMEOUT = timedelta(seconds=2)
AGAIN = 2 * UNLISTED
"""Until the next attempt, which any worker may make: in production it is some seconds."""

TASK = timedelta(seconds=1)
"""How long a task of Gcore is new, and how long it is running: longer than the driver waits, so
the next attempt has to find what an earlier one has begun."""

SETTLES_WITHIN = timedelta(minutes=30)

LOCKED = frozenset({"alibaba", "linode", "oci"})
"""Vendors with a token or with unique names: two workers may create the machine of a key at once.
Elsewhere a key has one creator at a time, by the id of its workflow."""

TWICE = 0.1
"""The share of creations that two workers try at once, as one that was taken for dead."""

DISK_GIB = 10
"""With this, OpenStack's machines have a boot volume."""


@dataclass
class Played:
    """The results of one run.

    Attributes:
        calls: to create and to destroy a machine, until it is done.
        attempts: of these calls, each by a worker.
        created, destroyed: machines on record.
        errors: that the driver raised, counted by kind.
        injected: what went wrong with requests, counted.
        requests: that came to the vendor.
        billed: seconds of machines.
        reached: machines that the vendor denied, and that were still reachable.
    """

    provider: str
    seed: int
    calls: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    created: int = 0
    destroyed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    injected: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    kills: int = 0
    killed_calls: int = 0
    reached: int = 0
    billed: float = 0.0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


async def play(provider: str, calls: int, keys: int, seed: int) -> Played:
    """Make so many calls over so many keys, let all end without faults, and judge.

    Args:
        provider: the driver's name.
        calls: to create and to destroy, until nothing goes wrong any more.
        keys: whose machines are created and destroyed side by side.
        seed: of what goes wrong; what meets what is the computer's.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    fake = FAKES[provider]()
    if isinstance(fake, OpenStackFake):
        fake.stale = UNLISTED
    if isinstance(fake, FakeGcore):
        fake.waits = fake.works = TASK
    api = UnreliableApi(fake, rng)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as name,
        opened_records(Path(name)) as records,
        fake.served(api),
    ):
        setup = _setup(fake, Path(name))
        async with started(setup, WORKERS, rng) as workers:
            return await _Play(fake, api, records, workers, rng, Played(provider, seed)).run(
                calls, keys
            )


class _Play:
    def __init__(
        self,
        fake: VendorFake,
        api: UnreliableApi,
        records: MachineRecords,
        workers: Workers,
        rng: random.Random,
        played: Played,
    ) -> None:
        self._fake, self._api, self._records = fake, api, records
        self._workers, self._rng, self._played = workers, rng, played
        self._calls = 0
        self._kills: asyncio.Queue[bool] = asyncio.Queue()
        self._foreign: list[MachineAtProvider] = []

    async def run(self, calls: int, keys: int) -> Played:
        began = time.monotonic()
        self._calls = calls
        self._foreign = await self._strangers()
        self._api.is_calm = False
        killing = asyncio.create_task(self._kill())
        try:
            async with asyncio.timeout(SETTLES_WITHIN.total_seconds()):
                async with asyncio.TaskGroup() as group:
                    for number in range(keys):
                        group.create_task(self._life(number))
                    for each in self._foreign:
                        group.create_task(self._trespass(each))
        except TimeoutError:
            self._played.violations.append(f"not all calls have ended after {SETTLES_WITHIN}")
        self._api.is_calm = True
        self._kills.put_nowait(False)
        await killing
        await self._judge()
        self._played.seconds = time.monotonic() - began
        return self._played

    # ------------------------------------------------------------------ one key

    async def _life(self, number: int) -> None:
        """Create and destroy the machines of one route; some keep their last one."""
        generation = 0
        while not self._is_over():
            generation += 1
            key = f"chaos-{number}-g{generation}"
            order = self._order(Call.ENSURE, key, generation=generation)
            await in_thread(self._records.plan, key, self._played.provider, order.region)
            machine = await self._ensured(order)
            if machine is None:
                continue
            await in_thread(self._records.observe, machine)
            self._played.created += 1
            if self._is_over() and number % 2:
                return
            await self._destroyed(machine)
            await in_thread(self._records.destroyed, key)
            self._played.destroyed += 1

    async def _ensured(self, order: Order) -> MachineAtProvider | None:
        """Return the machine of a key; None if it is a stranger's."""
        self._count(order.call)
        while True:
            is_twice = self._played.provider in LOCKED and self._rng.random() < TWICE
            tried = await asyncio.gather(*(self._tried(order) for _ in range(1 + is_twice)))
            done = [each for each in tried if each is not None]
            made = [each.machine for each in done if each.machine is not None]
            if len({each.provider_id for each in made}) > 1:
                self._played.violations.append(f"{order.key}: two calls returned two machines")
            if made:
                return made[0]
            if done:
                await in_thread(self._records.destroyed, order.key)
                if order.key not in {each.key for each in self._foreign}:
                    self._played.violations.append(f"{order.key}: {done[0].words}")
                return None
            await self._pause()

    async def _destroyed(self, machine: MachineAtProvider) -> None:
        """Destroy a machine until it is absent and not reachable."""
        destroy = self._order(Call.DESTROY, machine.key, provider_id=machine.provider_id)
        look = self._order(Call.IS_GONE, machine.key)
        self._count(destroy.call)
        while True:
            answered = await self._tried(destroy)
            if answered is not None and answered.error:
                self._played.violations.append(f"{machine.key}: {answered.words}")
            looked = await self._tried(look)
            if looked is not None and looked.error:
                self._played.violations.append(f"{machine.key}: {looked.words}")
            elif looked is not None and looked.yes:
                if not self._is_reachable(machine):
                    return
                self._played.reached += 1
            await self._pause()

    def _is_reachable(self, machine: MachineAtProvider) -> bool:
        vendors_id = vendor_id(machine.provider_id)
        return self._fake.bill.is_running(Billed.MACHINE, vendors_id, self._fake.now())

    def _is_over(self) -> bool:
        """Whether all calls are made: what is in flight ends without faults."""
        return self._api.is_calm

    # ------------------------------------------------------------------ strangers

    async def _strangers(self) -> list[MachineAtProvider]:
        """Make machines of another owner: with names of their own, and with names of ours."""
        made = []
        for key in ("chaos-0-g1", "chaos-1-g2", "other-1-g1", "other-2-g1", "other-3-g1"):
            order = self._order(Call.ENSURE, key, owner=STRANGER)
            while (machine := (await self._workers.call(order)).machine) is None:
                await self._pause()
            made.append(machine)
        await asyncio.sleep(UNLISTED.total_seconds())
        return made

    async def _trespass(self, machine: MachineAtProvider) -> None:
        """Ask for the destruction of a stranger's machine under a key of ours: it is refused."""
        order = self._order(Call.DESTROY, f"chaos-{machine.key}", provider_id=machine.provider_id)
        while (answer := await self._tried(order)) is None:
            await self._pause()
        if answer.error != MachineConflictError.kind:
            self._played.violations.append(
                f"the destruction of {machine.key} by its id was not refused: {answer}"
            )

    # ------------------------------------------------------------------ calls

    def _order(
        self,
        call: Call,
        key: str = "",
        *,
        owner: str = OWNER,
        generation: int = 1,
        provider_id: str = "",
    ) -> Order:
        return Order(
            number=0,
            call=call,
            region=self._fake.region,
            key=key,
            owner=owner,
            generation=generation,
            provider_id=provider_id,
        )

    async def _tried(self, order: Order) -> Report | None:
        """Return what a call has led to; None if it is to be tried again."""
        self._played.attempts[order.call] += 1
        try:
            report = await self._workers.call(order)
        except WorkerKilledError:
            return None
        if report.error:
            self._played.errors[report.error] += 1
        return None if report.retryable else report

    def _count(self, call: Call) -> None:
        self._played.calls[call] += 1
        total = self._played.calls.total()
        if total >= self._calls:
            self._api.is_calm = True
        elif total % CALLS_PER_KILL == CALLS_PER_KILL // 2:
            self._kills.put_nowait(True)

    async def _kill(self) -> None:
        while await self._kills.get():
            # In the midst of the calls that are being made.
            await asyncio.sleep(self._rng.uniform(0, 0.1))
            await self._workers.kill_one()

    async def _pause(self) -> None:
        await asyncio.sleep(self._rng.uniform(1, 1.5) * AGAIN.total_seconds())

    # ------------------------------------------------------------------ the end

    async def _judge(self) -> None:
        """Compare what is listed, billed and on record, once nothing changes any more."""
        listed = await self._listed()
        now, played = self._fake.now(), self._played
        bill = self._fake.bill.entries()
        machines = [each for each in bill if each.kind is Billed.MACHINE]
        records = await in_thread(self._records.all)
        foreign = {vendor_id(each.provider_id) for each in self._foreign}
        played.violations += violations(bill, records, foreign, now)
        running = sorted(each.id for each in machines if is_running(each, now))
        if listed != running:
            played.violations.append(f"listed are {listed}, and billed {running}")
        played.billed = sum(((each.until or now) - each.since).total_seconds() for each in machines)
        played.injected, played.requests = self._api.injected, self._api.requests
        played.kills, played.killed_calls = self._workers.kills, self._workers.killed_calls

    async def _listed(self) -> Sequence[str]:
        """Return the ids that are listed, after tasks and deletions that were begun are done."""
        if isinstance(self._fake, FakeGcore):
            self._fake.settle()
        for _ in range(2):
            await asyncio.sleep(UNLISTED.total_seconds())
            report = await self._workers.call(self._order(Call.LIST))
            assert not report.error, report.words
        return sorted(vendor_id(each.provider_id) for each in report.machines)


def _setup(fake: VendorFake, folder: Path) -> Setup:
    settings = fake.settings(folder)
    # With a second region of OpenStack, one search in forty would succeed: each asks both.
    regions = {fake.region} if isinstance(fake, OpenStackFake) else settings.locations.keys()
    locations = {
        name: location.model_copy(update={"disk_gib": DISK_GIB})
        for name, location in settings.locations.items()
        if name in regions
    }
    changed = settings.model_copy(update={"timeout": TIMEOUT, "locations": locations})
    return Setup(provider=fake.name, settings=changed.model_dump(mode="json"))
