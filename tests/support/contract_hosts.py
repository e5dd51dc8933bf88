"""A machine for tests of the activities: simulated, or real in the lab."""

import dataclasses
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncssh
from pydantic import SecretStr
from temporalio.testing import ActivityEnvironment

from activities.configurations import ServiceConfigurations
from activities.delivery import PackageDelivery
from activities.machine.first_boot import FirstBootActivities, UserDataRenderer
from activities.route.hot_swap import HotSwapActivities, ProofActivities
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import (
    HOST_KEY_SECRET,
    OWNER,
    SERVICE,
    first_boot_parts,
    user_data_renderer,
)
from relight.domain.base import Origin
from relight.domain.machine import (
    AwaitFirstBootInput,
    FirstBootFinished,
    Machine,
    MachinePlan,
    MachineStatus,
)
from relight.domain.proof import (
    Proof,
    ProveReleaseInput,
    ReleaseSwapped,
    SwapReleaseInput,
    SwapStopped,
)
from relight.domain.release import Release
from relight.domain.service import Service
from relight.hosts.connections import Hosts, SshHosts
from relight.hosts.host_settings import HostSettings
from relight.hosts.key_files import fixed_keys
from relight.hosts.probe import HttpProbe, Probe
from relight.providers.driver import MachineSpec, ProviderDriver
from relight.providers.lab import LabDriver
from relight.store.store import Store, open_upgraded_store
from starter.local.children import wait_until
from tests.support.lab import Lab

ORIGIN = Origin(requested_by="tests", reason="a test")
CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")
LAB_SERVICE = dataclasses.replace(SERVICE, stability_window=timedelta(seconds=0.5))
LAB_PROBE = HttpProbe(port=8899, path="/healthz", timeout=timedelta(seconds=3))


def release(version: str) -> Release:
    return Release(
        tag=f"v{version}", version=version, package=SERVICE.package, source="lab", deb_files=()
    )


def plan(key: str, version: str) -> MachinePlan:
    return MachinePlan(
        key=key,
        route_id=key.rpartition("-g")[0],
        track="stable",
        provider="lab",
        region="lab-east",
        release_version=version,
    )


@dataclass
class Subject:
    """A machine, and the parts of a worker that act on it."""

    machine: Machine
    hosts: Hosts
    user_data: UserDataRenderer
    service: Service
    probe: Probe
    store: Store
    planned: MachinePlan
    settings: HostSettings | None = None
    delivery: PackageDelivery | None = None
    configurations: ServiceConfigurations | None = None
    _runs: "itertools.count[int]" = field(default_factory=itertools.count)

    def new_run(self) -> str:
        """Return the id of a new workflow run. Attempts of one operation have the same id."""
        return f"run-{next(self._runs)}"

    async def first_boot(self) -> FirstBootFinished:
        first_boot = FirstBootActivities(
            self.user_data, self.hosts, self.delivery, self.settings, self.configurations
        )
        return await ActivityEnvironment().run(
            first_boot.await_first_boot,
            AwaitFirstBootInput(machine=self.machine, plan=self.planned),
        )

    async def swap(
        self,
        to: str | Release,
        *,
        allow_downgrade: bool = False,
        run: str | None = None,
        environment: ActivityEnvironment | None = None,
    ) -> ReleaseSwapped:
        """Install a version or a release on the machine, and prove it."""
        environment = environment or ActivityEnvironment()
        environment.info = dataclasses.replace(
            environment.info, workflow_run_id=run or self.new_run()
        )
        return await environment.run(
            self._swaps().swap_release, self._swap_input(to, allow_downgrade=allow_downgrade)
        )

    async def stop_swap(self, to: str, run: str) -> SwapStopped:
        """Stop the change of a swap to a version, by the run that started it."""
        environment = ActivityEnvironment()
        environment.info = dataclasses.replace(environment.info, workflow_run_id=run)
        return await environment.run(self._swaps().stop_swap, self._swap_input(to))

    async def prove(self, to: str | Release) -> Proof:
        return await ActivityEnvironment().run(
            self._services().prove_release,
            ProveReleaseInput(
                machine=self.machine, release=release(to) if isinstance(to, str) else to
            ),
        )

    async def settle_at(self, version: str) -> Proof:
        """Install a good version, whatever an earlier test left installed, and prove it."""
        return (await self.swap(version, allow_downgrade=True)).proof

    def _swap_input(self, to: str | Release, *, allow_downgrade: bool = False) -> SwapReleaseInput:
        return SwapReleaseInput(
            route_id=self.machine.key.rpartition("-g")[0],
            machine=self.machine,
            release=release(to) if isinstance(to, str) else to,
            origin=ORIGIN,
            allow_downgrade=allow_downgrade,
        )

    def _swaps(self) -> HotSwapActivities:
        keys = self.user_data.keys
        return HotSwapActivities(
            self.hosts, self._services(), self.store, self.delivery, None, keys
        )

    def _services(self) -> ProofActivities:
        return ProofActivities(self.hosts, self.service, self.probe, self.configurations)


@contextmanager
def new_store() -> Iterator[Store]:
    """Open an empty store."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_upgraded_store(f"sqlite:///{folder}/fleet.db") as store,
    ):
        yield store


def spec_of(
    planned: MachinePlan, user_data: UserDataRenderer, region: str | None = None
) -> MachineSpec:
    """Return a provider's specification of a planned machine."""
    return MachineSpec(
        region=region or planned.region,
        user_data=user_data.render(planned).packed,
        owner=OWNER,
        generation=planned.generation,
    )


async def running(driver: ProviderDriver, key: str, spec: MachineSpec) -> Machine:
    """Create a machine, and wait until its provider reports it as running."""
    found = [await driver.ensure(key, spec)]

    async def runs() -> bool:
        found[:] = [await driver.ensure(key, spec)]
        return found[0].status is MachineStatus.RUNNING

    await wait_until(runs, timedelta(seconds=30))
    return found[0]


@asynccontextmanager
async def simulated_subject(key: str, version: str) -> AsyncIterator[Subject]:
    cloud = FakeCloud()
    hosts = SimulatedHosts(cloud)
    user_data = user_data_renderer(CLIENT_KEY)
    planned = plan(key, version)
    spec = spec_of(planned, user_data, region=FakeCloud.REGIONS[0])
    machine = await running(cloud, key, spec)
    with new_store() as store:
        yield Subject(machine, hosts, user_data, SERVICE, hosts.probe, store, planned)


def lab_hosts(
    host_key_secret: bytes = HOST_KEY_SECRET, connect_timeout: timedelta = timedelta(seconds=10)
) -> SshHosts:
    return SshHosts(
        user="relight",
        port=22,
        keys=fixed_keys(CLIENT_KEY, host_key_secret),
        connect_timeout=connect_timeout,
    )


@asynccontextmanager
async def lab_subject(
    lab: Lab,
    key: str,
    version: str,
    *,
    repository_url: str = "",
    service_files: Path | None = None,
    secrets: dict[str, str] | None = None,
    deb_urls: str = "",
    planned: MachinePlan | None = None,
) -> AsyncIterator[Subject]:
    planned = planned or plan(key, version)
    user_data, settings = first_boot_parts(
        CLIENT_KEY,
        repository_url=repository_url or lab.repository_url,
        signing_key=lab.signing_key.read_bytes(),
        service_files=service_files,
        secrets=secrets,
        deb_urls=deb_urls,
    )
    driver = LabDriver(lab.api_url, SecretStr(lab.token))
    spec = spec_of(planned, user_data)
    machine = await running(driver, key, spec)
    try:
        with new_store() as store:
            yield Subject(
                machine, lab_hosts(), user_data, LAB_SERVICE, LAB_PROBE, store, planned, settings
            )
    finally:
        await driver.destroy(machine.ref)
        await driver.close()
