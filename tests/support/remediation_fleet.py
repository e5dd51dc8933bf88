"""A fleet on real hosts that repairs and replaces by itself, with the shortest delays possible."""

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

REMEDIATED_WITHIN = timedelta(seconds=150)

SHORT_DELAYS = {
    "RECONCILE_EVERY": "PT10S",
    "RECONCILE__PROOF_LASTS": "PT0.001S",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__PROVIDER": "4",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__REGION": "3",
    "RECONCILE__STRATEGY__DISRUPTION_BUDGET__TRACK": "4",
    "RECONCILE__REPLACEMENT__UNREACHABLE_OBSERVATIONS": "2",
    "RECONCILE__REPLACEMENT__UNREACHABLE_FOR": "PT1S",
    "RECONCILE__REPLACEMENT__VERIFY_AFTER": "PT0S",
    "RECONCILE__REPLACEMENT__REPAIR_AFTER": "PT0S",
    "BREAKER__CALM_FOR": "PT1S",
    "BREAKER__REMEMBERED_FOR": "PT1S",
    "BREAKER__SPARED_FOR": "PT1S",
    "BREAKER__DESTROYED_PER_HOUR_IN_REGION": "10",
    "SSH__CONNECT_TIMEOUT": "PT1S",
}


class ReachableAddress:
    """An address for the connectivity check: a local port that accepts connections."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(
            lambda _, writer: writer.close(), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """Refuse connections until the block ends."""
        await self.close()
        try:
            yield
        finally:
            await self.open()


@dataclass(frozen=True)
class RemediationFleet:
    """A fleet, the address of its connectivity check, and the file with the drained machines."""

    fleet: LabFleet
    check: ReachableAddress
    drained: Path

    @property
    def client(self) -> Client:
        """The client of the fleet's Temporal server."""
        assert self.fleet.environment.client is not None
        return self.fleet.environment.client

    async def reconcile(self) -> Any:
        """Run one reconcile run to its end, and return its result."""
        return await self.fleet.ask("reconcile", "--reason", "requested by a test")

    async def reconcile_until_serving(self, tag: str) -> None:
        """Repeat reconcile runs until all routes serve a release and no operation is running."""

        async def done() -> bool:
            await self.reconcile()
            return self.serves(tag) and not await self.running_operations()

        await wait_until(done, REMEDIATED_WITHIN)

    def serves(self, tag: str) -> bool:
        """Return whether each route's record is serving and proven at a release."""
        routes = self.fleet.environment.store.routes.list()
        return all(
            (route.status, route.current_release_tag) == (RouteStatus.SERVING, tag)
            for route in routes
        )

    async def running_operations(self) -> list[str]:
        """Return the ids of the running workflows of routes, rollouts and pools."""
        ids = await self._running_workflows()
        return [each for each in ids if not each.startswith(("reconcile", "temporal"))]

    async def no_reconcile_runs(self) -> bool:
        """Return whether no reconcile run is running. A command would wait for its result."""
        return not any(each.startswith("reconcile") for each in await self._running_workflows())

    async def _running_workflows(self) -> list[str]:
        running = self.client.list_workflows("ExecutionStatus = 'Running'")
        return [each.id async for each in running]

    async def machines(self) -> dict[str, str]:
        """Return the machines at the provider: ids by key."""
        return await self.fleet.environment.machines()

    def machine(self, route_id: str) -> Machine:
        """Return the current machine of a route."""
        route = self.fleet.environment.store.routes.get(route_id)
        assert route is not None
        assert route.machine is not None
        return route.machine

    def key(self, route_id: str) -> str:
        """Return the key of the current machine of a route."""
        return self.machine(route_id).key

    async def switch_network(self, keys: Sequence[str], *, on: bool) -> None:
        """Connect machines to the network, or disconnect them."""
        ids = await self.machines()
        for key in keys:
            network.plug(ids[key], on=on)

    @asynccontextmanager
    async def without_network(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Disconnect machines from the network until the block ends."""
        await self.switch_network(keys, on=False)
        try:
            yield
        finally:
            await self.switch_network(keys, on=True)


class Availability(StrEnum):
    """The availability of a machine while it was its route's current machine, best first."""

    SERVING = "it answered each time"
    LISTED = "it existed and did not answer"
    GONE = "it did not exist"


@asynccontextmanager
async def availability(
    fleet: RemediationFleet, route_id: str
) -> AsyncIterator[dict[str, Availability]]:
    """Observe a route's machines until the block ends. Yields the worst availability, by key."""
    worst: dict[str, Availability] = {}
    order = [*Availability]
    done = asyncio.Event()

    async def observe_until_done() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=1) as http:
            while not done.is_set():
                key, observed = await _observe(fleet, http, route_id)
                worst[key] = max(worst.get(key, Availability.SERVING), observed, key=order.index)
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), 0.05)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(observe_until_done())
        try:
            yield worst
        finally:
            done.set()


async def _observe(
    fleet: RemediationFleet, http: httpx.AsyncClient, route_id: str
) -> tuple[str, Availability]:
    machine = fleet.machine(route_id)
    observed = Availability.SERVING
    try:
        (await http.get(f"http://{machine.address}:8899/healthz")).raise_for_status()
    except httpx.HTTPError:
        exists = machine.key in await fleet.machines()
        observed = Availability.LISTED if exists else Availability.GONE
    # If the route has another machine by now, the failure came after this one's time.
    if fleet.key(route_id) != machine.key:
        return machine.key, Availability.SERVING
    return machine.key, observed


@asynccontextmanager
async def remediation_fleet(kept: Path) -> AsyncIterator[RemediationFleet]:
    """Provision six routes in two regions, with a drain command and a connectivity check."""
    check, drained = ReachableAddress(), kept / "drained"
    await check.open()
    drain = f'["sh", "-c", "echo $RELIGHT_DRAIN_MACHINE >>{drained}"]'
    further = {f"RELIGHT_{name}": value for name, value in SHORT_DELAYS.items()} | {
        "RELIGHT_CONNECTIVITY_CHECKS": f'["tcp://127.0.0.1:{check.port}"]',
        "RELIGHT_DRAIN__COMMAND": drain,
    }
    async with lab_fleet(kept, tracks=("stable",), further=further) as fleet:
        yield RemediationFleet(fleet, check, drained)
    await check.close()
