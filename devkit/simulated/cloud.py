"""A provider in memory. It passes the contract test of the real drivers."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from devkit.chaos.provider_faults import (
    Call,
    ProviderFault,
    ProviderFaults,
)
from devkit.simulated.images import SimulatedImages
from devkit.simulated.written_files import unpacked
from relight.domain.machine import (
    MachineAtProvider,
    MachineRef,
    MachineStatus,
    Region,
)
from relight.domain.sweep.sweep import ProviderListing
from relight.providers.driver import (
    MachineConflictError,
    MachineSpec,
    ProviderAnswerError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
    UserDataLimit,
    adopted,
)

_REFUSALS = {
    ProviderFault.TOO_MANY_REQUESTS: (ProviderRateLimitedError, "429 slow down"),
    ProviderFault.SERVER_ERROR: (ProviderUnavailableError, "500 broken"),
    ProviderFault.UNANSWERED: (ProviderUnavailableError, "no answer came"),
}


class FakeCloud(SimulatedImages):
    """One account at a provider in memory.

    The first read after a creation or a destruction still returns the machine's old state; the next
    one returns that it runs, or that it is gone.

    Attributes:
        name: the provider's name.
        created: the key of every machine that was created, in order.
        user_data: the user-data of each machine, by key.
        provider_faults: the faults to inject into calls.
        unlisted: the keys of machines that listings lack, though they exist.
        machine_images: the id of the image that a machine was made of, by the machine's id.
    """

    REGIONS = ("fake-east", "fake-west")

    user_data_limit: UserDataLimit | None = None

    def __init__(self, name: str = "fake") -> None:
        super().__init__(name)
        self.created: list[str] = []
        self.user_data: dict[str, str] = {}
        self.provider_faults = ProviderFaults()
        self.unlisted: set[str] = set()
        self._machines: dict[str, MachineAtProvider] = {}
        self._ending: set[str] = set()
        self.machine_images: dict[str, str] = {}
        self._numbers = itertools.count(1)

    async def regions(self) -> tuple[Region, ...]:
        return tuple(
            Region(provider=self.name, name=each, architecture="amd64") for each in self.REGIONS
        )

    async def ensure(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        found = await self.find(key)
        if found is not None:
            return adopted(found, spec)
        with self._call(Call.CREATE, f"create {key}"):
            return self._create(key, spec)

    async def find(self, key: str) -> MachineAtProvider | None:
        with self._call(Call.READ, f"find {key}"):
            return self.read(key)

    async def get(self, provider_id: str) -> MachineAtProvider | None:
        with self._call(Call.READ, f"find {provider_id}"):
            found = self._machines.get(provider_id)
            return self.read(found.key) if found is not None else None

    async def list(self, region: str | None = None) -> ProviderListing:
        requested_at = datetime.now(UTC)
        with self._call(Call.READ, "list machines"):
            machines = sorted(
                (
                    each
                    for each in self._machines.values()
                    if region in {None, each.region} and each.key not in self.unlisted
                ),
                key=lambda machine: machine.key,
            )
            for machine in machines:
                self._advance(machine)
            return ProviderListing(
                provider=self.name, asked_at=requested_at, machines=tuple(machines)
            )

    async def destroy(self, machine: MachineRef) -> bool:
        attempted = f"destroy {machine.key}"
        with self._call(Call.DESTROY, attempted) as fault:
            present = self._machines.get(machine.provider_id)
            if present is None:
                return False
            if present.key != machine.key:
                raise MachineConflictError(self.name, attempted, f"it is labelled {present.key}")
            self.change(present, status=MachineStatus.DELETING)
            if fault is not ProviderFault.ACCEPTED_NOT_DONE:
                self._ending.add(present.provider_id)
            return True

    async def console(self, machine: MachineRef) -> str | None:
        with self._call(Call.READ, f"read the console of {machine.key}"):
            present = self._machines.get(machine.provider_id)
            return f"{present.key} login: " if present is not None else None

    async def image_of(self, provider_id: str) -> str | None:
        with self._call(Call.READ, f"find the image of {provider_id}"):
            return self.machine_images.get(provider_id)

    async def close(self) -> None:
        """There is no connection."""

    def read(self, key: str) -> MachineAtProvider | None:
        """Return a machine as `find` does, but without injected faults."""
        found = [machine for machine in self._machines.values() if machine.key == key]
        if len(found) > 1:
            raise MachineConflictError(self.name, f"find {key}", "more than one has this label")
        if not found:
            return None
        self._advance(found[0])
        return found[0]

    def machine_image(self, key: str) -> str | None:
        """Return the id of the image that a machine was made of; None if it was the default."""
        found = self.read(key)
        return self.machine_images.get(found.provider_id) if found is not None else None

    def change(self, machine: MachineAtProvider, **fields: Any) -> None:
        """Change fields of a machine."""
        self._machines[machine.provider_id] = machine.model_copy(update=fields)

    def make_older(self, key: str, by: timedelta) -> None:
        """Move a machine's creation time into the past."""
        for machine in [each for each in self._machines.values() if each.key == key]:
            assert machine.created_at is not None
            self.change(machine, created_at=machine.created_at - by)

    @contextmanager
    def _call(self, call: Call, attempted: str) -> Iterator[ProviderFault | None]:
        """Record a call, and fail it with the fault that is injected into it, if any."""
        fault = self.provider_faults.next_for(call)
        if fault in _REFUSALS:
            error, answer = _REFUSALS[fault]
            raise error(self.name, attempted, answer)
        yield fault
        if fault is ProviderFault.REPLY_LOST:
            raise ProviderUnavailableError(self.name, attempted, "the answer was lost")
        if fault is ProviderFault.UNREADABLE:
            raise ProviderAnswerError(self.name, attempted, "<html>Please log in</html>")

    def _create(self, key: str, spec: MachineSpec) -> MachineAtProvider:
        machine = MachineAtProvider(
            key=key,
            provider=self.name,
            provider_id=f"{self.name}-{next(self._numbers)}",
            region=spec.region,
            architecture="amd64",
            status=MachineStatus.PROVISIONING,
            owner=spec.owner,
            generation=spec.generation,
            created_by=spec.created_by or None,
            created_at=datetime.now(UTC),
        )
        self._machines[machine.provider_id] = machine
        if spec.image is not None:
            self.machine_images[machine.provider_id] = spec.image
        self.created.append(key)
        self.user_data[key] = unpacked(spec.user_data.get_secret_value())
        return machine

    def _advance(self, machine: MachineAtProvider) -> None:
        """Take the next step after a read: a new machine runs, a destroyed one is gone."""
        if machine.status is MachineStatus.PROVISIONING:
            number = int(machine.provider_id.rpartition("-")[2])
            address = f"192.0.2.{number % 250 + 1}"
            self.change(machine, status=MachineStatus.RUNNING, address=address)
        elif machine.provider_id in self._ending:
            del self._machines[machine.provider_id]
