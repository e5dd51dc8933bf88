"""First boots: render the user-data for cloud-init, and wait until cloud-init has finished."""

import asyncio
import gzip
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretBytes, SecretStr
from temporalio import activity

from activities import policies
from activities.configurations import ServiceConfigurations
from activities.delivery import PackageDelivery
from relight.domain.duration import span
from relight.domain.key_rotation import KeyKind, KeyRotation, KeyRotations
from relight.domain.machine import (
    AwaitFirstBootInput,
    CloudInitRendered,
    FirstBootFinished,
    MachinePlan,
    RenderCloudInitInput,
)
from relight.domain.service import Service
from relight.engine.step import step
from relight.hosts import first_boot, host_program, transaction
from relight.hosts.cloud_init.user_data import (
    Access,
    BootStep,
    File,
    UserDataTemplate,
)
from relight.hosts.configuration import HostConfiguration
from relight.hosts.connections import Hosts
from relight.hosts.errors import (
    FirstBootFailedError,
    HostNotReadyError,
    HostUnreachableError,
)
from relight.hosts.first_boot import FirstBoot
from relight.hosts.host_program import Change
from relight.hosts.host_settings import HostSettings, configure
from relight.hosts.key_files import Keys, keys_for_new_machine
from relight.hosts.keys import HostKey
from relight.hosts.shell import Shell
from relight.providers.driver import ProviderDriver, require_user_data_fits

NO_ROTATIONS: Mapping[KeyKind, KeyRotation] = {}

POLL = timedelta(milliseconds=500)

SSH_TIMEOUT = timedelta(minutes=5)
"""From running at the provider until sshd answers: clouds take a minute or two."""

CLOUD_INIT_TIMEOUT = timedelta(minutes=8)
"""cloud-init itself has no time limit."""


@dataclass(frozen=True)
class UserData:
    """The user-data of one machine. It contains the private host key.

    Attributes:
        sha256: the digest that workflow history holds instead of the text. It leaves out the
            control plane's keys, so that they may be rotated between two renderings.
    """

    text: SecretStr
    sha256: str

    @property
    def packed(self) -> SecretBytes:
        """As a provider gets it: compressed by gzip, since they limit its size.

        cloud-init knows that by itself. The same text gives the same bytes.
        """
        return SecretBytes(gzip.compress(self.text.get_secret_value().encode(), mtime=0))

    @property
    def size_bytes(self) -> int:
        """Its size as a provider gets it."""
        return len(self.packed.get_secret_value())


def host_files(
    service: Service, deb_urls: str, *, pushed: bool = False, first_boot: bool = False
) -> list[File]:
    """Return the host program and its configuration.

    Args:
        service: the package and the unit that the host program manages.
        deb_urls: the URL prefix of the files that a host may download and install.
        pushed: whether a host takes packages that the control plane brings.
        first_boot: the program has only what a first boot needs.
    """
    configuration = host_program.configuration(service, deb_urls, pushed=pushed)
    return [
        File(
            host_program.PROGRAM,
            "0755",
            host_program.text(
                first_boot=first_boot, by_apt=first_boot and not (deb_urls or pushed)
            ),
        ),
        File(host_program.CONFIGURATION, "0644", configuration.encode()),
    ]


@dataclass(frozen=True)
class UserDataRenderer:
    """Renders the user-data of a plan. The same plan gives the same bytes.

    Attributes:
        template: includes the repository and the files of the service.
        service: what is installed and started.
        ssh_user: the user that the control plane logs in as.
        keys: returns the control plane's keys.
    """

    template: UserDataTemplate
    service: Service
    ssh_user: str
    keys: Keys

    def render(self, plan: MachinePlan, rotations: KeyRotations = NO_ROTATIONS) -> UserData:
        """Return the user-data of the plan's machine.

        Args:
            plan: of the machine.
            rotations: of keys, which decide the keys that it is made with.

        Raises:
            TemplateError: a template cannot be rendered.
            KeyNotHereError: this worker lacks the new key of a rotation.
        """
        keys = keys_for_new_machine(self.keys(), rotations)
        host_key = keys.secret.host_key(plan.key)
        text = self._render(plan, host_key, [each.line for each in keys.clients])
        without_keys = self._render(plan, HostKey("", ""), [])
        return UserData(SecretStr(text), hashlib.sha256(without_keys.encode()).hexdigest())

    def _render(self, plan: MachinePlan, host_key: HostKey, client_keys: Sequence[str]) -> str:
        access = Access(
            user=self.ssh_user,
            sudo=host_program.SUDO_RULE,
            client_keys_public=client_keys,
            host_key_private=SecretStr(host_key.private),
            host_key_public=host_key.public,
        )
        return self.template.render(plan, access, self._steps(plan), first_boot.RECORD_FOLDER)

    def _steps(self, plan: MachinePlan) -> list[BootStep]:
        change = Change(plan.release_version, deb=plan.deb_file)
        return [BootStep(first_boot.INSTALL_STEP, host_program.install(change))]


class FirstBootActivities:
    """Called before a machine is created, and while it boots."""

    def __init__(
        self,
        user_data: UserDataRenderer,
        hosts: Hosts,
        delivery: PackageDelivery | None = None,
        settings: HostSettings | None = None,
        configurations: ServiceConfigurations | None = None,
        drivers: Mapping[str, ProviderDriver] | None = None,
    ) -> None:
        """Use what a first boot needs.

        Args:
            user_data: renders what cloud-init does.
            hosts: opens shells.
            delivery: brings packages to hosts that do not fetch them; None: they do.
            settings: what each host is told to manage; None: as it is.
            configurations: what each machine gets at its first login; None: nothing.
            drivers: of the providers, by name, whose limits user-data must keep.
        """
        self._user_data = user_data
        self._hosts = hosts
        self._delivery = delivery
        self._settings = settings
        self._configurations = configurations
        self._drivers = drivers or {}

    @step(policies.STORE, lambda i: i.plan.key)
    async def render_cloud_init(self, input: RenderCloudInitInput) -> CloudInitRendered:
        """Check the user-data: that it can be rendered, and that its provider takes it.

        Return its digest, never its text.
        """
        rendered = self._user_data.render(input.plan)
        driver = self._drivers.get(input.plan.provider)
        if driver is not None:
            require_user_data_fits(driver, f"create {input.plan.key}", rendered.packed)
        return CloudInitRendered(sha256=rendered.sha256, size_bytes=rendered.size_bytes)

    @step(policies.BOOT, lambda i: i.machine.key)
    async def await_first_boot(self, input: AwaitFirstBootInput) -> FirstBootFinished:
        """Return when cloud-init has succeeded; raise the error of the failed step otherwise.

        A package that hosts do not get by themselves is brought as soon as the host can be logged
        in to: its installation waits for it. At the end the host gets the full host program, and
        the service its configuration, with which it starts for the first time.
        """
        started_at = time.monotonic()
        while True:
            try:
                return await self._finished(input)
            except (HostUnreachableError, HostNotReadyError) as error:
                # The host is still booting: sshd does not listen yet, or refuses logins.
                if time.monotonic() - started_at > SSH_TIMEOUT.total_seconds():
                    raise
                activity.heartbeat(error.kind)
            await asyncio.sleep(POLL.total_seconds())

    async def _finished(self, input: AwaitFirstBootInput) -> FirstBootFinished:
        started_at = time.monotonic()
        async with self._hosts.connect(input.machine) as shell:
            if self._delivery is not None:
                deb_file = input.plan.deb_file if input.plan else input.deb_file
                await self._delivery.bring(shell, deb_file)
            while not (boot := await first_boot.observe(shell)).finished:
                if time.monotonic() - started_at > CLOUD_INIT_TIMEOUT.total_seconds():
                    raise FirstBootFailedError(
                        first_boot.OTHER_STEP,
                        f"it has not finished after {span(CLOUD_INIT_TIMEOUT)}; {_progress(boot)}",
                        destination=shell.destination,
                    )
                activity.heartbeat(_progress(boot))
                await asyncio.sleep(POLL.total_seconds())
            if boot.failed_step is not None:
                raise await first_boot.failure(shell, boot, self._user_data.service)
            secrets = self._user_data.keys().secrets
            present = [each.host_key(input.machine.key) for each in secrets]
            if self._settings is not None:
                await configure(shell, self._settings, present)
            if input.plan is not None:
                await self._start_service(shell, input.plan, present)
        return FirstBootFinished(boot_id=boot.boot_id, steps=tuple(boot.steps))

    async def _start_service(
        self, shell: Shell, plan: MachinePlan, present: Sequence[HostKey]
    ) -> None:
        """Start the service with its configuration: a change that installs nothing new."""
        wanted: Sequence[HostConfiguration] = ()
        if self._configurations is not None and plan.configuration is not None:
            wanted = await self._configurations.of_revision(plan.key, plan.configuration)
        unit = transaction.unit_name(f"first boot {plan.key} {activity.info().workflow_run_id}")
        await transaction.run_transaction(
            shell,
            unit,
            Change(plan.release_version, deb=plan.deb_file),
            self._user_data.service,
            lambda state: activity.heartbeat(state.phase),
            None,  # they were written just now
            present,
            wanted[0] if wanted else None,
        )
        await transaction.forget(shell, unit)


def _progress(boot: FirstBoot) -> str:
    return f"finished steps: {', '.join(boot.steps) or 'none'}"
