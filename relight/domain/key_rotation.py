"""Rotation of the client key and of the host-key secret.

A rotation gives each machine the new key beside the old one, proves it, and only then takes the old
key away. Both keys work at each moment in between, so a rotation can stop anywhere and go on later.
Only fingerprints and public keys are in messages and in the store.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime

from relight.domain.base import Message, Origin
from relight.domain.fault.fault import Fault
from relight.domain.machine import Machine
from relight.domain.names import RouteId

NEXT = ".next"
"""The end of the name of a rotation's new file, beside the file in use."""

MAX_NAMED = 25
"""How many machines a message names; the store has all."""


class KeyKind(StrEnum):
    """What is rotated.

    `client`: the key that workers log in with. `host-secret`: the secret from which the host key of
    each machine is derived.
    """

    CLIENT = "client"
    HOST_SECRET = "host-secret"  # noqa: S105 - a name


class RotationPhase(StrEnum):
    """How far a rotation is.

    `adding`: the machines get the new key; new machines get the old one, and for logins both.
    `removing`: each machine has it; new machines get it alone, and the old one is taken away.
    `finished`: the old key works nowhere.
    """

    ADDING = "adding"
    REMOVING = "removing"
    FINISHED = "finished"


class MachineKeyState(StrEnum):
    """What is proven of a machine in a rotation.

    `added`: it accepts the new key. `done`: it does not accept or show the old one any more.
    """

    ADDED = "added"
    DONE = "done"


class KeyName(Message):
    """A key, by what everybody may know of it.

    Attributes:
        fingerprint: `SHA256:...`; of the secret, that of a host key derived from it.
        public: of a client key, its algorithm and public key as in authorized_keys; else empty. An
            old key may have several lines: those of lost keys are taken away with it.
    """

    fingerprint: str
    public: str = ""


class KeyRotation(Message):
    """The newest rotation of a kind."""

    kind: KeyKind
    old: KeyName
    new: KeyName
    phase: RotationPhase
    began_at: AwareDatetime
    phase_since: AwareDatetime

    @property
    def is_finished(self) -> bool:
        """Whether the old key works nowhere."""
        return self.phase is RotationPhase.FINISHED


KeyRotations = Mapping[KeyKind, KeyRotation]
"""The newest rotation of each kind that has one."""


class WaitingMachine(Message):
    """A machine that a rotation waits for.

    Attributes:
        route_id: the route that it was made for or claimed by; None in the pool.
        reason: why it is not as it should be.
        failed: it was visited, and has a fault.
        left: a person lets the rotation go on without it.
    """

    machine_key: str
    route_id: RouteId | None
    reason: str
    failed: bool = False
    left: bool = False


class KeyStanding(Message):
    """A rotation, and what its machines have.

    Attributes:
        machines: how many there are.
        added: how many have the new key and the old one.
        done: how many have the new key only.
        waiting: those that are not as the phase requires; at most `MAX_NAMED` of them.
        waiting_count: how many these are.
        left_count: how many of them a person lets it go on without.
    """

    rotation: KeyRotation
    machines: int
    added: int
    done: int
    waiting: tuple[WaitingMachine, ...] = ()
    waiting_count: int = 0
    left_count: int = 0

    @property
    def counts(self) -> str:
        """What the machines have, for a person."""
        return (
            f"{self.machines} machines, {self.added} have both keys, {self.done} the new one only"
        )

    @property
    def blocked(self) -> bool:
        """Whether the phase has to wait for a machine."""
        return self.waiting_count > self.left_count


def waiting_text(standing: KeyStanding) -> str:
    """Return which machines a rotation waits for, as an enumeration."""
    named = "; ".join(f"{each.machine_key}: {each.reason}" for each in standing.waiting)
    more = standing.waiting_count - len(standing.waiting)
    return f"{named}; and {more} more" if more else named


def unfinished_text(standing: KeyStanding) -> str:
    """Return that a rotation is not finished, and because of which machines."""
    return (
        "the rotation is not finished: these machines may have the old key only:"
        f" {waiting_text(standing)}"
    )


class RotateKeysInput(Message):
    """Rotate a key, or continue its unfinished rotation to the same new key.

    Attributes:
        start_over: the new key of the unfinished rotation is lost: rotate to this one instead.
    """

    kind: KeyKind
    old: KeyName
    new: KeyName
    origin: Origin
    start_over: bool = False


class VisitMachinesInput(Message):
    """Bring the next machines to what the phase requires.

    Attributes:
        after: the key of the last machine before them.
    """

    rotation: KeyRotation
    after: str = ""


class MachinesVisited(Message):
    """What became of some machines.

    Attributes:
        brought: how many are as the phase requires now.
        failed: how many are not.
        last: the key of the last one; None if there are no more.
    """

    brought: int
    failed: int
    last: str | None


class AwaitWorkerKeysInput(Message):
    """Wait until each worker has the keys of a rotation."""

    rotation: KeyRotation


class WorkersHaveKeys(Message):
    """Each worker has the keys.

    Attributes:
        workers: how many there are.
    """

    workers: int


class AdvanceRotationInput(Message):
    """Begin the next phase of a rotation, if all machines are as the present one requires."""

    kind: KeyKind
    origin: Origin


class MachineToVisit(Message):
    """A machine that is not as the phase requires.

    Attributes:
        machine: None if it has no address yet.
    """

    machine_key: str
    machine: Machine | None
    state: MachineKeyState | None


class MachineVisited(Message):
    """What is proven of a machine now, or the fault that it has."""

    machine_key: str
    state: MachineKeyState | None
    fault: Fault | None = None


class WorkerKeys(Message):
    """The keys that a worker has in its files, by their fingerprints; the one in use first.

    Attributes:
        worker: its identity, as in `4711@host`.
        seen_at: when it last reported.
    """

    worker: str
    client: tuple[str, ...]
    host_secret: tuple[str, ...]
    seen_at: AwareDatetime

    def of(self, kind: KeyKind) -> tuple[str, ...]:
        """Return the fingerprints of a kind."""
        return self.client if kind is KeyKind.CLIENT else self.host_secret


def next_of(file: Path) -> Path:
    """Return the path of a rotation's new file."""
    return file.with_name(file.name + NEXT)


def rotation_workflow_id(kind: KeyKind) -> str:
    """Return the workflow id that is the lock of a rotation."""
    return f"keys/{kind}"


def required_states(kind: KeyKind, phase: RotationPhase) -> frozenset[MachineKeyState]:
    """Return the states of machines that a phase does not wait for.

    A machine shows one host key only: with the new one, the old one is gone.
    """
    if phase is RotationPhase.ADDING and kind is KeyKind.CLIENT:
        return frozenset({MachineKeyState.ADDED, MachineKeyState.DONE})
    return frozenset({MachineKeyState.DONE})


def next_phase(standing: KeyStanding) -> RotationPhase:
    """Return the phase that a rotation is in from now on.

    Machines that a person lets it go on without keep it from its end: they have the old key.
    """
    phase = standing.rotation.phase
    if standing.blocked:
        return phase
    if phase is RotationPhase.ADDING:
        return RotationPhase.REMOVING
    return phase if standing.left_count else RotationPhase.FINISHED


def having(kind: KeyKind, fingerprint: str, workers: tuple[WorkerKeys, ...]) -> list[str]:
    """Return the workers that have a key."""
    return [each.worker for each in workers if fingerprint in each.of(kind)]


def lacking(rotation: KeyRotation, workers: tuple[WorkerKeys, ...]) -> dict[str, str]:
    """Return the workers that lack a key of a rotation, each with the fingerprint of that key.

    The old key is needed as long as machines may have it only, unless no worker has it any more.
    """
    old, needed = rotation.old.fingerprint, [rotation.new.fingerprint]
    if rotation.phase is RotationPhase.ADDING and having(rotation.kind, old, workers):
        needed.insert(0, old)
    return {
        each.worker: missing[0]
        for each in workers
        if (missing := [name for name in needed if name not in each.of(rotation.kind)])
    }
