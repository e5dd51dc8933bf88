"""The existing machines, by id: the functions of the API, without HTTP."""

import asyncio
import logging
import secrets
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from lab.errors import LabError
from lab.machine import LabMachine, MachineSpec, Status
from lab.named_images import ImageInUseError, NamedImage, NamedImages
from lab.network import REGIONS, LabNetwork

_LOG = logging.getLogger(__name__)


class LabelInUseError(LabError):
    """Another machine has this label."""


class SnapshotExistsError(LabError):
    """Another snapshot has this name."""


class Cloud:
    """Creates and removes machines.

    Attributes:
        architecture: the architecture of every machine.
        images: the named images.
    """

    def __init__(
        self,
        net: LabNetwork,
        image: Path,
        machines: Path,
        architecture: str,
        stock: Path | None = None,
    ) -> None:
        """Use an image, and `stock`, the layer that makes a stock cloud's image of it."""
        self._stock = stock
        self.architecture = architecture
        self._net = net
        self._image = image
        self._folder = machines
        self.images = NamedImages(machines / "images")
        self._machines: dict[str, LabMachine] = {}
        self._snapshots: dict[str, list[Path]] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._addresses: dict[str, Iterator[IPv4Address]] = {
            region: net.addresses(region) for region in REGIONS
        }

    def list(self, label: str | None = None) -> list[LabMachine]:
        """Return the machines, oldest first; with a label, only the machine that has it."""
        return [
            machine
            for machine in self._machines.values()
            if label is None or machine.spec.label == label
        ]

    def find(self, machine_id: str) -> LabMachine | None:
        """Return the machine with this id, None if there is none."""
        return self._machines.get(machine_id)

    @property
    def snapshots(self) -> Sequence[str]:
        """The names of the snapshots, oldest first."""
        return list(self._snapshots)

    def take_snapshot(self, machine: LabMachine, name: str) -> None:
        """Keep the disk of a stopped machine as an image of further machines.

        Raises:
            SnapshotExistsError: another snapshot has this name.
            NotStoppedError: the machine is not stopped.
            LabError: the copy failed.
        """
        if name in self._snapshots:
            raise SnapshotExistsError(f"a snapshot with the name {name} exists")
        folder = self._folder / "snapshots" / name
        machine.copy_disk(folder)
        self._snapshots[name] = [folder, *machine.layers]

    def create(
        self,
        label: str,
        region: str,
        user_data: bytes,
        tags: Mapping[str, str],
        *,
        source: str | NamedImage | None = None,
        stock: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> LabMachine:
        """Create a machine; it boots in the background.

        Args:
            label: its label and host name.
            region: its region.
            user_data: for cloud-init, which a machine from a snapshot does not run.
            tags: stored for clients.
            source: the snapshot, or the named image of its region, that it starts from; None for
                the base image.
            stock: whether that is a stock cloud's image, not the base image.
            files: files to write before it boots, by absolute path.

        Raises:
            LabelInUseError: another machine has this label.
            LabError: the region is full.
        """
        if self.list(label):
            raise LabelInUseError(f"a machine with the label {label} exists")
        spec = MachineSpec(
            id=secrets.token_hex(4),
            label=label,
            region=region,
            user_data=user_data,
            files=files or {},
            tags=tags,
            image=source.id if isinstance(source, NamedImage) else "",
        )
        layers = self._snapshots[source] if isinstance(source, str) else [self._image]
        if stock and self._stock is not None:
            layers = [self._stock, self._image]
        if isinstance(source, NamedImage):
            layers = [source.folder / "root", self._image]
        machine = LabMachine(
            spec, self._free_address(region), self._net, layers, self._folder / spec.id
        )
        self._machines[spec.id] = machine
        machine.start()
        _LOG.info("machine %s (%s): created in %s", spec.id, label, region)
        return machine

    def delete(self, machine: LabMachine) -> None:
        """Remove a machine, in the background."""
        if machine.spec.id not in self._removals:
            machine.status = Status.DELETING
            self._removals[machine.spec.id] = asyncio.create_task(self._remove(machine))

    def delete_image(self, image: NamedImage) -> None:
        """Remove a named image.

        Raises:
            ImageInUseError: a machine was made of it.
        """
        users = [each.spec.label for each in self.list() if each.spec.image == image.id]
        if users:
            raise ImageInUseError(f"image {image.id} is in use by {', '.join(users)}")
        self.images.delete(image)

    async def close(self) -> None:
        """Remove all machines, and wait for it."""
        for machine in self.list():
            self.delete(machine)
        await asyncio.gather(*self._removals.values())

    async def _remove(self, machine: LabMachine) -> None:
        try:
            await machine.remove()
        except (LabError, OSError) as error:
            # The sweep at the lab's end tries again, and reports an error if it fails.
            _LOG.error("machine %s is not completely removed: %s", machine.spec.id, error)
        del self._machines[machine.spec.id]
        del self._removals[machine.spec.id]
        _LOG.info("machine %s (%s): removed", machine.spec.id, machine.spec.label)

    def _free_address(self, region: str) -> IPv4Address:
        taken = {machine.address for machine in self._machines.values()}
        for address, _ in zip(self._addresses[region], range(2**9), strict=False):
            if address not in taken:
                return address
        raise LabError(f"region {region} has no free address")
