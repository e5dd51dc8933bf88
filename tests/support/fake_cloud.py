"""A provider in memory. It passes the contract test of the real drivers."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from devkit.chaos.troubles import (
    Call,
    Trouble,
    Troubles,
)
from relight.domain.machine import (
    MachineRef,
    MachineStatus,
    Region,
)
from relight.domain.sweep.sweep import MachineAtProvider, ProviderListing
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    adopted,
)

_REFUSALS = {
    Trouble.TOO_MANY: (ProviderRateLimitedError, "429 slow down"),
    Trouble.BROKEN: (ProviderUnavailableError, "500 broken"),
    Trouble.UNANSWERED: (ProviderUnavailableError, "no answer came"),
}


class FakeCloud:
    """Machines come up at the first look after their creation, and go at the first after their end.

    Attributes:
        created: the key of every machine that was ever created, in order.
        user_data: what each was created with.
        troubles: what goes wrong.
        lists_in_part: only the first half of a listing comes.
    """

    name = "fake"
    regions = ("fake-east", "fake-west")

    def __init__(self) -> None:
        self.created: list[str] = []
        self.user_data: dict[str, str] = {}
        self.troubles = Troubles()
        self.lists_in_part = False
        self._machines: dict[str, MachineAtProvider] = {}
        self._ending: set[str] = set()
        self._numbers = itertools.count(1)

    async def region(self, name: str) -> Region | None:
        if name not in self.regions:
            return None
        return Region(provider=self.name, name=name, architecture="amd64")

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        found = await self.find(key)
        if found is not None:
            return adopted(found, spec)
        with self._asked(Call.CREATE, f"create {key}"):
            return self._create(key, spec)

    async def find(self, key: str) -> MachineAtProvider | None:
        with self._asked(Call.LOOK, f"find {key}"):
            return self.seen(key)

    async def list(self) -> ProviderListing:
        asked_at = datetime.now(UTC)
        with self._asked(Call.LOOK, "list machines"):
            machines = sorted(self._machines.values(), key=lambda machine: machine.key)
            came = machines[: len(machines) // 2] if self.lists_in_part else machines
            return ProviderListing(
                provider=self.name,
                asked_at=asked_at,
                machines=tuple(came),
                complete=not self.lists_in_part,
            )

    async def destroy(self, machine: MachineRef) -> bool:
        attempted = f"destroy {machine.key}"
        with self._asked(Call.DESTROY, attempted) as trouble:
            present = self._machines.get(machine.provider_id)
            if present is None:
                return False
            if present.key != machine.key:
                raise MachineConflictError(self.name, attempted, f"it is labelled {present.key}")
            self._change(present, status=MachineStatus.DELETING)
            if trouble is not Trouble.NOT_DONE:
                self._ending.add(present.provider_id)
            return True

    async def console(self, machine: MachineRef) -> str | None:
        with self._asked(Call.LOOK, f"read the console of {machine.key}"):
            present = self._machines.get(machine.provider_id)
            return f"{present.key} login: " if present is not None else None

    async def close(self) -> None:
        """Hold no connection."""

    def seen(self, key: str) -> MachineAtProvider | None:
        """Look at a machine, past all troubles."""
        found = [machine for machine in self._machines.values() if machine.key == key]
        if len(found) > 1:
            raise MachineConflictError(self.name, f"find {key}", "more than one has this label")
        if not found:
            return None
        self._advance(found[0])
        return found[0]

    def make_older(self, key: str, by: timedelta) -> None:
        """Have a machine be created earlier than it was."""
        for machine in [each for each in self._machines.values() if each.key == key]:
            assert machine.created_at is not None
            self._change(machine, created_at=machine.created_at - by)

    @contextmanager
    def _asked(self, call: Call, attempted: str) -> Iterator[Trouble | None]:
        """Answer a call, or let go wrong what is due to it."""
        trouble = self.troubles.take(call)
        if trouble in _REFUSALS:
            error, answer = _REFUSALS[trouble]
            raise error(self.name, attempted, answer)
        yield trouble
        if trouble is Trouble.REPLY_LOST:
            raise ProviderUnavailableError(self.name, attempted, "the answer was lost")

    def _create(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        machine = MachineAtProvider(
            key=key,
            provider=self.name,
            provider_id=f"fake-{next(self._numbers)}",
            region=spec.region,
            architecture="amd64",
            status=MachineStatus.PROVISIONING,
            owner=spec.owner,
            generation=spec.generation,
            created_at=datetime.now(UTC),
        )
        self._machines[machine.provider_id] = machine
        self.created.append(key)
        self.user_data[key] = spec.user_data.get_secret_value()
        return machine

    def _advance(self, machine: MachineAtProvider) -> None:
        """Take one step towards what was asked for, after it was looked at."""
        if machine.status is MachineStatus.PROVISIONING:
            number = int(machine.provider_id.removeprefix("fake-"))
            address = f"192.0.2.{number % 250 + 1}"
            self._change(machine, status=MachineStatus.RUNNING, address=address)
        elif machine.provider_id in self._ending:
            del self._machines[machine.provider_id]

    def _change(self, machine: MachineAtProvider, **what: Any) -> None:
        self._machines[machine.provider_id] = machine.model_copy(update=what)
