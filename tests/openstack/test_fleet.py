"""A route on VMs of a real OpenStack: provisioned, swapped, and replaced while a part is down.

The tests build on each other, in their order: each machine takes minutes to boot.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from devkit.chaos.environment import ChaosEnvironment, chaos_environment
from devkit.openstack.resources import REGION
from relight.domain.machine import MachineStatus
from relight.providers.openstack.driver import OpenStackDriver
from starter.local.children import wait_until
from tests.openstack.conftest import OpenStack
from tests.starter.in_process import InProcess
from tests.support.command_line import WHOLE_FLEET_AT_ONCE, Ended

pytestmark = pytest.mark.timeout(2400)

FIRST, SECOND = "v0.0.73", "v0.0.74"
ROUTE, OLD, NEW = "cloud-1", "cloud-1-g1", "cloud-1-g2"
WINDOW = "PT5S"
BOOTED_WITHIN = timedelta(minutes=15)
DOWN_WITHIN = GONE_WITHIN = timedelta(minutes=5)
SEVERAL_LISTINGS = timedelta(seconds=30)


@dataclass(frozen=True)
class Fleet:
    """A route on the cloud.

    Attributes:
        environment: its worker, Temporal server and store.
        relight: the operator's command line.
        driver: of the cloud, of its own.
    """

    environment: ChaosEnvironment
    relight: InProcess
    driver: OpenStackDriver

    async def done(self, *words: str) -> Ended:
        """Run a command, which must succeed."""
        ended = await self.relight(*words)
        assert ended.code == 0, ended
        return ended

    async def route(self) -> Any:
        """Return the route, as JSON."""
        return (await self.done("route", "show", ROUTE, "--json")).json["route"]

    async def assert_serves(self, key: str, tag: str) -> None:
        """Check that the route is proven on a machine, which runs the release."""
        route = await self.route()
        assert (route["status"], route["current_release_tag"]) == ("proven", tag)
        assert route["machine"]["key"] == key
        assert (route["machine"]["provider"], route["machine"]["region"]) == ("openstack", REGION)
        async with httpx.AsyncClient(trust_env=False) as http:
            health = await http.get(f"http://{route['machine']['address']}:8899/healthz")
        assert health.json() == {"status": "ok", "version": tag.removeprefix("v")}

    async def output_of(self, script: str) -> str:
        """Return the output of a shell script on the route's machine, as its user."""
        ended = await self.relight.processes("route", "exec", ROUTE, "--", "sh", "-c", script)
        assert ended.code == 0, ended
        return ended.out.strip()

    def status_of(self, key: str) -> str:
        """Return what the records say of a machine."""
        machines = self.environment.store.machines.list(ROUTE)
        return next(str(machine.status) for machine in machines if machine.key == key)


@pytest.fixture(scope="module")
async def fleet(openstack: OpenStack) -> AsyncIterator[Fleet]:
    settings = {"RELIGHT_PROVIDERS_FILE": openstack.described["providers_file"]}
    async with chaos_environment(WINDOW, settings) as environment, AsyncExitStack() as stack:
        driver = openstack.driver()
        stack.push_async_callback(driver.close)
        fleet = Fleet(environment, InProcess(environment.home, WHOLE_FLEET_AT_ONCE), driver)
        reason = ("--reason", "its first release")
        await fleet.done("settings", "set", "default_release_tag", FIRST, *reason)
        await fleet.done("track", "set", "stable", *reason)
        yield fleet
        for machine in (await driver.list()).machines:
            if machine.key in {OLD, NEW}:
                await driver.destroy(machine.ref)


async def test_a_route_is_provisioned_on_a_vm_that_took_its_user_data_from_the_metadata_service(
    fleet: Fleet,
):
    where = ("--track", "stable", "--provider", "openstack", "--region", REGION)
    await fleet.done("route", "provision", ROUTE, *where)
    await fleet.assert_serves(OLD, FIRST)
    source = await fleet.output_of("cat /run/cloud-init/result.json")
    assert "DataSourceOpenStack" in source
    [listed] = (await fleet.driver.list()).machines
    assert (listed.key, listed.status) == (OLD, MachineStatus.RUNNING)


async def test_a_hot_swap_changes_the_release_in_place(fleet: Fleet):
    before = await fleet.output_of("cat /proc/sys/kernel/random/boot_id")
    await fleet.done("route", "swap", ROUTE, SECOND)
    await fleet.assert_serves(OLD, SECOND)
    assert await fleet.output_of("cat /proc/sys/kernel/random/boot_id") == before


async def test_a_machine_that_goes_on_while_its_deletion_is_accepted_is_not_taken_for_gone(
    fleet: Fleet, openstack: OpenStack
):
    [old] = (await fleet.driver.list()).machines
    reason = ("--reason", "to see its removal")
    await fleet.done("route", "replace", ROUTE, "--yes", "--no-wait", *reason)

    async def second_runs() -> bool:
        found = await fleet.driver.find(NEW)
        return found is not None and found.status is MachineStatus.RUNNING

    async def second_serves() -> bool:
        return bool((await fleet.route())["machine"]["key"] == NEW)

    await wait_until(second_runs, BOOTED_WITHIN)
    async with openstack.without_compute():
        await openstack.until_compute_is_down(DOWN_WITHIN)
        await wait_until(second_serves, BOOTED_WITHIN)
        await fleet.assert_serves(NEW, SECOND)

        async def accepted() -> bool:
            return await fleet.driver.find(OLD) is None

        async def recorded() -> bool:
            return fleet.status_of(OLD) == "destroyed"

        await wait_until(accepted, GONE_WITHIN)
        with pytest.raises(TimeoutError):
            await wait_until(recorded, SEVERAL_LISTINGS)
        assert old.provider_id in await openstack.machines_that_run()

    async def gone() -> bool:
        return old.provider_id not in await openstack.machines_that_run()

    await wait_until(gone, GONE_WITHIN)
    await wait_until(recorded, GONE_WITHIN)
