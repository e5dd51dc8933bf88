"""Make a machine ready, for a route or for the pool: create it, boot it, swap or prove it."""

from collections.abc import Awaitable, Callable
from typing import Any

from temporalio import workflow

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault
from relight.domain.image.choice import CheckContractInput, ChooseImageInput
from relight.domain.image.image import ImageName
from relight.domain.machine import (
    AwaitFirstBootInput,
    AwaitMachineInput,
    CreateMachineInput,
    Machine,
    MachineImage,
    MachinePlan,
    Region,
    RenderCloudInitInput,
)
from relight.domain.names import ReleaseTag, RouteId
from relight.domain.proof import Proof, ProveReleaseInput, ReleaseSwapped, SwapReleaseInput
from relight.domain.release import Release
from relight.domain.route import RecordMachineInput
from workflows.machine.steps import (
    FirstBootActivities,
    HotSwapActivities,
    ImageChoiceActivities,
    ImageContractActivities,
    MachineActivities,
    ProofActivities,
    RouteActivities,
)
from workflows.undo import I, UndoStack

UNFINISHED = frozenset({"cancelled", "timed-out"})
"""Fault kinds after which a change may still run on the host."""


_IMAGES = "machines are made of published images"
"""The patch: machines of older histories are made of what the settings say."""


async def choose_image(
    region: Region, release: Release, name: ImageName | None = None
) -> MachineImage | None:
    """Return the published image for a new machine; None: what the settings say of its location.

    Args:
        region: of the machine.
        release: that it will run.
        name: of the image that it has to be made of; None: the pinned or the newest one.
    """
    if not workflow.patched(_IMAGES):
        return None
    chosen = await ImageChoiceActivities.choose_image(
        ChooseImageInput(region=region, release=release, name=name)
    )
    return chosen.image


async def make_machine(plan: MachinePlan, origin: Origin) -> Machine:
    """Create the machine of a plan, and wait until its first boot has succeeded.

    One of a published image is held to the contract of its image.

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
        RecordMachineInput(
            machine=machine,
            user_data_sha256=rendered.sha256,
            origin=origin,
            image=plan.image,
        )
    )
    await FirstBootActivities.await_first_boot(AwaitFirstBootInput(machine=machine, plan=plan))
    if plan.image is not None:
        await ImageContractActivities.check_contract(
            CheckContractInput(machine=machine, image=plan.image)
        )
    return machine


async def swap(input: SwapReleaseInput) -> ReleaseSwapped:
    """Install a release on a machine and prove it.

    If that is cancelled or times out, the change on the host is stopped: without its operation
    nobody would wait for its end.

    Raises:
        FailureError: it failed, or was cancelled.
    """
    async with UndoStack() as undo:
        stop_unfinished(undo, HotSwapActivities.stop_swap, input)
        return await HotSwapActivities.swap_release(input)


def stop_unfinished(undo: UndoStack, stop: Callable[[I], Awaitable[Any]], input: I) -> None:
    """Register to stop a change on a host with `stop` if the operation is cut short meanwhile."""

    async def stop_if_unfinished(cause: Fault) -> None:
        if cause.kind in UNFINISHED:
            await stop(input)

    undo.on_fault(stop_if_unfinished, lambda cause: cause)


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
    # A pool machine has the configuration of no route.
    if current == release.tag and release.configuration is None:
        return await ProofActivities.prove_release(
            ProveReleaseInput(machine=machine, release=release)
        )
    swapped = await swap(
        SwapReleaseInput(
            route_id=route_id,
            machine=machine,
            release=release,
            origin=origin,
            allow_downgrade=True,
        )
    )
    return swapped.proof
