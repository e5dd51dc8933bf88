"""One fleet at two providers: Linode's and OpenStack's API, each with real hosts of one lab behind.

The worker has the real drivers. The tests build on each other, in their order.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretBytes

from devkit.chaos.environment import ChaosEnvironment, chaos_environment
from lab.names import LabNames
from relight.domain.event import Event
from relight.domain.machine import MachineAtProvider
from relight.domain.names import machine_key, machine_workflow_id
from relight.domain.pool.pool import PoolStatus
from relight.hosts.keys import derive_host_key, load_secret
from relight.provider_settings import variable_of
from relight.providers.driver import MachineSpec
from relight.providers.locations import ProviderSettings
from relight.settings import required
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.providers.fakes.base import VendorFake
from tests.providers.fakes.lab_machines import LabMachines
from tests.providers.fakes.linode import LinodeFake
from tests.providers.fakes.openstack import OpenStackFake
from tests.starter.in_process import InProcess
from tests.support.command_line import WHOLE_FLEET_AT_ONCE
from tests.support.lab_fleet import FIRST, WINDOW, LabFleet

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

SECOND = "v0.0.74"
ROUTES = {"linode": "linode-1", "openstack": "cloud-1"}
ANSWER_WITHIN = timedelta(seconds=30)
WITHIN = timedelta(seconds=120)
REASON = ("--reason", "requested by a test")


@dataclass(frozen=True)
class Faces:
    """A fleet of one route at each provider.

    Attributes:
        fleet: its commands and its hosts.
        linode, openstack: the providers, as a vendor's computers see them.
        folder: for the files of further drivers.
    """

    fleet: LabFleet
    linode: LinodeFake
    openstack: OpenStackFake
    folder: Path

    @property
    def environment(self) -> ChaosEnvironment:
        return self.fleet.environment

    @property
    def vendors(self) -> Mapping[str, VendorFake]:
        return {each.name: each for each in (self.linode, self.openstack)}

    async def listed(self, name: str) -> dict[str, MachineAtProvider]:
        """Return what a vendor lists, by key."""
        driver = self.vendors[name].driver(self.folder)
        try:
            return {each.key: each for each in (await driver.list()).machines}
        finally:
            await driver.close()

    async def create(self, name: str, key: str) -> MachineAtProvider:
        """Create a machine of our owner, with its own host key, that the fleet does not know."""
        secret = load_secret(
            required(self.environment.settings.ssh.host_key_secret, "ssh", "host_key_secret")
        )
        host_key = {"ed25519_private": derive_host_key(secret, key).private}
        user_data = f"#cloud-config\n{json.dumps({'ssh_keys': host_key})}\n"
        driver = self.vendors[name].driver(self.folder)
        spec = MachineSpec(
            region=self.vendors[name].region,
            user_data=SecretBytes(user_data.encode()),
            owner=self.environment.settings.fleet_owner,
            generation=1,
        )
        try:
            return await driver.ensure(key, spec)
        finally:
            await driver.close()

    async def remove(self, name: str, key: str) -> None:
        """Have a machine removed that is not on record; does not wait for it."""
        await self.fleet.ask("machine", "remove", key, "--provider", name, "--yes", *REASON)

    async def heartbeats(self, workflow_id: str) -> list[str]:
        """Return what the running activities of a workflow have said last."""
        client = self.environment.client
        assert client is not None
        described = await client.get_workflow_handle(workflow_id).describe()
        details = [
            payload
            for each in described.raw_description.pending_activities
            for payload in each.heartbeat_details.payloads
        ]
        return [str(each) for each in await client.data_converter.decode(details)]

    def destroyed(self, key: str) -> list[Event]:
        """Return the events that a machine is destroyed."""
        events = self.environment.store.events.list(kind="machine-destroyed")
        return [each for each in events if each.machine_key == key]

    async def until_removed(self, key: str) -> None:
        """Wait until a machine's removal has ended."""
        client = self.environment.client
        assert client is not None
        await client.get_workflow_handle(machine_workflow_id(key)).result()


def variables(name: str, settings: ProviderSettings) -> Iterator[tuple[str, str]]:
    """Return the variables that say the same as the settings of a provider."""
    values = settings.model_copy(update={"timeout": ANSWER_WITHIN})
    for key, value in values.model_dump(mode="json", exclude_none=True).items():
        yield variable_of(name, key), value if isinstance(value, str) else json.dumps(value)


@pytest.fixture(scope="module")
async def faces(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Faces]:
    folder = tmp_path_factory.mktemp("faces")
    linode, openstack = LinodeFake(), OpenStackFake()
    async with AsyncExitStack() as stack:
        settings: dict[str, str] = {}
        for vendor in (linode, openstack):
            stack.enter_context(vendor.served())
            settings |= variables(vendor.name, vendor.settings(folder))
        environment = await stack.enter_async_context(chaos_environment(WINDOW, settings))
        stack.callback(shutil.copytree, environment.home / "logs", folder / "logs")
        lab = environment.lab
        for vendor, lab_region in ((linode, "lab-east"), (openstack, "lab-west")):
            token = lab.token_file.read_text().strip()
            machines = LabMachines(lab.url, token, {vendor.region: lab_region})
            stack.callback(machines.close)
            vendor.behind = machines
        relight = InProcess(environment.home, WHOLE_FLEET_AT_ONCE)
        fleet = LabFleet(environment, relight, {})
        await fleet.ask("settings", "set", "default_release_tag", FIRST, *REASON)
        await fleet.ask("track", "set", "stable", *REASON)
        yield Faces(fleet, linode, openstack, folder)
    assert traces(LabNames(lab_name(environment.home)).tag) == []


async def test_routes_are_provisioned_at_both_providers_on_hosts_that_took_their_user_data(
    faces: Faces,
):
    fleet = faces.fleet
    for name, route in ROUTES.items():
        where = ("--track", "stable", "--provider", name, "--region", faces.vendors[name].region)
        await fleet.ask("route", "provision", route, *where)
    await fleet.refresh_machines()
    await fleet.assert_serves(FIRST)
    for name, route in ROUTES.items():
        result = json.loads(await fleet.on_host(route, "cat /run/cloud-init/result.json"))
        assert "DataSourceNoCloud" in result["v1"]["datasource"]
        listed = await faces.listed(name)
        assert listed.keys() == {machine_key(route, 1)}
        recorded = fleet.environment.store.machines.last_observed(machine_key(route, 1))
        assert recorded == listed[machine_key(route, 1)].machine
        assert recorded.provider == name


async def test_one_rollout_changes_the_release_at_both_providers(faces: Faces):
    fleet = faces.fleet
    installs = await fleet.installs()
    assert (await fleet.roll_out(SECOND)).code == 0
    await fleet.assert_serves(SECOND)
    assert await fleet.installed_since(installs) == {each: ["0.0.74"] for each in fleet.routes}


async def test_a_route_is_replaced_by_a_machine_of_its_providers_pool(faces: Faces):
    fleet, pool = faces.fleet, faces.environment.store.pool
    route, where = ROUTES["openstack"], ("openstack", faces.openstack.region)
    await fleet.ask("pool", "set", *where, "1", *REASON)
    await fleet.ask("reconcile", *REASON)

    async def ready() -> bool:
        return [each.status for each in pool.list()] == [PoolStatus.READY]

    await wait_until(ready, WITHIN)
    [waiting] = pool.list()
    await fleet.ask("pool", "set", *where, "0", *REASON)  # It is not filled again.
    replaced = await fleet.ask("route", "replace", route, "--yes", *REASON)
    assert (replaced["from_pool"], replaced["machine"]["key"]) == (True, waiting.key)
    await faces.until_removed(machine_key(route, 1))
    assert (await faces.listed("openstack")).keys() == {waiting.key}
    left = {machine_key(ROUTES["linode"], 1), waiting.key}
    assert (await faces.environment.machines()).keys() == left
    await fleet.refresh_machines()
    await fleet.assert_serves(SECOND)


async def test_a_sweep_finds_a_machine_at_each_provider_that_is_not_on_record(faces: Faces):
    fleet = faces.fleet
    before = (await faces.environment.machines()).keys()
    strays = {name: f"stray-{name}-g1" for name in ROUTES}
    for name, key in strays.items():
        await faces.create(name, key)
    swept = await fleet.ask("reconcile", *REASON)
    left = {each["about"]: each["reason"] for each in swept["observed"]["plan"]["left_alone"]}
    for key in strays.values():
        assert f"machine {key} is not on record" in left[f"machine {key}"]
    key = strays["linode"]
    await faces.remove("linode", key)
    await faces.until_removed(key)
    assert key not in await faces.listed("linode")
    assert (await faces.environment.machines()).keys() == {*before, strays["openstack"]}


async def test_a_machine_that_its_provider_forgets_is_removed_only_once_its_host_has_ended(
    faces: Faces,
):
    key = "stray-openstack-g1"
    stray = (await faces.listed("openstack"))[key]
    faces.openstack.compute_is_down = True
    await faces.remove("openstack", key)

    async def waits_for_its_host() -> bool:
        beats = await faces.heartbeats(machine_workflow_id(key))
        return f"absent, and the host at {stray.address} still answers" in beats

    await wait_until(waits_for_its_host, WITHIN)
    assert key not in await faces.listed("openstack")
    assert key in await faces.environment.machines()
    assert faces.destroyed(key) == []
    faces.openstack.behind.delete(stray.provider_id)
    await faces.until_removed(key)
    assert len(faces.destroyed(key)) == 1
    assert key not in await faces.environment.machines()
    await faces.fleet.assert_serves(SECOND)
