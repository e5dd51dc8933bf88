"""RetireRoute: the machines go, the history stays."""

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.route import RetireRouteInput, RouteRetired, RouteStatus
from tests.support.interference import Injection
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.reconciler import kinds, left_alone
from workflows.failures import fault_of
from workflows.route.retire import RetireRoute


async def retire(harness: Harness, route_id: str) -> RouteRetired:
    return await harness.client.execute_workflow(
        RetireRoute.run,
        RetireRouteInput(route_id=route_id, origin=ORIGIN),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )


async def until_removed(harness: Harness, key: str) -> None:
    await harness.client.get_workflow_handle(machine_workflow_id(key)).result()


async def test_a_retired_route_has_no_machine_and_is_ignored(harness, reconciler):
    route_id = await harness.serving_route()
    retired = await retire(harness, route_id)
    assert [machine.key for machine in retired.machines] == [f"{route_id}-g1"]
    await until_removed(harness, f"{route_id}-g1")
    assert await harness.machines_of(route_id) == []
    assert harness.route(route_id).status is RouteStatus.RETIRED
    done = await reconciler.run()
    assert (kinds(done), left_alone(done)) == ({}, {})
    assert harness.events(route_id, "route-proven") != []


@pytest.mark.parametrize("injection", Injection)
async def test_however_it_is_interrupted_the_machine_is_destroyed_once(harness, injection):
    route_id = await harness.serving_route()
    harness.interference.inject(injection, "retire_route")
    if injection is Injection.FAILS_BEFORE:
        with pytest.raises(WorkflowFailureError):
            await retire(harness, route_id)
        assert harness.route(route_id).status is RouteStatus.SERVING
        await retire(harness, route_id)
    elif injection is Injection.FAILS_AFTER:
        with pytest.raises(WorkflowFailureError):
            await retire(harness, route_id)
        # Nothing removes the machine now: the sweep does, as it is recorded as draining.
        [record] = harness.store.sweeps.machines([])
        assert (record.key, record.draining) == (f"{route_id}-g1", True)
        return
    else:
        await retire(harness, route_id)
    await until_removed(harness, f"{route_id}-g1")
    assert harness.destroyed() == [f"{route_id}-g1"]


async def test_a_retired_route_is_provisioned_again(harness):
    route_id = await harness.serving_route()
    await retire(harness, route_id)
    await until_removed(harness, f"{route_id}-g1")
    with pytest.raises(WorkflowFailureError) as refused:
        await harness.swap(route_id, "v0.0.74")
    way_out = f"`relight route provision {route_id} --track stable --provider fake --region "
    assert way_out in fault_of(refused.value.cause).summary
    assert (await harness.provision(route_id)).machine.key == f"{route_id}-g2"
    route = harness.route(route_id)
    assert (route.status, route.fault) == (RouteStatus.SERVING, None)


async def test_an_unknown_route_is_refused(harness):
    with pytest.raises(WorkflowFailureError) as failed:
        await retire(harness, "nobody")
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("unknown-route", True)
