"""A machine from its plan to its release, proven: for a route or for the pool."""

from messages.base import Origin
from messages.machine import (
    AwaitFirstBootInput,
    AwaitMachineInput,
    CreateMachineInput,
    Machine,
    MachinePlan,
    RenderCloudInitInput,
)
from messages.names import ReleaseTag, RouteId
from messages.package import ProveReleaseInput, SwapReleaseInput
from messages.proof import Proof
from messages.release import Release
from messages.route import RecordMachineInput
from workflows import steps


async def make_machine(plan: MachinePlan, origin: Origin) -> Machine:
    """Create a plan's machine and see it through its first boot.

    Its key is on record before. Whoever calls has registered what undoes it.
    """
    rendered = await steps.render_cloud_init(RenderCloudInitInput(plan=plan))
    created = await steps.create_machine(
        CreateMachineInput(plan=plan, user_data_sha256=rendered.sha256)
    )
    machine = await steps.await_machine(AwaitMachineInput(machine=created.ref))
    await steps.record_machine(
        RecordMachineInput(machine=machine, user_data_sha256=rendered.sha256, origin=origin)
    )
    await steps.await_first_boot(AwaitFirstBootInput(machine=machine))
    return machine


async def bring_to(
    release: Release,
    machine: Machine,
    runs: ReleaseTag | None,
    origin: Origin,
    route_id: RouteId | None = None,
) -> Proof:
    """Bring a machine that serves nobody to a release, and prove it; a newer one may have to go.

    Args:
        release: what it is to run.
        machine: which one.
        runs: what it was last proven to run, None where that is not known.
        origin: who asks.
        route_id: the route that it will serve, None for one of the pool.
    """
    if runs == release.tag:
        return await steps.prove_release(ProveReleaseInput(machine=machine, release=release))
    swapped = await steps.swap_release(
        SwapReleaseInput(
            route_id=route_id,
            machine=machine,
            release=release,
            origin=origin,
            allow_downgrade=True,
        )
    )
    return swapped.proof
