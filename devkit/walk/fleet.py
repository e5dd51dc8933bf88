"""The fleet of a walk: its store, clouds, hosts and worker, and the command line on it."""

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import asyncssh
from temporalio.client import Client, WorkflowExecution

from activities.fleet_limit import FleetLimit
from activities.parts import Parts
from devkit.in_process import Ran, run_command
from devkit.leftovers import terminate
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.connectivity import FakeConnectivityCheck
from devkit.simulated.parts import OWNER, SERVICE, user_data_renderer
from devkit.simulated.releases import FakeReleases
from devkit.walk.clock import Clock, ClockRunner
from devkit.walk.faults import FaultyHosts
from devkit.walk.named import unwrapped
from relight.domain.base import Origin
from relight.domain.release import Release
from relight.domain.route import Route
from relight.engine.fleet import join
from relight.releases.errors import RepositoryUnavailableError
from relight.store.events import Operation
from relight.store.store import Store, open_upgraded_store
from worker import build

GOOD, BAD = ("v0.0.73", "v0.0.74", "v0.0.78"), ("v0.0.75", "v0.0.76", "v0.0.77")
"""Releases that work, and that do not: see `devkit.simulated.hosts`."""

PROVIDERS, TRACKS, REGION = ("alpha", "omega"), ("stable", "beta"), "fake-east"
ROUTES = ("s-1", "s-2", "s-3", "b-1")

LIMITS = {f"creations at {provider}": 2 for provider in PROVIDERS}
"""The permits of each limit."""

MAX_PATIENCE = timedelta(hours=3)
"""Longer than any operation on one route may take, whatever its host does."""

_SHORTEST_STEP, _LONGEST_STEP = timedelta(seconds=1), timedelta(minutes=4)

_STEPS, _MOMENT, _LOOK = 4, 0.05, 0.1

REAL_SECONDS = 30
"""Nothing is called stuck before so many seconds of this computer have passed too."""

_DEADLINE = timedelta(milliseconds=300)
"""Of a change on a host."""


class WalkReleases(FakeReleases):
    """Releases that cannot be resolved for a time.

    Attributes:
        available: whether they can.
    """

    available = True

    async def resolve(self, tag: str, architectures: Sequence[str]) -> Release:
        """Resolve a release."""
        if not self.available:
            raise RepositoryUnavailableError("simulated: no answer")
        return await super().resolve(tag, architectures)


@dataclass
class Command:
    """A command that was typed.

    Attributes:
        words: after `relight`.
        ran: its end.
    """

    words: tuple[str, ...]
    ran: asyncio.Future[Ran]

    def __str__(self) -> str:
        return " ".join(["relight", *self.words])


@dataclass
class Fleet:
    """The fleet of one sequence.

    Attributes:
        running: the commands that have not ended yet.
        log: what was done, in order.
    """

    client: Client
    clock: Clock
    store: Store
    store_url: str
    folder: Path
    clouds: Mapping[str, FakeCloud]
    hosts: FaultyHosts
    releases: WalkReleases
    connectivity: FakeConnectivityCheck
    threads: ThreadPoolExecutor
    parts: Parts
    running: list[Command] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _worker: asyncio.Task[None] | None = None
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    # ---------------------------------------------------------------- time

    async def skip(self, duration: timedelta) -> None:
        """Let time pass, in steps after each of which the workflows go on for a moment."""
        step = max(duration / _STEPS, _SHORTEST_STEP)
        until = self.clock.now() + duration
        while (left := until - self.clock.now()) > timedelta():
            self.clock.jump(min(step, left))
            await asyncio.sleep(_MOMENT)

    def patience(self, duration: timedelta) -> Iterator[None]:
        """Yield until so much time has passed, and enough of this computer's too."""
        until, real_until = self.clock.now() + duration, time.monotonic() + REAL_SECONDS
        while self.clock.now() < until or time.monotonic() < real_until:
            yield

    async def pass_time_until_ended(self, command: Command, patience: timedelta) -> Ran | None:
        """Let time pass until a command ends, and return its end; None if it takes longer.

        Time is skipped slowly at first, because most commands need none.
        """
        step, waited, began = _SHORTEST_STEP, timedelta(), time.monotonic()
        least = REAL_SECONDS if patience >= MAX_PATIENCE else 0
        while waited < patience or time.monotonic() - began < least:
            await asyncio.wait([command.ran], timeout=_LOOK)
            if command.ran.done():
                break
            self.clock.jump(step)
            waited, step = waited + step, min(step * 2, _LONGEST_STEP)
        if not command.ran.done():
            return None
        self.running.remove(command)
        ran = command.ran.result()
        self.log.append(f"  exit {ran.code}: {unwrapped(ran.err or ran.out)[-400:]}")
        return ran

    # ---------------------------------------------------------------- commands

    def start(self, *words: str) -> Command:
        """Type a command."""
        variables = {
            "RELIGHT_HOME": str(self.folder),
            "RELIGHT_STORE_URL": self.store_url,
            "RELIGHT_TASK_QUEUE": self.parts.task_queue,
            "TEMPORAL_ADDRESS": self.client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": self.client.namespace,
        }
        context = contextvars.copy_context()
        ran = asyncio.get_running_loop().run_in_executor(
            self.threads, context.run, run_command, words, variables
        )
        command = Command(words, ran)
        self.running.append(command)
        self.log.append(str(command))
        return command

    async def type(self, *words: str, patience: timedelta = MAX_PATIENCE) -> Ran | None:
        """Type a command, and let time pass until it ends; None if it takes longer."""
        return await self.pass_time_until_ended(self.start(*words), patience)

    # ---------------------------------------------------------------- the worker

    async def start_worker(self) -> None:
        """Start a worker."""
        self._stop = asyncio.Event()
        worker = build(self.client, self.parts, runner=ClockRunner(self.clock))
        started = asyncio.Event()

        async def serve() -> None:
            async with worker:
                started.set()
                await self._stop.wait()

        self._worker = asyncio.create_task(serve())
        await started.wait()

    async def kill_worker(self) -> None:
        """Stop the worker at once: its running activities are cut short."""
        assert self._worker is not None
        self._stop.set()
        await self._worker

    # ---------------------------------------------------------------- what there is

    def routes(self) -> list[Route]:
        """Return the routes."""
        return self.store.routes.list()

    def route(self, route_id: str) -> Route:
        """Return a route."""
        route = self.store.routes.get(route_id)
        assert route is not None
        return route

    async def open_workflows(self) -> list[WorkflowExecution]:
        """Return the workflows that have not ended."""
        return [each async for each in self.client.list_workflows("ExecutionStatus = 'Running'")]


Simulated = tuple[Mapping[str, FakeCloud], FaultyHosts]


def simulated() -> Simulated:
    """Return new clouds and their hosts."""
    clouds = {provider: FakeCloud(provider) for provider in PROVIDERS}
    return clouds, FaultyHosts(*clouds.values())


@asynccontextmanager
async def running_fleet(
    client: Client, clock: Clock, folder: Path, simulated: Simulated, name: str
) -> AsyncIterator[Fleet]:
    """Run a worker on a store and simulated hosts until the block ends.

    Args:
        client: of the server.
        clock: the time.
        folder: of the store's database file, which is made if there is none.
        simulated: the clouds and the hosts.
        name: of the task queue; no other on this server has the same.
    """
    (clouds, hosts), releases = simulated, WalkReleases(*GOOD, *BAD)
    connectivity, store_url = FakeConnectivityCheck(), f"sqlite:///{folder}/fleet.db"
    with open_upgraded_store(store_url) as store, ThreadPoolExecutor(32) as threads:
        creations = {
            provider: FleetLimit(store.permits, name, limit, "walk")
            for provider, (name, limit) in zip(PROVIDERS, LIMITS.items(), strict=True)
        }
        parts = Parts(
            task_queue=name,
            fleet_owner=OWNER,
            store=store,
            drivers=dict(clouds),
            hosts=hosts,
            keyed_hosts=hosts,
            repository=releases,
            user_data=user_data_renderer(asyncssh.generate_private_key("ssh-ed25519")),
            service=replace(SERVICE, change_deadline=_DEADLINE),
            probe=hosts.probe,
            liveness=hosts.answer,
            host_keys=hosts.shown_key,
            connectivity=(connectivity,),
            creations=creations,
        )
        fleet = Fleet(
            client=client,
            clock=clock,
            store=store,
            store_url=store_url,
            folder=folder,
            clouds=clouds,
            hosts=hosts,
            releases=releases,
            connectivity=connectivity,
            threads=threads,
            parts=parts,
        )
        await join(client, store, adopt=True)
        await fleet.start_worker()
        try:
            yield fleet
        finally:
            await _end(fleet)
            for limit in creations.values():
                await limit.close()


async def provision(fleet: Fleet) -> None:
    """Bring all routes into service with the first good release."""
    operation = Operation(Origin(requested_by="walk", reason="a walk"))
    for track in TRACKS:
        fleet.store.tracks.set(track, None, operation)
    fleet.store.fleet_settings.set("default_release_tag", GOOD[0], operation)
    for number, route in enumerate(ROUTES):
        track = TRACKS[0] if route.startswith("s-") else TRACKS[1]
        options = ("--track", track, "--provider", PROVIDERS[number % 2], "--region", REGION)
        ran = await fleet.type("route", "provision", route, *options)
        assert ran is not None
        assert ran.code == 0, ran


async def _end(fleet: Fleet) -> None:
    """Terminate what is left, so that every command ends, and stop the worker."""
    for each in await fleet.open_workflows():
        await terminate(fleet.client.get_workflow_handle(each.id, run_id=each.run_id))
    if fleet.running:
        await asyncio.wait([command.ran for command in fleet.running], timeout=60)
    await fleet.kill_worker()
