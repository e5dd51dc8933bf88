"""The machines that there are, by id: what the API offers, without HTTP."""

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from lab.errors import LabError
from lab.machine import (
    LabMachine,
    Order,
    Status,
)
from lab.network import REGIONS, LabNetwork

_LOG = logging.getLogger(__name__)


class LabelInUseError(LabError):
    """A machine has this label already."""


class Cloud:
    """Creates machines, and removes them.

    Attributes:
        architecture: of every machine.
    """

    def __init__(self, net: LabNetwork, image: Path, machines: Path, architecture: str) -> None:
        self.architecture = architecture
        self._net = net
        self._image = image
        self._folder = machines
        self._machines: dict[str, LabMachine] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._addresses: dict[str, Iterator[IPv4Address]] = {
            region: net.addresses(region) for region in REGIONS
        }

    def list(self, label: str | None = None) -> list[LabMachine]:
        """Return the machines that there are, the oldest first."""
        return [
            machine
            for machine in self._machines.values()
            if label is None or machine.order.label == label
        ]

    def find(self, machine_id: str) -> LabMachine | None:
        """Return the machine of this id."""
        return self._machines.get(machine_id)

    def create(
        self, label: str, region: str, user_data: str, tags: Mapping[str, str]
    ) -> LabMachine:
        """Create a machine; it comes up in the background.

        Raises:
            LabelInUseError: another machine has this label.
            LabError: the region is full.
        """
        if self.list(label):
            raise LabelInUseError(f"a machine with the label {label} exists")
        order = Order(
            id=secrets.token_hex(4), label=label, region=region, user_data=user_data, tags=tags
        )
        machine = LabMachine(
            order, self._free_address(region), self._net, self._image, self._folder / order.id
        )
        self._machines[order.id] = machine
        machine.start()
        _LOG.info("machine %s (%s) is created in %s", order.id, label, region)
        return machine

    def delete(self, machine: LabMachine) -> None:
        """Remove a machine, in the background."""
        if machine.order.id not in self._ends:
            machine.status = Status.DELETING
            self._ends[machine.order.id] = asyncio.create_task(self._end(machine))

    async def close(self) -> None:
        """Remove every machine."""
        for machine in self.list():
            self.delete(machine)
        await asyncio.gather(*self._ends.values())

    async def _end(self, machine: LabMachine) -> None:
        try:
            await machine.end()
        except (LabError, OSError) as error:
            # The sweep at the lab's end tries once more, and says so if that fails.
            _LOG.error("machine %s is not wholly removed: %s", machine.order.id, error)
        del self._machines[machine.order.id]
        del self._ends[machine.order.id]
        _LOG.info("machine %s (%s) is gone", machine.order.id, machine.order.label)

    def _free_address(self, region: str) -> IPv4Address:
        taken = {machine.address for machine in self._machines.values()}
        for address, _ in zip(self._addresses[region], range(2**9), strict=False):
            if address not in taken:
                return address
        raise LabError(f"{region} has no address left")
