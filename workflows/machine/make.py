"""A machine from its plan to its release, proven: for a route or for the pool."""

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
    """Create a plan's machine and see it through its first boot.

    Its key is on record before. Whoever calls has registered what undoes it.
    """
    rendered = await FirstBootActivities.render_cloud_init(RenderCloudInitInput(plan=plan))
    created = await MachineActivities.create_machine(
        CreateMachineInput(plan=plan, user_data_sha256=rendered.sha256)
    )
    machine = await MachineActivities.await_machine(AwaitMachineInput(machine=created.ref))
    await RouteActivities.record_machine(
        RecordMachineInput(machine=machine, user_data_sha256=rendered.sha256, origin=origin)
    )
    await FirstBootActivities.await_first_boot(AwaitFirstBootInput(machine=machine))
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
