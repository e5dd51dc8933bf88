"""One service on one lab machine: provision, swap to a repacked version, roll back, each proven.

Each trial has a home folder of its own, with the settings that an operator would have there. The
parts are the worker's, and its activities do the work; only Temporal is left out.
"""

import asyncio
import dataclasses
import re
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from temporalio.testing import ActivityEnvironment

import worker
from activities.machine.first_boot import FirstBootActivities
from activities.parts import Parts
from activities.route.hot_swap import HotSwapActivities, ProofActivities
from devkit.installation import ScriptError, lab_settings
from devkit.services.on_host import problems, read_host
from lab import debian, image, repository
from lab.debian import DebianPackage
from lab.errors import LabError
from lab.repository import SigningKey
from relight import service_file
from relight.context import ENVIRONMENT, Context
from relight.domain.base import Origin
from relight.domain.fault.error import DomainError
from relight.domain.machine import AwaitFirstBootInput, Machine, MachinePlan, MachineStatus
from relight.domain.proof import ProveReleaseInput, SwapReleaseInput
from relight.hosts.errors import RemoteError
from relight.providers.driver import MachineSpec
from relight.settings import Settings
from relight.store.store import open_upgraded_store
from starter.local.children import wait_until
from starter.local.home import prepare_home, write_env
from starter.local.lab import LabAddresses

LIMIT = timedelta(minutes=6)
"""For one trial: the downloads, the boot, and two changes."""

LOG_LINES = 15
"""How much of a host's log is in a report."""

STABILITY_WINDOW = "PT2S"
REGION = "lab-east"
ORIGIN = Origin(requested_by="devkit.services", reason="try a service of Debian")

Declare = Callable[[DebianPackage], Awaitable[str]]
"""Returns the service file of a package, in TOML."""


@dataclass(frozen=True)
class Report:
    """The end of a trial.

    Attributes:
        name: of the package.
        version: of Debian's package; empty if it could not be fetched.
        failed_step: the step that failed; empty if all was proven.
        reason: why it failed, in words.
        log: the last lines that the host has of it.
        seconds: what each step took.
        processes: how many were seen on the machine at the end.
    """

    name: str
    version: str = ""
    failed_step: str = ""
    reason: str = ""
    log: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    processes: int = 0

    @property
    def is_proven(self) -> bool:
        """Whether each step was proven."""
        return not self.failed_step


class NotProvenError(Exception):
    """The machine itself tells something else than the proof."""


@dataclass
class Trials:
    """What trials of one lab share.

    Attributes:
        lab_state: the lab's state folder.
        addresses: of the lab.
        folder: for the homes and the packages.
        declare: returns the service file of a package.
    """

    lab_state: Path
    addresses: LabAddresses
    folder: Path
    declare: Declare
    _publishing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, name: str, progress: Callable[[str], None] = lambda _: None) -> Report:
        """Try a package, and clean up. Every end is a report.

        Args:
            name: of the package.
            progress: is called with the name of each step that begins.
        """
        trial = _Trial(self, name, self.folder / re.sub(r"[^a-z0-9]", "-", name), progress)
        reason = ""
        log: Sequence[str] = ()
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                await trial.run()
        except RemoteError as error:
            reason, log = str(error), (*error.stderr.splitlines(), *error.journal)[-LOG_LINES:]
        except (DomainError, LabError, ScriptError, NotProvenError) as error:
            reason = str(error)
        except TimeoutError:
            reason = f"no end after {LIMIT.total_seconds():.0f} s"
        finally:
            shutil.rmtree(trial.folder, ignore_errors=True)
            shutil.rmtree(self.repository(name), ignore_errors=True)
        return Report(
            name=name,
            version=trial.version,
            failed_step=trial.step if reason else "",
            reason=reason,
            log=log,
            seconds=trial.seconds,
            processes=trial.processes,
        )

    def repository(self, name: str) -> Path:
        """Return the folder of a package's own repository, which the lab serves."""
        return self.lab_state / "repository" / "trials" / name

    def url(self, name: str) -> str:
        """Return the URL of a package's own repository."""
        return f"{self.addresses.repository_url}/trials/{name}"

    async def publish(self, name: str, debs: Path) -> None:
        """Publish all .deb files of a folder in a package's own repository."""
        key = SigningKey(self.lab_state / "gnupg", self.addresses.signing_key)
        # gpg's agent is stopped after each signature.
        async with self._publishing:
            architecture = image.architecture()
            await asyncio.to_thread(
                repository.publish, self.repository(name), debs, key, architecture
            )


class _Trial:
    def __init__(
        self, trials: Trials, name: str, folder: Path, progress: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.step = ""
        self.version = ""
        self.processes = 0
        self.seconds: dict[str, float] = {}
        self._trials = trials
        self._name = name
        self._progress = progress
        self._begun = time.monotonic()

    def _begin(self, step: str) -> None:
        now = time.monotonic()
        if self.step:
            self.seconds[self.step] = round(now - self._begun, 1)
        self.step, self._begun = step, now
        if step:
            self._progress(step)

    async def run(self) -> None:
        self._begin("fetch")
        package = await debian.fetch(self._name, self.folder / "debs")
        self.version = package.version
        await self._trials.publish(self._name, package.folder)
        self._begin("declare")
        settings = await self._settings(package)
        async with worker.open_parts(settings) as parts:
            self._begin("provision")
            plan = self._plan(package.version)
            async with self._machine(parts, plan) as machine:
                await self._first_boot(parts, machine, plan)
                await self._prove(parts, machine, package.version)
                await self._check(parts, machine, package, "")
                self._begin("swap")
                await asyncio.to_thread(debian.repack, package, self.folder / "next")
                await self._trials.publish(self._name, self.folder / "next")
                await self._swap(parts, machine, package.next_version)
                await self._check(parts, machine, package, debian.NEXT)
                self._begin("roll back")
                await self._swap(parts, machine, package.version, allow_downgrade=True)
                await self._check(parts, machine, package, "")
        self._begin("")

    async def _settings(self, package: DebianPackage) -> Settings:
        home = self.folder / "home"
        ssh = prepare_home(home)
        (home / service_file.NAME).write_text(await self._trials.declare(package))
        variables = {
            "RELIGHT_STABILITY_WINDOW": STABILITY_WINDOW,
            "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
            "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
            **lab_settings(self._trials.addresses),
            "RELIGHT_REPOSITORY__URL": self._trials.url(package.name),
        }
        write_env(home, variables)
        with open_upgraded_store(f"sqlite:///{home}/fleet.db"):
            pass
        return Settings.of(Context(ENVIRONMENT, "the trial", home))

    def _plan(self, version: str) -> MachinePlan:
        route = self.folder.name
        return MachinePlan(
            key=f"{route}-g1",
            route_id=route,
            track="stable",
            provider="lab",
            region=REGION,
            release_version=version,
        )

    @asynccontextmanager
    async def _machine(self, parts: Parts, plan: MachinePlan) -> AsyncIterator[Machine]:
        spec = MachineSpec(
            region=REGION,
            user_data=parts.user_data.render(plan).packed,
            owner=parts.fleet_owner,
            generation=plan.generation,
        )
        driver = parts.drivers["lab"]
        found = [await driver.ensure(plan.key, spec)]

        async def runs() -> bool:
            found[:] = [await driver.ensure(plan.key, spec)]
            return found[0].status is MachineStatus.RUNNING

        try:
            await wait_until(runs, timedelta(seconds=60))
            yield found[0]
        finally:
            await driver.destroy(found[0].ref)

    async def _first_boot(self, parts: Parts, machine: Machine, plan: MachinePlan) -> None:
        boots = FirstBootActivities(parts.user_data, parts.hosts, None, parts.host_settings)
        await _environment().run(
            boots.await_first_boot, AwaitFirstBootInput(machine=machine, plan=plan)
        )

    async def _prove(self, parts: Parts, machine: Machine, version: str) -> None:
        release = await parts.repository.resolve(version, (machine.architecture,))
        await _environment().run(
            _proofs(parts).prove_release, ProveReleaseInput(machine=machine, release=release)
        )

    async def _swap(
        self, parts: Parts, machine: Machine, version: str, *, allow_downgrade: bool = False
    ) -> None:
        swaps = HotSwapActivities(
            parts.hosts,
            _proofs(parts),
            parts.store,
            None,
            parts.host_settings,
            parts.user_data.keys,
        )
        await _environment().run(
            swaps.swap_release,
            SwapReleaseInput(
                route_id=self.folder.name,
                machine=machine,
                release=await parts.repository.resolve(version, (machine.architecture,)),
                origin=ORIGIN,
                allow_downgrade=allow_downgrade,
            ),
        )

    async def _check(
        self, parts: Parts, machine: Machine, package: DebianPackage, suffix: str
    ) -> None:
        """Ask the machine itself whether it runs the release.

        Raises:
            NotProvenError: it does not.
        """
        units = (parts.service.unit, *parts.service.more_units)
        state = await read_host(self._trials.lab_state, machine.provider_id, self._name, units)
        self.processes = len(state.processes)
        expected = {each.name: each.version + suffix for each in package.moving}
        if found := problems(state, expected):
            raise NotProvenError(f"Relight proved it, and the machine says: {'; '.join(found)}")


def _proofs(parts: Parts) -> ProofActivities:
    return ProofActivities(parts.hosts, parts.service, parts.probe)


def _environment() -> ActivityEnvironment:
    """Return the environment of one activity, of a workflow run of its own."""
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_run_id=uuid.uuid4().hex)
    return environment
