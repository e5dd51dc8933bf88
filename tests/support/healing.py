"""Routes on real hosts that heal themselves, as impatiently as they may, and who watches them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import httpx
from temporalio.client import Client

from lab import network
from relight.domain.machine import Machine
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from tests.support.lab_fleet import LabFleet, lab_fleet

HEALED_WITHIN = timedelta(seconds=150)

IMPATIENCE = {
    "RECONCILE_EVERY": "PT10S",
    "RECONCILE__PROOF_LASTS": "PT0.001S",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__PROVIDER": "4",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION": "3",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__TRACK": "4",
    "RECONCILE__REPLACEMENT__SIGHTINGS": "2",
    "RECONCILE__REPLACEMENT__SIGHTED_FOR": "PT1S",
    "RECONCILE__REPLACEMENT__LOOK_AGAIN_AFTER": "PT0S",
    "RECONCILE__REPLACEMENT__REPAIR_AFTER": "PT0S",
    "BREAKER__CALM_FOR": "PT1S",
    "BREAKER__REMEMBERED_FOR": "PT1S",
    "BREAKER__DESTROYED_PER_HOUR_IN_REGION": "10",
    "SSH__CONNECT_TIMEOUT": "PT2S",
}


class ConnectivityCheck:
    """A place that is known to be up: a port on which something listens."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        await self.close()
        try:
            yield
        finally:
            await self.open()


@dataclass(frozen=True)
class HealingFleet:
    """The fleet, the witness of its control plane, and where drained machines are written down."""

    fleet: LabFleet
    check: ConnectivityCheck
    drained: Path

    @property
    def client(self) -> Client:
        assert self.fleet.world.client is not None
        return self.fleet.world.client

    async def one_run(self) -> Any:
        """Run a pass of reconciliation to its end, and return what came of it."""
        return await self.fleet.ask("reconcile", "--reason", "a test asks")

    async def runs_until_healed(self, tag: str) -> None:
        """Run passes until every route was seen to run a release, and nothing is under way."""

        async def healed() -> bool:
            await self.one_run()
            return self.serves(tag) and not await self.under_way()

        await wait_until(healed, HEALED_WITHIN)

    def serves(self, tag: str) -> bool:
        """Whether every route is on record as proven to run a release."""
        routes = self.fleet.world.store.routes.list()
        return all(
            (route.status, route.current_release_tag) == (RouteStatus.SERVING, tag)
            for route in routes
        )

    async def under_way(self) -> list[str]:
        """Return the operations on routes that run, and rollouts and pools."""
        client = self.fleet.world.client
        assert client is not None
        running = client.list_workflows("ExecutionStatus = 'Running'")
        return [
            each.id async for each in running if not each.id.startswith(("reconcile", "temporal"))
        ]

    async def machines(self) -> dict[str, str]:
        """Return what there is at the provider: ids by key."""
        return await self.fleet.world.machines()

    def machine(self, route_id: str) -> Machine:
        """Return the machine that a route points at."""
        route = self.fleet.world.store.routes.get(route_id)
        assert route is not None
        assert route.machine is not None
        return route.machine

    def key(self, route_id: str) -> str:
        return self.machine(route_id).key

    async def switch(self, keys: Sequence[str], *, on: bool) -> None:
        """Take the network from machines, or give it back."""
        ids = await self.machines()
        for key in keys:
            network.plug(ids[key], on=on)

    @asynccontextmanager
    async def without_network(self, keys: Sequence[str]) -> AsyncIterator[None]:
        await self.switch(keys, on=False)
        try:
            yield
        finally:
            await self.switch(keys, on=True)


class Seen(StrEnum):
    """What a machine was seen to do for as long as a route pointed at it."""

    SERVING = "it answered each time"
    LISTED = "it was there, and did not answer"
    GONE = "it was not there"


@asynccontextmanager
async def watched(healing: HealingFleet, route_id: str) -> AsyncIterator[dict[str, Seen]]:
    """Watch each machine that a route points at meanwhile, and keep the worst that was seen."""
    worst: dict[str, Seen] = {}
    order = [*Seen]
    done = asyncio.Event()

    async def watch() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=1) as http:
            while not done.is_set():
                key, seen = await look(healing, http, route_id)
                worst[key] = max(worst.get(key, Seen.SERVING), seen, key=order.index)
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), 0.05)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        try:
            yield worst
        finally:
            done.set()


async def look(healing: HealingFleet, http: httpx.AsyncClient, route_id: str) -> tuple[str, Seen]:
    """Return which machine a route points at, and what it does."""
    machine = healing.machine(route_id)
    seen = Seen.SERVING
    try:
        (await http.get(f"http://{machine.address}:8899/healthz")).raise_for_status()
    except httpx.HTTPError:
        seen = Seen.LISTED if machine.key in await healing.machines() else Seen.GONE
    # What it points at by now is the next look's.
    if healing.key(route_id) != machine.key:
        return machine.key, Seen.SERVING
    return machine.key, seen


@asynccontextmanager
async def healing_fleet(kept: Path) -> AsyncIterator[HealingFleet]:
    """Bring six routes up in two regions, whose control plane drains and asks a witness."""
    check, drained = ConnectivityCheck(), kept / "drained"
    await check.open()
    drain = f'["sh", "-c", "echo $RELIGHT_DRAIN_MACHINE >>{drained}"]'
    further = {f"RELIGHT_{name}": value for name, value in IMPATIENCE.items()} | {
        "RELIGHT_CONNECTIVITY_CHECKS": f'["tcp://127.0.0.1:{check.port}"]',
        "RELIGHT_DRAIN__COMMAND": drain,
    }
    async with lab_fleet(kept, tracks=("stable",), further=further) as fleet:
        yield HealingFleet(fleet, check, drained)
    await check.close()
