"""Rotations of an installation whose hosts check keys as real ones do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import user_data_renderer
from relight.domain.key_rotation import (
    KeyKind,
    KeyName,
    KeyStanding,
    RotateKeysInput,
    rotation_workflow_id,
)
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError
from relight.hosts.key_files import KeyFiles, KeyRing
from starter.local.home import make_next, new_client_key, new_host_key_secret, prepare_home
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.installation import small_installation
from workflows.endings import result_of
from workflows.fleet.key_rotation import RotateKeys

ROUTES = ("de-1", "de-2", "de-3")
NEW_TEXT = {KeyKind.CLIENT: new_client_key, KeyKind.HOST_SECRET: new_host_key_secret}


@dataclass
class Rotation:
    """Three routes and a pool machine, and the keys of their control plane.

    Attributes:
        files: of the keys in use, by kind.
    """

    harness: Harness
    files: dict[KeyKind, Path]
    keys: KeyFiles

    @property
    def hosts(self) -> SimulatedHosts:
        return self.harness.hosts

    def names(self, kind: KeyKind) -> tuple[KeyName, ...]:
        ring: KeyRing = self.keys()
        return tuple(
            each.name for each in (ring.clients if kind is KeyKind.CLIENT else ring.secrets)
        )

    def make_next(self, kind: KeyKind) -> None:
        make_next(self.files[kind], NEW_TEXT[kind]())

    async def start(
        self, kind: KeyKind, *names: KeyName, start_over: bool = False
    ) -> WorkflowHandle[RotateKeys, KeyStanding]:
        """Start a rotation, or wake the one that runs."""
        old, new = names or self.names(kind)
        policy = WorkflowIDConflictPolicy
        return await self.harness.client.start_workflow(
            RotateKeys.run,
            RotateKeysInput(kind=kind, old=old, new=new, origin=ORIGIN, start_over=start_over),
            id=rotation_workflow_id(kind),
            task_queue=self.harness.task_queue,
            start_signal="visit_now",
            id_conflict_policy=policy.TERMINATE_EXISTING if start_over else policy.USE_EXISTING,
        )

    async def rotate(self, kind: KeyKind) -> KeyStanding:
        return await self.ended(await self.start(kind))

    async def ended(self, rotation: WorkflowHandle[RotateKeys, KeyStanding]) -> KeyStanding:
        """Return how far a rotation is once it has ended, finished or not."""
        return await result_of(rotation.result(), KeyStanding)

    def standing(self, kind: KeyKind) -> KeyStanding | None:
        return self.harness.store.key_rotations.standing(kind)

    async def until_waits_for(self, kind: KeyKind, *machine_keys: str) -> KeyStanding:
        """Wait until these machines, and no others, were visited and have a fault."""

        def waits() -> bool:
            standing = self.standing(kind)
            waiting = standing.waiting if standing else ()
            found = {each.machine_key for each in waiting if each.failed}
            return found == set(machine_keys) == {each.machine_key for each in waiting}

        await self.harness.until(waits)
        standing = self.standing(kind)
        assert standing is not None
        return standing

    async def tries(self, key: str, kind: KeyKind, name: KeyName) -> str:
        """Log in on a machine with one key only; return the kind of the fault, or nothing."""
        machine = self.harness.store.machines.last_observed(key)
        assert machine is not None
        only = {"client" if kind is KeyKind.CLIENT else "secret": name.fingerprint}
        try:
            async with self.hosts.connect_with(machine, **only):
                return ""
        except (HostKeyMismatchError, LoginRefusedError) as error:
            return error.kind

    async def assert_rotated(self, kind: KeyKind, old: KeyName, new: KeyName) -> None:
        """Check that each machine accepts or shows the new key only."""
        refusal = "login-refused" if kind is KeyKind.CLIENT else "host-key-mismatch"
        keys = [key for key in await self.harness.machine_keys() if self.hosts.host(key)]
        assert keys
        for key in keys:
            assert await self.tries(key, kind, new) == "", key
            assert await self.tries(key, kind, old) == refusal, key

    def assert_nothing_happened(self) -> None:
        """Check that no machine was destroyed or suspected."""
        kinds = {event.kind for event in self.harness.events()}
        assert not kinds & {"machine-destroyed", "breaker-opened", "incident-opened"}
        assert self.harness.store.breaker.get().incident is None


@asynccontextmanager
async def rotating_installation(client: Client, folder: Path) -> AsyncIterator[Rotation]:
    """Run an installation with three routes and a pool machine."""
    async with keyed_installation(client, folder) as rotation:
        harness = rotation.harness
        await asyncio.gather(*(harness.serving_route(route_id=each) for each in ROUTES))
        await harness.pool_machine()
        yield rotation


@asynccontextmanager
async def keyed_installation(client: Client, folder: Path, **parts: Any) -> AsyncIterator[Rotation]:
    """Run an installation without routes, whose hosts check the keys of its home folder."""
    ssh = prepare_home(folder / "home")
    keys = KeyFiles(ssh.client_key, ssh.host_key_secret)
    user_data = replace(user_data_renderer(keys().clients[0].private), keys=keys)
    async with small_installation(client, folder, user_data=user_data, **parts) as harness:
        harness.hosts.keys = keys
        files = {KeyKind.CLIENT: ssh.client_key, KeyKind.HOST_SECRET: ssh.host_key_secret}
        yield Rotation(harness, files, keys)
        for kind in KeyKind:
            with suppress(RPCError):
                await client.get_workflow_handle(rotation_workflow_id(kind)).terminate()
