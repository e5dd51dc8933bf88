"""One machine of the lab: creation, boots, power, and removal."""

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

from lab import cgroups, mounts, network, nspawn, snapshot
from lab.errors import LabError
from lab.inside import leader_file
from lab.network import LabNetwork

_LOG = logging.getLogger(__name__)
_REASON_LINES = 5

CONSOLE_LIMIT_BYTES = 64 * 1024
"""The length of the console's end that is shown."""


class NotStoppedError(LabError):
    """The machine is not stopped, so it cannot be started or copied."""


class Status(StrEnum):
    """The status of a machine in the API."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True)
class MachineSpec:
    """A requested machine.

    Attributes:
        id: the lab's id.
        label: its label and host name.
        region: its region.
        user_data: for cloud-init. It is secret: it is written to the machine's disk only.
        files: files of a machine that starts from a snapshot, by absolute path. They are secret.
        tags: kept for clients; the lab does not use them.
        image: the id of the named image that it was made of; empty for any other.
    """

    id: str
    label: str
    region: str
    user_data: bytes = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)
    image: str = ""


class LabMachine:
    """A machine, from its request to its removal.

    Attributes:
        spec: the request.
        address: its IP address, which never changes.
        created_at: the time of the request.
        status: its status.
        reason: why it failed, None if it did not.
        layers: the folders of its image, topmost first.
    """

    def __init__(
        self,
        spec: MachineSpec,
        address: IPv4Address,
        net: LabNetwork,
        layers: Sequence[Path],
        folder: Path,
        *,
        hosts_machines: bool = False,
    ) -> None:
        """Prepare it; `start` creates it.

        `layers` are the folders of its image, topmost first. One that hosts machines itself may do
        everything, and has a second link to the lab's network, for them.
        """
        self.spec = spec
        self.address = address
        self.created_at = datetime.now(UTC)
        self.status = Status.PROVISIONING
        self.reason: str | None = None
        self._net = net
        self.layers = layers
        self._folder = folder
        self._container = nspawn.Container(
            name=net.names.machine(spec.id),
            root=folder / "root",
            namespace=Path("/run/netns", net.names.machine(spec.id)),
            cgroup=cgroups.folder(net.names.tag, spec.id),
            console=folder / "console.log",
            capability="all" if hosts_machines else "CAP_NET_ADMIN",
        )
        self._hosts_machines = hosts_machines
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Create and boot it, in the background."""
        self._task = asyncio.create_task(self._run(created=False))

    def power_on(self) -> None:
        """Boot it again with its disk as it was, in the background.

        Raises:
            NotStoppedError: it is not stopped.
        """
        self._require_stopped()
        self.status = Status.PROVISIONING
        self._task = asyncio.create_task(self._run(created=True))

    def copy_disk(self, target: Path) -> None:
        """Copy what it wrote to its disk, without its identity, to a new folder.

        Raises:
            NotStoppedError: it is not stopped.
            LabError: the copy failed.
        """
        self._require_stopped()
        snapshot.take(self._upper, target)

    def console(self) -> str:
        """Return the last lines of its console, of all its boots."""
        try:
            with self._container.console.open("rb") as console:
                size = console.seek(0, os.SEEK_END)
                console.seek(max(0, size - CONSOLE_LIMIT_BYTES))
                tail = console.read(CONSOLE_LIMIT_BYTES)
        except FileNotFoundError:
            return ""
        if size > CONSOLE_LIMIT_BYTES:
            tail = tail.partition(b"\n")[2] or tail  # without the incomplete first line
        return tail.decode(errors="replace")

    async def remove(self) -> None:
        """Cut its power, in any state, and remove everything of it.

        Raises:
            LabError: something cannot be removed.
        """
        self.status = Status.DELETING
        while self._task is not None and not self._task.done():
            await asyncio.to_thread(cgroups.kill, self._container.cgroup)
            # Repeated, because it may be about to boot.
            await asyncio.wait([self._task], timeout=0.05)
        await asyncio.to_thread(self._remove_all)

    async def _run(self, *, created: bool) -> None:
        try:
            if created:
                network.plug(self.spec.id, on=True)
            else:
                await asyncio.to_thread(self._create)
            while self.status is not Status.DELETING:
                code = await nspawn.boot(self._container, self._on_started)
                leader_file(self._folder).unlink(missing_ok=True)
                if code != nspawn.REBOOTED:
                    self._on_ended(code)
                    return
                _LOG.info("machine %s (%s) reboots", self.spec.id, self.spec.label)
        except (LabError, OSError) as error:
            self._fail(str(error))

    def _create(self) -> None:
        upper, work = self._upper, self._folder / "work"
        for path in (upper, work, self._container.root):
            path.mkdir(parents=True)
        upper.chmod(0o755)  # it is the machine's root folder
        self._personalize(upper)
        tag = self._net.names.tag
        mounts.mount_overlay(
            tag, lowers=self.layers, upper=upper, work=work, target=self._container.root
        )
        network.attach(self._net, self.spec.id, self.address)
        if self._hosts_machines:
            network.attach_second(self._net, self.spec.id)

    def _personalize(self, upper: Path) -> None:
        """Write the machine's identity, its files and its cloud-init seed."""
        etc, seed = upper / "etc", upper / "var/lib/cloud/seed/nocloud"
        for path in (etc, seed):
            path.mkdir(parents=True)
        machine_id = etc / "machine-id"
        machine_id.write_text(f"{uuid.uuid4().hex}\n")
        machine_id.chmod(0o444)  # as systemd makes it
        (etc / "hostname").write_text(f"{self.spec.label}\n")
        snapshot.write_files(upper, self.spec.files)
        meta = f"instance-id: {self.spec.id}\nlocal-hostname: {self.spec.label}\n"
        (seed / "meta-data").write_text(meta)
        user_data = seed / "user-data"
        user_data.touch(mode=0o600)
        user_data.write_bytes(self.spec.user_data)

    @property
    def _upper(self) -> Path:
        return self._folder / "upper"

    def _require_stopped(self) -> None:
        if self.status is not Status.STOPPED:
            raise NotStoppedError(f"machine {self.spec.id} is {self.status}, not stopped")

    def _on_started(self, leader: int) -> None:
        if self.status is Status.DELETING:
            return
        # In one step: systemd also notifies after a `daemon-reexec`, while others read the file.
        staged = self._folder / ".leader"
        staged.write_text(f"{leader}\n")
        staged.replace(leader_file(self._folder))
        self.status = Status.RUNNING

    def _on_ended(self, code: int) -> None:
        if self.status is Status.DELETING:
            return
        if self.status is Status.PROVISIONING:
            tail = " / ".join(self.console().splitlines()[-_REASON_LINES:])
            self._fail(f"systemd-nspawn exited with {code}: {tail}")
            return
        self.status = Status.STOPPED
        network.plug(self.spec.id, on=False)
        _LOG.info(
            "machine %s (%s) is off: systemd-nspawn exited with %d",
            self.spec.id,
            self.spec.label,
            code,
        )

    def _fail(self, reason: str) -> None:
        if self.status is Status.DELETING:
            return
        self.status, self.reason = Status.FAILED, reason
        _LOG.error("machine %s (%s) failed: %s", self.spec.id, self.spec.label, reason)

    def _remove_all(self) -> None:
        network.detach(self._net.names, self.spec.id)
        mounts.unmount(self._container.root)
        if self._container.cgroup.is_dir():
            cgroups.remove(self._container.cgroup)
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self._container.name}", ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)
