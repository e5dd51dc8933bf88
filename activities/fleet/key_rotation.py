"""Rotation of keys on machines: the new key is added and proven, then the old one is taken away.

Nothing secret leaves an activity: inputs, results and the store have fingerprints and public keys.
"""

import asyncio

import structlog

from activities import policies
from activities.execution import current_operation, fault_of
from relight.domain import names
from relight.domain.fault.error import DomainError
from relight.domain.key_rotation import (
    AdvanceRotationInput,
    AwaitWorkerKeysInput,
    KeyKind,
    KeyRotation,
    KeyStanding,
    MachinesVisited,
    MachineToVisit,
    MachineVisited,
    RotateKeysInput,
    RotationPhase,
    VisitMachinesInput,
    WorkersHaveKeys,
    lacking,
)
from relight.domain.key_rotation import MachineKeyState as State
from relight.domain.machine import Machine
from relight.engine.step import step
from relight.hosts.authorized_keys import add_key, remove_key
from relight.hosts.connections import KeyedHosts
from relight.hosts.errors import HostKeyMismatchError, LoginRefusedError, OldKeyAcceptedError
from relight.hosts.host_key_change import change_host_key
from relight.hosts.key_files import KeyNotHereError, Keys
from relight.store.store import Store
from relight.store.threads import in_thread

PAGE = 50
"""Machines that one activity visits."""

CONCURRENCY = 25
"""How many of them at the same time. Each takes two or three logins."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("relight.keys")


class KeyRotationActivities:
    """Each is safe to run twice: what a machine has already is not changed again."""

    def __init__(self, store: Store, hosts: KeyedHosts, keys: Keys) -> None:
        self._store = store
        self._hosts = hosts
        self._keys = keys

    @step(policies.STORE, lambda i: f"{i.kind}: to {i.new.fingerprint}", lasting=True)
    def begin_key_rotation(self, input: RotateKeysInput) -> KeyStanding:
        """Record a rotation, or return how far it is if it is on record already."""
        return self._store.key_rotations.begin(input, current_operation(input.origin))

    @step(policies.WORKER_KEYS, lambda i: f"{i.rotation.kind}: each worker needs its keys")
    def await_worker_keys(self, input: AwaitWorkerKeysInput) -> WorkersHaveKeys:
        """Return once each worker has the keys; until then its retries wait."""
        workers = self._store.worker_keys.list()
        missing = lacking(input.rotation, workers)
        if missing:
            lack = ", ".join(f"{worker} lacks {name}" for worker, name in sorted(missing.items()))
            raise KeyNotHereError(f"the rotation waits for the keys of workers: {lack}")
        return WorkersHaveKeys(workers=len(workers))

    @step(
        policies.VISIT,
        lambda i: f"{i.rotation.kind}: {i.rotation.phase}, after {i.after or '-'}",
        lasting=True,
    )
    async def visit_machines(self, input: VisitMachinesInput) -> MachinesVisited:
        """Bring the next machines to what the phase requires, and record what is proven.

        A machine with a fault does not keep the others from it.
        """
        rotation, slots = input.rotation, asyncio.Semaphore(CONCURRENCY)
        self._keys().require(rotation.kind, rotation.new.fingerprint)
        found = await in_thread(self._store.key_rotations.to_visit, rotation, input.after, PAGE)

        async def visit(each: MachineToVisit, machine: Machine) -> MachineVisited:
            async with slots:
                visited = await self._visit(rotation, each, machine)
                # At once: a worker that is killed has visited these for good.
                await in_thread(self._store.key_rotations.record, rotation, [visited])
                return visited

        visited = await asyncio.gather(
            *(visit(each, each.machine) for each in found if each.machine is not None)
        )
        failed = sum(each.fault is not None for each in visited)
        return MachinesVisited(
            brought=len(visited) - failed,
            failed=failed,
            last=found[-1].machine_key if len(found) == PAGE else None,
        )

    @step(policies.STORE, lambda i: f"{i.kind}", lasting=True)
    def advance_key_rotation(self, input: AdvanceRotationInput) -> KeyStanding:
        """Begin the next phase if the present one waits for no machine."""
        return self._store.key_rotations.advance(input.kind, current_operation(input.origin))

    # ------------------------------------------------------------------ one machine

    async def _visit(
        self, rotation: KeyRotation, each: MachineToVisit, machine: Machine
    ) -> MachineVisited:
        state = each.state
        try:
            if rotation.kind is KeyKind.HOST_SECRET:
                await self._change_host_key(rotation, machine)
                state = State.DONE
            else:
                if state is None:
                    await self._add(rotation, machine)
                    state = State.ADDED
                if rotation.phase is RotationPhase.REMOVING:
                    await self._remove(rotation, machine)
                    state = State.DONE
        except DomainError as error:
            fault = fault_of(error)
            log.warning(fault.summary, **{names.LOG_HOST: machine.key, names.LOG_FAULT: fault.kind})
            return MachineVisited(machine_key=machine.key, state=state, fault=fault.brief)
        return MachineVisited(machine_key=machine.key, state=state)

    async def _add(self, rotation: KeyRotation, machine: Machine) -> None:
        """Let a machine accept the new client key, and log in with it."""
        async with self._hosts.connect_with(machine) as shell:
            await add_key(shell, self._keys().client(rotation.new.fingerprint))
        async with self._hosts.connect_with(machine, client=rotation.new.fingerprint):
            pass

    async def _remove(self, rotation: KeyRotation, machine: Machine) -> None:
        """Remove the old client key, and check that a login with it is refused."""
        ring, new = self._keys(), rotation.new.fingerprint
        async with self._hosts.connect_with(machine, client=new) as shell:
            for public in rotation.old.public.splitlines():
                await remove_key(shell, public, ring.client(new))
        if rotation.old.fingerprint not in ring.fingerprints(KeyKind.CLIENT):
            return  # Nobody here can try it.
        try:
            async with self._hosts.connect_with(machine, client=rotation.old.fingerprint) as shell:
                raise OldKeyAcceptedError(
                    f"it still accepts the old client key {rotation.old.fingerprint}",
                    destination=shell.destination,
                    attempted="log in with the old client key",
                )
        except LoginRefusedError:
            return

    async def _change_host_key(self, rotation: KeyRotation, machine: Machine) -> None:
        """Let a machine show the host key of the new secret only, and prove that."""
        new = rotation.new.fingerprint
        try:
            async with self._hosts.connect_with(machine, secret=new):
                return
        except HostKeyMismatchError:
            pass  # It shows the old one; or neither, and then nothing is sent to it.
        ring = self._keys()
        present = ring.secret(rotation.old.fingerprint)
        async with self._hosts.connect_with(machine, secret=present.fingerprint) as shell:
            await change_host_key(
                shell, present.host_key(machine.key), ring.secret(new).host_key(machine.key)
            )
        async with self._hosts.connect_with(machine, secret=new):
            pass
