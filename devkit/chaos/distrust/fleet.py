"""The fleet of distrust rounds: routes in two regions and a pool, on real hosts."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
from temporalio.client import Client
from temporalio.service import RPCError

from devkit.chaos.distrust.judge import Judge
from devkit.chaos.distrust.worker_clock import WorkerClock, worker_clock
from devkit.chaos.environment import ChaosEnvironment, chaos_environment
from devkit.chaos.operations import AFTER, BEFORE, ORIGIN
from devkit.in_process import Ran, run_command
from devkit.installation import temporary_home
from relight.domain.liveness import LIVENESS_WORKFLOW_ID
from relight.domain.machine import Machine
from relight.domain.names import DEFAULT_RELEASE_SETTING, ReleaseTag, RouteId
from relight.domain.pool.pool import PoolStatus
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID
from relight.domain.route import Route
from relight.store.events import Operation
from starter.local.children import wait_until
from starter.local.home import prepare_home
from starter.schedules import apply

PROVIDER, REGIONS, TRACK = "lab", ("lab-east", "lab-west"), "chaos"
POOL_REGION, POOL_SIZE = REGIONS[0], 1
TAGS = (BEFORE, AFTER)
"""The releases that the fleet moves between, the older first."""

COMMAND_ENDS_WITHIN = timedelta(minutes=5)
QUIET_WITHIN = timedelta(minutes=4)

_WINDOW = "PT1S"
_REPEATED = (RECONCILE_WORKFLOW_ID, LIVENESS_WORKFLOW_ID, "temporal-sys-")
"""What the ids of workflows begin with that run again and again."""

_REASON = ("--reason", "chaos test")
_READS = frozenset({"status", "list", "show", "check", "why"})

_POLICY, _BUDGET = "RELIGHT_RECONCILE__", "RELIGHT_RECONCILE__STRATEGY__DISRUPTION_BUDGET__"
SETTINGS = {
    f"{_BUDGET}PROVIDER": "99",
    f"{_BUDGET}REGION": "99",
    f"{_BUDGET}TRACK": "99",
    f"{_POLICY}PROOF_LASTS": "PT0.001S",
    f"{_POLICY}REPLACEMENT__UNREACHABLE_OBSERVATIONS": "2",
    f"{_POLICY}REPLACEMENT__UNREACHABLE_FOR": "PT1S",
    f"{_POLICY}REPLACEMENT__VERIFY_AFTER": "PT0S",
    f"{_POLICY}REPLACEMENT__REPAIR_AFTER": "PT0S",
    f"{_POLICY}REPLACEMENT__GONE_FOR": "PT1S",
    f"{_POLICY}REPLACEMENT__REPLACEMENTS": "999",
    "RELIGHT_SWEEP_GRACE": "PT10S",
    "RELIGHT_BREAKER__CALM_FOR": "PT1S",
    "RELIGHT_BREAKER__REMEMBERED_FOR": "PT1S",
    "RELIGHT_BREAKER__SPARED_FOR": "PT1S",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR": "9999",
    "RELIGHT_BREAKER__DESTROYED_PER_HOUR_IN_REGION": "9999",
    "RELIGHT_LIVENESS__EVERY": "PT10S",
    "RELIGHT_SSH__CONNECT_TIMEOUT": "PT1S",
}
"""Remediation as eager as the settings allow: each run verifies every host, and two observations of
a fault, a second apart, are enough to destroy a machine."""


@dataclass
class DistrustFleet:
    """A running fleet.

    Attributes:
        clock: of the workers.
        others: a folder with the keys and secrets of another installation.
        routes: the ids of its routes.
        judge: knows what is healthy, and what was destroyed.
        served_by: since the store is old: the machine that really serves each route, as its users
            know; empty while the store knows it itself.
        log: what was done, in order, each with its second of the round.
    """

    environment: ChaosEnvironment
    clock: WorkerClock
    others: Path
    routes: Sequence[RouteId]
    judge: Judge
    served_by: Mapping[RouteId, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    _began: float = 0

    def begin(self) -> list[str]:
        """Begin a new log, and return it. The store is right, and what is in use is healthy."""
        self.judge.forget()
        self.log, self._began, self.served_by = [], time.monotonic(), {}
        return self.log

    def note(self, text: str) -> None:
        """Add a line to the log."""
        self.log.append(f"{time.monotonic() - self._began:6.1f} {text}")

    @property
    def client(self) -> Client:
        """Of the Temporal server, which may have been started again since."""
        assert self.environment.client is not None
        return self.environment.client

    async def type(self, *words: str) -> Ran:
        """Type a command, and wait until it ends.

        What it names is named by an operator: a machine that it replaces may be destroyed.

        Raises:
            TimeoutError: it has not ended in time.
        """
        # What a route's command is about is known before it ends.
        for key in self._named_by(words):
            self.judge.name(key)
        if _READS.isdisjoint(words):
            words = (*words, *_REASON)
        variables = {"RELIGHT_HOME": str(self.environment.home)}
        async with asyncio.timeout(COMMAND_ENDS_WITHIN.total_seconds()):
            ran = await asyncio.to_thread(run_command, words, variables)
        said = " ".join((ran.err or ran.out).split())[-300:]
        self.note(f"relight {' '.join(words)}: exit {ran.code}: {said}")
        return ran

    def declared(self) -> ReleaseTag:
        """Return the fleet's default release."""
        return self.environment.store.fleet_settings.get(DEFAULT_RELEASE_SETTING) or BEFORE

    def record(self, route_id: RouteId) -> Route:
        """Return the record of a route."""
        found = self.environment.store.routes.get(route_id)
        assert found is not None
        return found

    def machine(self, route_id: RouteId) -> Machine | None:
        """Return the machine that serves a route on record."""
        return self.record(route_id).machine

    async def labels(self) -> list[str]:
        """Return the labels of all machines that the provider really has."""
        return sorted(await self.environment.machines())

    async def on_hosts(self, labels: Sequence[str], script: str) -> None:
        """Run a script as root on machines, as far as they exist, without their network."""
        ids = await self.environment.machines()
        there = [ids[label] for label in labels if label in ids]
        await asyncio.gather(*(self.environment.on_host(each, script) for each in there))

    async def workflows(self) -> list[str]:
        """Return the ids of the workflows that run, apart from those that run again and again."""
        try:
            running = self.client.list_workflows("ExecutionStatus = 'Running'")
            ids = [each.id async for each in running]
        except (RPCError, RuntimeError):  # the server was killed
            return ["unknown"]
        return [each for each in ids if not each.startswith(_REPEATED)]

    async def quiet(self) -> bool:
        """Wait until no workflow runs; return whether that came."""

        async def is_quiet() -> bool:
            return not await self.workflows()

        try:
            await wait_until(is_quiet, QUIET_WITHIN)
        except TimeoutError:
            return False
        return True

    def some(self, rng: random.Random, least: int, most: int) -> list[str]:
        """Return the keys of some machines that serve routes or wait in the pool."""
        keys = sorted(self.judge.in_use)
        return sorted(rng.sample(keys, min(len(keys), rng.randint(least, most))))

    def _named_by(self, words: Sequence[str]) -> Sequence[str]:
        match words:
            case ["route", "replace" | "retire", route_id, *_]:
                machine = self.machine(route_id)
                return [machine.key] if machine else []
            case ["machine", "remove", key, *_] | ["pool", "recycle", key, *_]:
                return [key]
        return []


@asynccontextmanager
async def distrust_fleet(hosts: int) -> AsyncIterator[DistrustFleet]:
    """Provision a fleet and its pool; remove all at the end.

    Args:
        hosts: the number of routes.
    """
    with worker_clock() as clock, temporary_home("rlc-") as others:
        prepare_home(others)
        async with chaos_environment(_WINDOW, SETTINGS, clock.variables) as environment:
            routes = [f"chaos-{number}" for number in range(1, hosts + 1)]
            judge = Judge(environment.store, environment.deletions)
            fleet = DistrustFleet(environment, clock, others, routes, judge)
            await _provision(fleet)
            await apply(fleet.client, environment.settings, only_observing=True)
            async with watched(judge):
                yield fleet


@asynccontextmanager
async def watched(judge: Judge) -> AsyncIterator[None]:
    """Let a judge read the store again and again until the block ends."""
    watching = asyncio.create_task(judge.watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def healthy_labels(machines: Mapping[str, str], address: Callable[[str], str]) -> set[str]:
    """Return the labels of the machines whose service answers.

    Args:
        machines: the provider's ids, by label.
        address: returns the address of a label.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=2) as http:

        async def is_healthy(label: str) -> bool:
            try:
                return (await http.get(f"http://{address(label)}:8899/healthz")).is_success
            except httpx.HTTPError:
                return False

        healthy = await asyncio.gather(*map(is_healthy, machines))
    return {label for label, answers in zip(machines, healthy, strict=True) if answers}


async def _provision(fleet: DistrustFleet) -> None:
    store, operation = fleet.environment.store, Operation(origin=ORIGIN)
    store.tracks.set(TRACK, None, operation)
    store.fleet_settings.set(DEFAULT_RELEASE_SETTING, BEFORE, operation)
    places = {region: fleet.routes[number::2] for number, region in enumerate(REGIONS)}
    made = await asyncio.gather(
        *(
            fleet.type("route", "provision", *routes, "--track", TRACK, "--region", region)
            for region, routes in places.items()
            if routes
        )
    )
    assert all(ran.code == 0 for ran in made), made
    store.pool_sizes.set(PROVIDER, POOL_REGION, POOL_SIZE, operation)

    async def filled() -> bool:
        await fleet.type("reconcile")
        return [each.status for each in store.pool.list()] == [PoolStatus.READY] * POOL_SIZE

    await wait_until(filled, QUIET_WITHIN)
