"""The gate of a whole installation, asked directly, with the limits that ship."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from temporalio.testing import ActivityEnvironment

from devkit.simulated.hosts import SimulatedHosts, SimulatedShell
from devkit.walk.clock import Clock
from relight.domain.destruction import (
    DestroyMachineInput,
    DestructionReason,
    MachineDestroyed,
    RefusedBy,
)
from relight.domain.fault.table import fault
from relight.domain.machine import Machine
from relight.domain.route import RecordFaultInput
from relight.hosts.errors import Destination, RemoteError
from tests.store.fleets import run_on
from tests.store.pools import PROOF
from tests.support.destroyers import destroyer_of
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.unrecorded import unrecorded_machine


@dataclass
class RefusingHosts:
    """Hosts that refuse the control plane, as if its key or its secret were another.

    Attributes:
        meanwhile: what happens while a machine is asked.
    """

    hosts: SimulatedHosts
    refusals: dict[str, type[RemoteError]] = field(default_factory=dict)
    everywhere: type[RemoteError] | None = None
    meanwhile: Callable[[], object] = lambda: None

    @asynccontextmanager
    async def connect(self, machine: Machine) -> AsyncIterator[SimulatedShell]:
        self.meanwhile()
        refusal = self.everywhere or self.refusals.get(machine.key)
        if refusal is not None:
            destination = Destination(machine.address or "", 22, "relight", machine.key)
            raise refusal("refused", destination=destination, attempted="connect")
        async with self.hosts.connect(machine) as shell:
            yield shell


@dataclass
class Gate:
    """An installation whose gate is asked directly, and whose time can pass at once.

    Attributes:
        while_destroyed: what happens between a request to the provider and its confirmation.
    """

    harness: Harness
    clock: Clock
    hosts: RefusingHosts
    while_destroyed: Callable[[], None] = lambda: None

    async def ask(self, key: str, reason: DestructionReason, **fields: object) -> MachineDestroyed:
        harness = self.harness
        destroyer = destroyer_of(
            harness.store, harness.drivers, self.hosts, check=harness.parts.connectivity[0]
        )
        request = DestroyMachineInput.model_validate(
            {"provider": "fake", "key": key, "reason": reason, "origin": ORIGIN, **fields}
        )
        environment = ActivityEnvironment()
        # Each is an activity of its own, and no retry.
        environment.info = replace(environment.info, activity_id=uuid.uuid4().hex)
        environment.on_heartbeat = lambda *_: self.while_destroyed()
        return await environment.run(destroyer.destroy_machine, request)

    async def refused_by(
        self, key: str, reason: DestructionReason, **fields: object
    ) -> RefusedBy | None:
        refusal = (await self.ask(key, reason, **fields)).refusal
        return refusal.by if refusal else None

    async def live_machine(self, key: str, created_by: str = "") -> None:
        """Create a machine of ours that works, and that is not on record."""
        await unrecorded_machine(self.harness, key, created_by=created_by)
        assert self.harness.cloud.read(key) is not None
        assert self.harness.cloud.read(key) is not None

    def record_fault(self, route_id: str, kind: str, key: str) -> None:
        found = fault(kind, "seen in a test").model_copy(update={"machine_key": key})
        self.harness.store.routes.record_fault(
            RecordFaultInput(
                route_id=route_id, release_tag=None, fault=found, origin=ORIGIN, machine_key=key
            ),
            run_on(route_id).activity(),
        )


async def drained(gate: Gate, *, requested: bool = False, unreachable: bool = False) -> str:
    """Return the key of a machine whose route has another one since."""
    harness = gate.harness
    route_id, key = await harness.serving_route(), await harness.pool_machine()
    run = run_on(route_id)
    store = harness.store
    store.pool.claim(route_id, "v0.0.73", run.activity(), lambda *_: (key,))
    route = harness.route(route_id)
    found = store.machines.last_observed(key)
    assert found is not None
    assert route.machine is not None
    store.replacements.attach(
        route_id,
        found,
        PROOF,
        run.activity(),
        unreachable=unreachable,
        requested=requested,
    )
    return route.machine.key
