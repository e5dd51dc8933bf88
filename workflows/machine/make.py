"""Make a machine ready, for a route or for the pool: create it, boot it, swap or prove it."""

from relight.domain.base import Origin
from relight.domain.machine import (
    AwaitFirstBootInput,
    AwaitMachineInput,
    CreateMachineInput,
    Machine,
    MachinePlan,
    RenderCloudInitInput,
)
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import Proof, ProveReleaseInput, SwapReleaseInput
from relight.domain.release import Release
from relight.domain.route import RecordMachineInput
from workflows.machine.steps import (
    FirstBootActivities,
    HotSwapActivities,
    MachineActivities,
    ProofActivities,
    RouteActivities,
)


async def make_machine(plan: MachinePlan, origin: Origin) -> Machine:
    """Create the machine of a plan, and wait until its first boot has succeeded.

    The caller has recorded the machine's key and registered its undo before.
    """
    rendered = await FirstBootActivities.render_cloud_init(RenderCloudInitInput(plan=plan))
    created = await MachineActivities.create_machine(
        CreateMachineInput(plan=plan, user_data_sha256=rendered.sha256)
    )
    machine = await MachineActivities.await_machine(
        AwaitMachineInput(machine=created.ref, region=plan.region)
    )
    await RouteActivities.record_machine(
        RecordMachineInput(machine=machine, user_data_sha256=rendered.sha256, origin=origin)
    )
    await FirstBootActivities.await_first_boot(AwaitFirstBootInput(machine=machine))
    return machine


async def swap_or_prove(
    release: Release,
    machine: Machine,
    current: ReleaseTag | None,
    origin: Origin,
    route_id: RouteId | None = None,
) -> Proof:
    """Prove that a machine runs a release; install the release first if it runs another.

    The machine serves no route, so a downgrade is allowed.

    Args:
        release: what the machine should run.
        machine: the machine.
        current: what the machine was last proven to run; None if that is unknown.
        origin: who requested it, and why.
        route_id: the route that the machine will serve; None for a pool machine.
    """
    if current == release.tag:
        return await ProofActivities.prove_release(
            ProveReleaseInput(machine=machine, release=release)
        )
    swapped = await HotSwapActivities.swap_release(
        SwapReleaseInput(
            route_id=route_id,
            machine=machine,
            release=release,
            origin=origin,
            allow_downgrade=True,
        )
    )
    return swapped.proof
