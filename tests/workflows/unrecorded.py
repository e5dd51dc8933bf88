"""Machines of ours that no record knows."""

from devkit.simulated.parts import OWNER
from relight.domain.machine import MachinePlan, MachineStatus
from relight.providers.driver import MachineSpec
from tests.workflows.harness import Harness


async def unrecorded_machine(
    harness: Harness,
    key: str,
    tag: str = "v0.0.73",
    *,
    created_by: str = "",
    provider: str = "fake",
    region: str = "fake-east",
) -> None:
    """Create a machine that runs a release, as if an operation that is forgotten had done so."""
    release = harness.releases.get(tag)
    plan = MachinePlan(
        key=key,
        route_id=None,
        track=None,
        provider=provider,
        region=region,
        release_version=release.version,
        deb_file=release.deb_file("amd64"),
    )
    spec = MachineSpec(
        region=region,
        user_data=harness.parts.user_data.render(plan).packed,
        owner=OWNER,
        generation=plan.generation,
        created_by=created_by,
    )
    driver = harness.drivers[provider]
    created = await driver.ensure(key, spec)
    while created.status is not MachineStatus.RUNNING:
        created = await driver.ensure(key, spec)
    await harness.await_first_boot(created.machine, plan)
