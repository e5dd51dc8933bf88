"""Workers that make a driver's calls, each a process that can be killed and is started again."""

import asyncio
import itertools
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devkit.chaos.drivers.driver_worker import Order, Report, Setup

LINE_LIMIT = 2**22
"""Of a report: a listing of all machines."""


class WorkerKilledError(Exception):
    """The worker that made a call was killed."""


class WorkerFailedError(Exception):
    """A worker ended by itself: its driver raised what is no provider's error."""


class Worker:
    """One process.

    Attributes:
        waiting: the calls that it makes now, by their number.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._process: Process
        self._reading: asyncio.Task[None]
        self._is_killed = False
        self._is_up = asyncio.Event()
        self.waiting: dict[int, asyncio.Future[Report]] = {}

    async def start(self) -> None:
        """Start the process."""
        self.waiting, self._is_killed = {}, False
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devkit.chaos.drivers.driver_worker"),
            stdin=PIPE,
            stdout=PIPE,
            limit=LINE_LIMIT,
        )
        self._send(self._setup.model_dump_json())
        self._reading = asyncio.create_task(self._read(self._process, self.waiting))
        self._is_up.set()

    async def call(self, order: Order) -> Report:
        """Make a call, as soon as there is a process.

        Raises:
            WorkerKilledError: the worker was killed before it answered.
            WorkerFailedError: it ended by itself.
        """
        await self._is_up.wait()
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self.waiting[order.number] = answer
        self._send(order.model_dump_json())
        return await answer

    async def kill(self) -> int:
        """Kill the process, start another one, and return how many calls it was about."""
        killed = len(self.waiting)
        self._is_killed = True
        self._is_up.clear()
        self._process.kill()
        await self._process.wait()
        await self._reading
        await self.start()
        return killed

    async def stop(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reading

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def _read(self, process: Process, waiting: dict[int, asyncio.Future[Report]]) -> None:
        assert process.stdout is not None
        while (line := await process.stdout.readline()).endswith(b"\n"):
            report = Report.model_validate_json(line)
            waiting.pop(report.number).set_result(report)
        for answer in waiting.values():
            answer.set_exception(WorkerKilledError() if self._is_killed else WorkerFailedError())
        waiting.clear()


class Workers:
    """Some workers of one provider.

    Attributes:
        kills: how many were killed.
        killed_calls: how many calls these were about.
    """

    def __init__(self, workers: list[Worker], rng: random.Random) -> None:
        self._workers = workers
        self._rng = rng
        self._numbers = itertools.count(1)
        self.kills = 0
        self.killed_calls = 0

    async def call(self, order: Order) -> Report:
        """Let any worker make a call: it gets a number of its own."""
        numbered = order.model_copy(update={"number": next(self._numbers)})
        return await self._rng.choice(self._workers).call(numbered)

    async def kill_one(self) -> None:
        """Kill the worker with the most calls, in the midst of them."""
        victim = max(self._workers, key=lambda worker: len(worker.waiting))
        self.kills += 1
        self.killed_calls += await victim.kill()


@asynccontextmanager
async def started(setup: Setup, count: int, rng: random.Random) -> AsyncIterator[Workers]:
    """Start workers; they end with the context."""
    workers = [Worker(setup) for _ in range(count)]
    for worker in workers:
        await worker.start()
    try:
        yield Workers(workers, rng)
    finally:
        for worker in workers:
            await worker.stop()
