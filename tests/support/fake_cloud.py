"""A provider in memory. It passes the contract test of the real drivers."""

import itertools
from collections.abc import Sequence

from messages.machine import Machine, MachineRef, MachineStatus, Region
from providers.driver import MachineSpec
from providers.errors import MachineConflictError


class FakeCloud:
    """Machines come up at the first look after their creation, and go at the first after their end.

    Attributes:
        created: the key of every machine that was ever created, in order.
        user_data: what each was created with.
    """

    name = "fake"
    regions = ("fake-east", "fake-west")

    def __init__(self) -> None:
        self.created: list[str] = []
        self.user_data: dict[str, str] = {}
        self._machines: dict[str, Machine] = {}
        self._numbers = itertools.count(1)

    async def region(self, name: str) -> Region | None:
        if name not in self.regions:
            return None
        return Region(provider=self.name, name=name, architecture="amd64")

    async def ensure(self, key: str, spec: MachineSpec) -> Machine:
        found = await self.find(key)
        if found is not None:
            return found
        number = next(self._numbers)
        machine = Machine(
            key=key,
            provider=self.name,
            provider_id=f"fake-{number}",
            region=spec.region,
            architecture="amd64",
            status=MachineStatus.PROVISIONING,
        )
        self._machines[machine.provider_id] = machine
        self.created.append(key)
        self.user_data[key] = spec.user_data.get_secret_value()
        return machine

    async def find(self, key: str) -> Machine | None:
        found = [machine for machine in self._machines.values() if machine.key == key]
        if len(found) > 1:
            raise MachineConflictError(self.name, f"find {key}", "more than one has this label")
        if not found:
            return None
        self._advance(found[0])
        return found[0]

    async def list(self) -> Sequence[Machine]:
        return sorted(self._machines.values(), key=lambda machine: machine.key)

    async def destroy(self, machine: MachineRef) -> bool:
        present = self._machines.get(machine.provider_id)
        if present is None:
            return False
        if present.key != machine.key:
            raise MachineConflictError(
                self.name, f"destroy {machine.key}", f"it is labelled {present.key}"
            )
        self._machines[machine.provider_id] = present.model_copy(
            update={"status": MachineStatus.DELETING}
        )
        return True

    async def close(self) -> None:
        """Hold no connection."""

    def _advance(self, machine: Machine) -> None:
        """Take one step towards what was asked for, after it was looked at."""
        if machine.status is MachineStatus.PROVISIONING:
            number = int(machine.provider_id.removeprefix("fake-"))
            update = {"status": MachineStatus.RUNNING, "address": f"192.0.2.{number % 250 + 1}"}
            self._machines[machine.provider_id] = machine.model_copy(update=update)
        elif machine.status is MachineStatus.DELETING:
            del self._machines[machine.provider_id]
