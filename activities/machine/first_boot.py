"""A machine's first boot: what cloud-init is given, and how it went."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from datetime import timedelta

from pydantic import SecretStr
from temporalio import activity

from activities import policies
from activities.service import Service
from relight.domain.machine import (
    AwaitFirstBootInput,
    CloudInitRendered,
    FirstBootFinished,
    Machine,
    MachinePlan,
    RenderCloudInitInput,
)
from relight.engine.step import step
from relight.hosts import first_boot, host_program
from relight.hosts.cloud_init.user_data import (
    Access,
    BootStep,
    File,
    UserDataTemplate,
)
from relight.hosts.connections import Hosts
from relight.hosts.errors import (
    FirstBootFailedError,
    HostNotReadyError,
    HostUnreachableError,
)
from relight.hosts.first_boot import FirstBoot
from relight.hosts.host_program import Change
from relight.hosts.keys import derive_host_key

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


def host_files(service: Service, deb_urls: str) -> list[File]:
    """Return the host program and its configuration.

    Args:
        service: which package and service it is about.
        deb_urls: how the address of every file begins that a host may fetch and install.
    """
    told = host_program.configuration(service.package, service.unit, service.executable, deb_urls)
    return [
        File(host_program.PROGRAM, "0755", host_program.text()),
        File(host_program.CONFIGURATION, "0644", told.encode()),
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
    service: Service
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
            sudo=host_program.SUDO_RULE,
            client_key_public=self.client_key_public,
            host_key_private=SecretStr(host_key.private),
            host_key_public=host_key.public,
        )
        text = self.template.render(plan, access, self._steps(plan), first_boot.RECORD_FOLDER)
        return UserData(SecretStr(text))

    def _steps(self, plan: MachinePlan) -> list[BootStep]:
        # What a hot swap does, while cloud-init waits: a first boot is a swap from nothing.
        change = Change(plan.release_version, deb=plan.deb_file)
        return [
            BootStep(first_boot.INSTALL_STEP, host_program.install(change)),
            BootStep(first_boot.SERVICE_STEP, host_program.serve()),
        ]


class FirstBootActivities:
    """Before a machine is paid for, and after it has booted."""

    def __init__(self, user_data: UserDataRenderer, hosts: Hosts) -> None:
        self._user_data = user_data
        self._hosts = hosts

    @step(policies.BOOKKEEPING, lambda i: i.plan.key)
    async def render_cloud_init(self, input: RenderCloudInitInput) -> CloudInitRendered:
        """See that the user-data can be rendered; answer with its digest, never its text."""
        rendered = self._user_data.render(input.plan)
        return CloudInitRendered(sha256=rendered.sha256, size_bytes=rendered.size_bytes)

    @step(policies.BOOT, lambda i: i.machine.key)
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
                service = self._user_data.service
                raise await first_boot.failure(shell, boot, service.package, service.unit)
        return FirstBootFinished(boot_id=boot.boot_id, steps=tuple(boot.steps))


def _progress(boot: FirstBoot) -> str:
    return f"steps that ended: {', '.join(boot.steps) or 'none'}"
