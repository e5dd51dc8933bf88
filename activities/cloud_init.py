"""A machine's first boot: what cloud-init is given, and how it went."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr
from temporalio import activity

from activities.daemon import Daemon
from activities.deb_files import deb_file
from activities.hosts import Hosts
from messages.machine import (
    AwaitFirstBootInput,
    CloudInitRendered,
    FirstBootFinished,
    Machine,
    MachinePlan,
    RenderCloudInitInput,
)
from remote import first_boot, helper
from remote.errors import FirstBootFailedError, HostNotReadyError, HostUnreachableError
from remote.first_boot import FirstBoot
from remote.helper import Change
from remote.identity import derive_host_key
from templates.user_data import Access, BootStep, File, UserDataTemplate

POLL = timedelta(milliseconds=500)

REACHABLE_WITHIN = timedelta(minutes=5)
"""From running at its provider to an sshd that answers: clouds take a minute or two."""

FINISHED_WITHIN = timedelta(minutes=8)
"""cloud-init has no limit of its own."""


@dataclass(frozen=True)
class UserData:
    """One machine's user-data, which holds its private host key."""

    text: SecretStr

    @property
    def sha256(self) -> str:
        """The digest by which it is known where it may not be seen."""
        return hashlib.sha256(self._bytes()).hexdigest()

    @property
    def size_bytes(self) -> int:
        """Its size; providers set limits of 16 KiB and more."""
        return len(self._bytes())

    def _bytes(self) -> bytes:
        return self.text.get_secret_value().encode()


def host_files(daemon: Daemon, deb_urls: str) -> list[File]:
    """Return the program that does on a host what takes root, and what it is told there.

    Args:
        daemon: which package and service it is about.
        deb_urls: how the address of every file begins that a host may fetch and install.
    """
    told = helper.configuration(daemon.package, daemon.unit, daemon.executable, deb_urls)
    return [
        File(helper.PROGRAM, "0755", helper.text()),
        File(helper.CONFIGURATION, "0644", told.encode()),
    ]


@dataclass(frozen=True)
class UserDataRenderer:
    """Renders the user-data of a plan; the same plan gives the same bytes.

    Attributes:
        template: with the repository and the daemon's files.
        daemon: what is installed and started.
        ssh_user: the user that the control plane logs in as.
        client_key_public: the public key line that lets it in.
        host_key_secret: from which every machine's host key is derived.
    """

    template: UserDataTemplate
    daemon: Daemon
    ssh_user: str
    client_key_public: str
    host_key_secret: bytes = field(repr=False)

    def render(self, plan: MachinePlan) -> UserData:
        """Return the user-data of the plan's machine.

        Raises:
            TemplateError: a template cannot be rendered.
        """
        host_key = derive_host_key(self.host_key_secret, plan.key)
        access = Access(
            user=self.ssh_user,
            sudo=helper.SUDO_RULE,
            client_key_public=self.client_key_public,
            host_key_private=SecretStr(host_key.private),
            host_key_public=host_key.public,
        )
        text = self.template.render(plan, access, self._steps(plan), first_boot.RECORD_FOLDER)
        return UserData(SecretStr(text))

    def _steps(self, plan: MachinePlan) -> list[BootStep]:
        # What a hot swap does, while cloud-init waits: a first boot is a swap from nothing.
        change = Change(plan.release_version, deb=deb_file(plan.artifact))
        return [
            BootStep(first_boot.INSTALL_STEP, helper.install(change)),
            BootStep(first_boot.SERVICE_STEP, helper.serve()),
        ]


class CloudInitActivities:
    """Before a machine is paid for, and after it has booted."""

    def __init__(self, user_data: UserDataRenderer, hosts: Hosts) -> None:
        self._user_data = user_data
        self._hosts = hosts

    @activity.defn
    async def render_cloud_init(self, input: RenderCloudInitInput) -> CloudInitRendered:
        """See that the user-data can be rendered; answer with its digest, never its text."""
        rendered = self._user_data.render(input.plan)
        return CloudInitRendered(sha256=rendered.sha256, size_bytes=rendered.size_bytes)

    @activity.defn
    async def await_first_boot(self, input: AwaitFirstBootInput) -> FirstBootFinished:
        """Return once cloud-init has ended well; its failure carries the failed step's words."""
        began = time.monotonic()
        while True:
            try:
                return await self._finished(input.machine)
            except (HostUnreachableError, HostNotReadyError) as error:
                # It boots: sshd is not up yet, or lets nobody in.
                if time.monotonic() - began > REACHABLE_WITHIN.total_seconds():
                    raise
                activity.heartbeat(error.kind)
            await asyncio.sleep(POLL.total_seconds())

    async def _finished(self, machine: Machine) -> FirstBootFinished:
        began = time.monotonic()
        async with self._hosts.connect(machine) as shell:
            while not (boot := await first_boot.look(shell)).finished:
                if time.monotonic() - began > FINISHED_WITHIN.total_seconds():
                    raise FirstBootFailedError(
                        first_boot.OTHER_STEP,
                        f"it has not ended after {FINISHED_WITHIN}; {_progress(boot)}",
                        destination=shell.destination,
                    )
                activity.heartbeat(_progress(boot))
                await asyncio.sleep(POLL.total_seconds())
            if boot.failed_step is not None:
                daemon = self._user_data.daemon
                raise await first_boot.failure(shell, boot, daemon.package, daemon.unit)
        return FirstBootFinished(boot_id=boot.boot_id, steps=tuple(boot.steps))


def _progress(boot: FirstBoot) -> str:
    return f"steps that ended: {', '.join(boot.steps) or 'none'}"
