"""The operations whose histories are kept: one scenario each."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from temporalio.client import WorkflowFailureError, WorkflowHandle

from activities import policies
from devkit.simulated.parts import OWNER
from relight.domain.base import Origin
from relight.domain.comparison import CompareRecordsInput
from relight.domain.image.image import ImageAtProvider, ImageStatus
from relight.domain.image.prune import PRUNE_WORKFLOW_ID, PruneImagesInput
from relight.domain.image.publication import (
    PublishImageInput,
    image_workflow_id,
    region_workflow_id,
)
from relight.domain.key_rotation import KeyKind
from relight.domain.liveness import LIVENESS_WORKFLOW_ID, CheckLivenessInput
from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.reconcile.plan import ReconcilePolicy
from relight.domain.reconcile.run import (
    RECONCILE_WORKFLOW_ID,
    VERIFY_SILENT_WORKFLOW_ID,
    ReconcileFleetInput,
)
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.retention import PruneStoreInput
from relight.domain.rollout.rollout import ControlInput, RolloutPhase
from relight.domain.route import RetireRouteInput
from relight.store.images import Place
from tests.store.images import publish, ref
from tests.support.interference import Injection
from tests.workflows.harness import Harness
from tests.workflows.image.cloud import TaskCloud
from tests.workflows.image.driver import LIMITS, TaskDriver, TaskStaging
from tests.workflows.image.publishing import write_image
from tests.workflows.rotations import Rotation
from workflows.fleet.comparison import CompareRecords
from workflows.fleet.liveness import CheckLiveness
from workflows.fleet.prune import PruneStore
from workflows.fleet.reconcile import ReconcileFleet
from workflows.image.prune import PruneImages
from workflows.image.publish import PublishImage
from workflows.rollout.rollout import RolloutRelease
from workflows.route.replace import AutoreplaceRoute
from workflows.route.retire import RetireRoute

CONTROL = ControlInput(origin=Origin(requested_by="recorder", reason="to record a history"))
IMAGE = "recorded-1-amd64"

LOOK_EVERY = timedelta(seconds=1)
"""How often an import is observed here."""

Handle = WorkflowHandle[Any, Any]
Operation = Callable[[Harness], Awaitable[Handle]]
Begin = Callable[[Rotation], Awaitable[Handle]]


async def provisioned(harness: Harness) -> Handle:
    return await harness.start_provision("recorded-1")


async def provision_failed_and_undone(harness: Harness) -> Handle:
    harness.interference.inject(Injection.FAILS_AFTER, "create_machine")
    return await harness.start_provision("recorded-2")


async def provision_cancelled(harness: Harness) -> Handle:
    harness.interference.inject(Injection.CANCELLED_AFTER, "create_machine")
    return await harness.start_provision("recorded-3")


async def provision_refused(harness: Harness) -> Handle:
    return await harness.start_provision("recorded-4", track="nowhere")


async def swapped(harness: Harness) -> Handle:
    await harness.provision("recorded-5")
    return await harness.start_swap("recorded-5", "v0.0.74")


async def swap_faulted(harness: Harness) -> Handle:
    await harness.provision("recorded-6")
    return await harness.start_swap("recorded-6", "v0.0.76")


async def swap_cancelled(harness: Harness) -> Handle:
    await harness.provision("recorded-11")
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap("recorded-11", "v0.0.74")
    await gate.reached()
    await swap.cancel()
    return swap


async def rollout_converged(harness: Harness) -> Handle:
    await _three_routes(harness)
    return await harness.start_rollout("v0.0.74", waves=("1", "100%"))


async def rollout_stopped(harness: Harness) -> Handle:
    await _three_routes(harness)
    return await harness.start_rollout("v0.0.76", waves=("1", "100%"), roll_back=False)


async def rollout_paused_and_resumed(harness: Harness) -> Handle:
    await _three_routes(harness)
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await rollout.execute_update(RolloutRelease.pause, CONTROL)
    gate.open()
    await rollout.execute_update(RolloutRelease.resume, CONTROL)
    return rollout


async def rollout_aborted(harness: Harness) -> Handle:
    await _three_routes(harness)
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), roll_back=False)
    await gate.reached()
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    gate.open()
    return rollout


async def rollout_rolled_back(harness: Harness) -> Handle:
    await _three_routes(harness)
    return await harness.start_rollout("v0.0.76", waves=("2",), max_concurrent=2)


async def rollout_soaked_and_approved(harness: Harness) -> Handle:
    await _three_routes(harness)
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("1", "100%"), soak="PT1S", approval="canary"
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    return rollout


async def rollout_superseded(harness: Harness) -> Handle:
    await _three_routes(harness)
    first = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await harness.until_status(first, lambda now: now.phase is RolloutPhase.HOLDING)
    second = await harness.start_rollout("v0.0.78")
    await second.result()
    return first


async def wave_converged(harness: Harness) -> Handle:
    with _of_their_own():
        rollout = await rollout_converged(harness)
        await rollout.result()
    return harness.client.get_workflow_handle(f"{rollout.id}/2/swap")


async def wave_stopped(harness: Harness) -> Handle:
    with _of_their_own():
        rollout = await rollout_stopped(harness)
        await harness.ended(rollout)
    return harness.client.get_workflow_handle(f"{rollout.id}/1/swap")


async def wave_rolled_back(harness: Harness) -> Handle:
    with _of_their_own():
        rollout = await rollout_rolled_back(harness)
        await harness.ended(rollout)
    return harness.client.get_workflow_handle(f"{rollout.id}/1/roll back")


async def rollout_of_large_waves(harness: Harness) -> Handle:
    with _of_their_own():
        rollout = await rollout_converged(harness)
        await rollout.result()
    return rollout


def _of_their_own() -> AbstractContextManager[object]:
    """Make each wave a workflow of its own, as a large one is."""
    return patch("relight.domain.rollout.wave.SMALL_WAVE", 0)


async def proven_again(harness: Harness) -> Handle:
    rollout = await rollout_soaked_and_approved(harness)
    await rollout.result()
    return harness.client.get_workflow_handle("route/recorded-0")


async def rollout_refused(harness: Harness) -> Handle:
    return await harness.start_rollout("v9.9.9")


async def replaced(harness: Harness) -> Handle:
    await harness.provision("recorded-7")
    harness.store.pool_sizes.set("fake", "fake-east", 1, harness.operation())
    return await _replace(harness, "recorded-7")


async def rollout_of_an_image(harness: Harness) -> Handle:
    return await _roll_out_image(harness, soak="PT1S")


async def _roll_out_image(harness: Harness, **strategy: Any) -> Handle:
    for route_id in ("recorded-0", "recorded-1"):  # More are not destroyed within an hour.
        await harness.provision(route_id)
    publish(harness.store, Place("fake", "fake-east"), "base-2-amd64")
    return await harness.start_rollout(
        "v0.0.73", image_name="base-2-amd64", waves=("1", "100%"), **strategy
    )


async def wave_of_an_image(harness: Harness) -> Handle:
    with _of_their_own():
        rollout = await rollout_of_an_image(harness)
        await rollout.result()
    return harness.client.get_workflow_handle(f"{rollout.id}/2/replace")


async def replaced_by_an_image(harness: Harness) -> Handle:
    await (await _roll_out_image(harness)).result()
    return harness.client.get_workflow_handle(route_workflow_id("recorded-0"))


async def images_pruned(harness: Harness) -> Handle:
    """A prune that deletes one image, and the record of another."""
    for number in (1, 2, 3):
        name, place = f"base-{number}-amd64", Place("fake", "fake-east")
        publish(harness.store, place, name)
        if number > 1:
            harness.cloud.put_image(
                ImageAtProvider(
                    **dict(ref(name, place)),
                    status=ImageStatus.AVAILABLE,
                    architecture="amd64",
                    owner=OWNER,
                )
            )
    asked = PruneImagesInput(keep=1, origin=CONTROL.origin)
    shown = await harness.client.execute_workflow(
        PruneImages.run, asked, id=PRUNE_WORKFLOW_ID, task_queue=harness.task_queue
    )
    return await harness.client.start_workflow(
        PruneImages.run,
        asked.model_copy(update={"delete": shown.deleted}),
        id=PRUNE_WORKFLOW_ID,
        task_queue=harness.task_queue,
    )


async def _replace(harness: Harness, route_id: str) -> Handle:
    replacement = AutoreplaceRouteInput(
        route_id=route_id, reason="it is faulty", requested=True, origin=CONTROL.origin
    )
    return await harness.client.start_workflow(
        AutoreplaceRoute.run,
        replacement,
        id=route_workflow_id(replacement.route_id),
        task_queue=harness.task_queue,
    )


async def removed(harness: Harness) -> Handle:
    await (await replaced(harness)).result()
    return harness.client.get_workflow_handle(machine_workflow_id("recorded-7-g1"))


async def retired(harness: Harness) -> Handle:
    await harness.provision("recorded-12")
    retirement = RetireRouteInput(route_id="recorded-12", origin=CONTROL.origin)
    return await harness.client.start_workflow(
        RetireRoute.run,
        retirement,
        id=route_workflow_id(retirement.route_id),
        task_queue=harness.task_queue,
    )


async def pool_kept(harness: Harness) -> Handle:
    await (await replaced(harness)).result()
    return harness.client.get_workflow_handle("pool/fake/fake-east")


async def swapped_within_budget(harness: Harness) -> Handle:
    await harness.provision("recorded-8")
    return await harness.start_swap("recorded-8", "v0.0.74", within_budget=True)


async def reconciled(harness: Harness) -> Handle:
    """A reconcile run that verifies hosts, swaps single routes, and sweeps."""
    await _three_routes(harness)
    harness.store.sweeps.mark_lost("recorded-0-g1", harness.operation())
    harness.cloud.make_older("recorded-0-g1", timedelta(days=1))
    harness.store.tracks.set("beta", "v0.0.74", harness.operation())
    for route_id in ("recorded-9", "recorded-10"):
        await harness.provision(route_id, track="beta")
    harness.store.tracks.set("beta", "v0.0.78", harness.operation())
    await (await harness.start_swap("recorded-10", "v0.0.78")).result()
    return await _reconcile(harness, RECONCILE_WORKFLOW_ID)


async def reconciled_by_the_clock(harness: Harness) -> Handle:
    await _three_routes(harness)
    return await _reconcile(harness, f"{RECONCILE_WORKFLOW_ID}-2026-11-25T00:00:00Z")


async def swept(harness: Harness) -> Handle:
    await (await reconciled(harness)).result()
    return harness.client.get_workflow_handle(route_workflow_id("recorded-0"))


async def _reconcile(harness: Harness, workflow_id: str) -> Handle:
    policy = ReconcilePolicy(drift="100%", proof_lasts=timedelta(microseconds=1))
    return await harness.client.start_workflow(
        ReconcileFleet.run,
        ReconcileFleetInput(origin=CONTROL.origin, policy=policy),
        id=workflow_id,
        task_queue=harness.task_queue,
    )


async def liveness_checked(harness: Harness) -> Handle:
    """A check that finds a silent machine, and starts its verification."""
    await _three_routes(harness)
    harness.hosts.unreachable.add("recorded-0-g1")
    return await harness.client.start_workflow(
        CheckLiveness.run,
        CheckLivenessInput(origin=CONTROL.origin),
        id=f"{LIVENESS_WORKFLOW_ID}-2026-11-25T00:00:00Z",
        task_queue=harness.task_queue,
    )


async def routes_verified(harness: Harness) -> Handle:
    await (await liveness_checked(harness)).result()
    return harness.client.get_workflow_handle(VERIFY_SILENT_WORKFLOW_ID)


async def rollout_undone(harness: Harness) -> Handle:
    await (await rollout_converged(harness)).result()
    return await harness.start_rollout("v0.0.74", undo=True)


async def records_compared(harness: Harness) -> Handle:
    """A comparison that finds a newer release on a host, and adopts it."""
    await _three_routes(harness)
    harness.hosts.of("recorded-0").version = "0.0.74"
    return await harness.client.start_workflow(
        CompareRecords.run,
        CompareRecordsInput(origin=CONTROL.origin, adopt=True),
        id="store/adopt",
        task_queue=harness.task_queue,
    )


async def store_pruned(harness: Harness) -> Handle:
    return await harness.client.start_workflow(
        PruneStore.run,
        PruneStoreInput(older_than=timedelta(days=180), origin=CONTROL.origin),
        id="prune-store-2026-11-25T00:00:00Z",
        task_queue=harness.task_queue,
    )


async def image_published(harness: Harness) -> Handle:
    """A publication with one region that fails twice."""
    return await _publish_image(harness, failing=["west"])


async def image_region_published(harness: Harness) -> Handle:
    await _ended(await image_published(harness))
    return harness.client.get_workflow_handle(region_workflow_id(IMAGE, "gcore", "east"))


async def image_region_failed(harness: Harness) -> Handle:
    await _ended(await image_published(harness))
    return harness.client.get_workflow_handle(region_workflow_id(IMAGE, "gcore", "west"))


async def image_cancelled(harness: Harness) -> Handle:
    """A publication that is cancelled while its regions are under way."""
    publication = await _publish_image(harness, lasts=timedelta(hours=1))

    def is_under_way() -> bool:
        return any(each.image_id for each in harness.store.images.list())

    await harness.until(is_under_way)
    await publication.cancel()
    return publication


async def _publish_image(harness: Harness, **options: Any) -> Handle:
    cloud = TaskCloud(**{"lasts": timedelta(seconds=1), **options})
    driver = TaskDriver(cloud, LIMITS._replace(stagger=timedelta(seconds=1)))
    harness.drivers[driver.name] = driver
    assert isinstance(harness.parts.stagings, dict)
    harness.parts.stagings[driver.name] = TaskStaging(driver)
    policies.IMAGE_IMPORT.retry.initial_interval = LOOK_EVERY
    policies.IMAGE_IMPORT.retry.maximum_interval = LOOK_EVERY
    write_image(harness.parts.image_folder, IMAGE)
    return await harness.client.start_workflow(
        PublishImage.run,
        PublishImageInput(name=IMAGE, provider=driver.name, origin=CONTROL.origin),
        id=image_workflow_id(IMAGE),
        task_queue=harness.task_queue,
    )


async def _ended(handle: Handle) -> None:
    with suppress(WorkflowFailureError):
        await handle.result()


OPERATIONS: tuple[Operation, ...] = (
    provisioned,
    provision_failed_and_undone,
    provision_cancelled,
    provision_refused,
    swapped,
    swap_faulted,
    swap_cancelled,
    removed,
    retired,
    rollout_converged,
    rollout_stopped,
    rollout_paused_and_resumed,
    rollout_aborted,
    rollout_rolled_back,
    rollout_soaked_and_approved,
    rollout_superseded,
    rollout_refused,
    rollout_of_large_waves,
    wave_converged,
    wave_stopped,
    wave_rolled_back,
    proven_again,
    replaced,
    pool_kept,
    swapped_within_budget,
    reconciled,
    reconciled_by_the_clock,
    swept,
    liveness_checked,
    routes_verified,
    rollout_undone,
    records_compared,
    store_pruned,
    rollout_of_an_image,
    wave_of_an_image,
    replaced_by_an_image,
    images_pruned,
    image_published,
    image_region_published,
    image_region_failed,
    image_cancelled,
)


async def rotated(rotation: Rotation, kind: KeyKind) -> Handle:
    """A rotation of one kind of key, on one machine."""
    await rotation.harness.provision("recorded-14")
    rotation.make_next(kind)
    return await rotation.start(kind)


async def rotation_left_a_machine(rotation: Rotation) -> Handle:
    """A rotation that ends without a machine, which a person lets it go on without."""
    harness, kind = rotation.harness, KeyKind.CLIENT
    await harness.provision("recorded-14")
    rotation.hosts.unreachable.add("recorded-14-g1")
    rotation.make_next(kind)
    await rotation.start(kind)
    await rotation.until_waits_for(kind, "recorded-14-g1")
    harness.store.key_rotations.leave(kind, ["recorded-14-g1"], harness.operation())
    return await rotation.start(kind)


ROTATIONS: Mapping[str, Begin] = {
    **{f"{kind}_rotated": partial(rotated, kind=kind) for kind in KeyKind},
    rotation_left_a_machine.__name__: rotation_left_a_machine,
}

NAMES = {operation.__name__ for operation in OPERATIONS} | ROTATIONS.keys()


async def _three_routes(harness: Harness) -> None:
    for number in range(3):
        await harness.provision(f"recorded-{number}")
