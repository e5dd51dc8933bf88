"""One machine of the lab: made, booted as often as it likes or is told to, and removed."""

import asyncio
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

from lab import cgroups, mounts, network, nspawn
from lab.errors import LabError
from lab.inside import leader_file
from lab.network import LabNetwork

_LOG = logging.getLogger(__name__)
_REASON_LINES = 5

CONSOLE_LIMIT_BYTES = 64 * 1024
"""How much of a console is shown: its end."""


class NotStoppedError(LabError):
    """Only a machine that is off can be started."""


class Status(StrEnum):
    """What the API says of a machine."""

    PROVISIONING = "provisioning"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True)
class Order:
    """What somebody asked for. The user-data is a secret: it is written to the disk, no more.

    The tags are kept for whoever wrote them, and mean nothing here.
    """

    id: str
    label: str
    region: str
    user_data: str = field(repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)


class LabMachine:
    """A machine, from its order to its end.

    Attributes:
        order: what was asked for.
        address: its address, for all its life.
        created_at: when it was ordered.
        status: what it is doing.
        reason: why it failed.
    """

    def __init__(
        self, order: Order, address: IPv4Address, net: LabNetwork, image: Path, folder: Path
    ) -> None:
        self.order = order
        self.address = address
        self.created_at = datetime.now(UTC)
        self.status = Status.PROVISIONING
        self.reason: str | None = None
        self._net = net
        self._image = image
        self._folder = folder
        self._vessel = nspawn.Vessel(
            name=net.names.machine(order.id),
            root=folder / "root",
            namespace=Path("/run/netns", net.names.machine(order.id)),
            cgroup=cgroups.folder(net.names.tag, order.id),
            console=folder / "console.log",
        )
        self._life: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make it and boot it, in the background."""
        self._life = asyncio.create_task(self._live(made=False))

    def power_on(self) -> None:
        """Boot it again, in the background, with all that was on its disk.

        Raises:
            NotStoppedError: it is not off.
        """
        if self.status is not Status.STOPPED:
            raise NotStoppedError(f"machine {self.order.id} is {self.status}, and not stopped")
        self.status = Status.PROVISIONING
        self._life = asyncio.create_task(self._live(made=True))

    def console(self) -> str:
        """Return the last lines that its console showed, over all its boots."""
        try:
            with self._vessel.console.open("rb") as console:
                size = console.seek(0, os.SEEK_END)
                console.seek(max(0, size - CONSOLE_LIMIT_BYTES))
                shown = console.read(CONSOLE_LIMIT_BYTES)
        except FileNotFoundError:
            return ""
        if size > CONSOLE_LIMIT_BYTES:
            shown = shown.partition(b"\n")[2] or shown  # From the first line that is whole.
        return shown.decode(errors="replace")

    async def end(self) -> None:
        """Cut its power, wherever it is in its life, and remove all of it.

        Raises:
            LabError: something of it cannot be removed.
        """
        self.status = Status.DELETING
        while self._life is not None and not self._life.done():
            await asyncio.to_thread(cgroups.kill, self._vessel.cgroup)
            # Once more if it was just about to boot.
            await asyncio.wait([self._life], timeout=0.05)
        await asyncio.to_thread(self._remove)

    async def _live(self, *, made: bool) -> None:
        try:
            if made:
                network.plug(self.order.id, on=True)
            else:
                await asyncio.to_thread(self._make)
            while self.status is not Status.DELETING:
                code = await nspawn.boot(self._vessel, self._started)
                leader_file(self._folder).unlink(missing_ok=True)
                if code != nspawn.REBOOTED:
                    self._ended(code)
                    return
                _LOG.info("machine %s (%s) reboots", self.order.id, self.order.label)
        except (LabError, OSError) as error:
            self._failed(str(error))

    def _make(self) -> None:
        upper, work = self._folder / "upper", self._folder / "work"
        for path in (upper, work, self._vessel.root):
            path.mkdir(parents=True)
        upper.chmod(0o755)  # it becomes the machine's root folder
        self._personalize(upper)
        tag = self._net.names.tag
        mounts.mount_overlay(tag, lower=self._image, upper=upper, work=work, at=self._vessel.root)
        network.attach(self._net, self.order.id, self.address)

    def _personalize(self, upper: Path) -> None:
        """Write what differs from machine to machine: its identity, and its cloud-init seed."""
        etc, seed = upper / "etc", upper / "var/lib/cloud/seed/nocloud"
        for path in (etc, seed):
            path.mkdir(parents=True)
        (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
        (etc / "hostname").write_text(f"{self.order.label}\n")
        meta = f"instance-id: {self.order.id}\nlocal-hostname: {self.order.label}\n"
        (seed / "meta-data").write_text(meta)
        user_data = seed / "user-data"
        user_data.touch(mode=0o600)
        user_data.write_text(self.order.user_data)

    def _started(self, leader: int) -> None:
        if self.status is Status.DELETING:
            return
        leader_file(self._folder).write_text(f"{leader}\n")
        self.status = Status.RUNNING

    def _ended(self, code: int) -> None:
        if self.status is Status.DELETING:
            return
        if self.status is Status.PROVISIONING:
            tail = " / ".join(self.console().splitlines()[-_REASON_LINES:])
            self._failed(f"systemd-nspawn ended with {code}: {tail}")
            return
        self.status = Status.STOPPED
        network.plug(self.order.id, on=False)
        _LOG.info("machine %s (%s) is off, with %d", self.order.id, self.order.label, code)

    def _failed(self, reason: str) -> None:
        if self.status is Status.DELETING:
            return
        self.status, self.reason = Status.FAILED, reason
        _LOG.error("machine %s (%s) failed: %s", self.order.id, self.order.label, reason)

    def _remove(self) -> None:
        network.detach(self._net.names, self.order.id)
        mounts.unmount(self._vessel.root)
        if self._vessel.cgroup.is_dir():
            cgroups.remove(self._vessel.cgroup)
        shutil.rmtree(f"/run/systemd/nspawn/propagate/{self._vessel.name}", ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)
