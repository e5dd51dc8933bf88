"""Replacements of machines, as tests run and check them."""

from temporalio.client import WorkflowHandle

from relight.domain.destruction import MachineRemoved
from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.domain.route import RouteStatus
from relight.store.tables import RecordStatus
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.pools import (
    until_pool_is_kept,
)
from workflows.machine.remove import RemoveMachine
from workflows.route.replace import AutoreplaceRoute

REMOVAL_STEPS = ("drain_machine", "destroy_machine")

Replacement = WorkflowHandle[AutoreplaceRoute, RouteReplaced]
Removal = WorkflowHandle[RemoveMachine, MachineRemoved]


async def start(harness: Harness, route_id: str, **input: object) -> Replacement:
    return await harness.client.start_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput.model_validate(
            {
                "route_id": route_id,
                "reason": "it is faulty",
                "requested": True,
                "origin": ORIGIN,
                **input,
            }
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )


async def replace(harness: Harness, route_id: str, **input: object) -> RouteReplaced:
    return await (await start(harness, route_id, **input)).result()


async def until_removed(harness: Harness, route_id: str) -> None:
    """Wait until the removals of the route's old machines have ended."""
    for machine in harness.store.machines.list(route_id):
        if machine.status == RecordStatus.DRAINING:
            await removal(harness, machine.key).result()


def removal(harness: Harness, key: str) -> Removal:
    return harness.client.get_workflow_handle_for(RemoveMachine.run, machine_workflow_id(key))


async def assert_sound(harness: Harness, route_id: str) -> str:
    """The route serves on a machine that exists, and every other machine is on record."""
    await until_pool_is_kept(harness)
    await until_removed(harness, route_id)
    route = harness.route(route_id)
    assert route.machine is not None
    assert route.status is RouteStatus.SERVING
    at_provider = await harness.machine_keys()
    assert route.machine.key in at_provider
    recorded = {each.key for each in harness.store.pool.list(harness.cloud.name)}
    assert set(at_provider) <= recorded | {route.machine.key}, "nobody will destroy a machine"
    assert route_id not in [each.route_id for each in harness.store.disruptions.list()]
    destroyed = harness.destroyed()
    assert len(destroyed) == len(set(destroyed)), "a machine was destroyed twice"
    for machine in harness.store.machines.list(route_id):
        serves = machine.key == route.machine.key
        assert machine.status == (RecordStatus.RUNNING if serves else RecordStatus.DESTROYED)
    return route.machine.key
