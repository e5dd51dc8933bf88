"""A failed operation destroys what it created, and nothing that it found."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError

from devkit.chaos.provider_faults import Call
from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.route import RouteStatus
from starter.local.children import wait_until
from tests.support.interference import Injection
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.pools import close_breaker, open_breaker
from tests.workflows.unrecorded import unrecorded_machine
from workflows.failures import fault_of
from workflows.machine.remove import RemoveMachine
from workflows.route.replace import AutoreplaceRoute

pytestmark = pytest.mark.attack("an undo that meets a live machine")


async def replace(harness: Harness, route_id: str) -> str:
    """Return the kind of the fault by which an automatic replacement fails."""
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.client.execute_workflow(
            AutoreplaceRoute.run,
            AutoreplaceRouteInput(
                route_id=route_id, reason="it is faulty", unreachable=True, origin=ORIGIN
            ),
            id=route_workflow_id(route_id),
            task_queue=harness.task_queue,
        )
    return fault_of(failed.value.cause).kind


async def test_a_machine_that_a_replacement_finds_is_kept(harness):
    """As after the restore of an old backup: the route serves on a machine that it forgot."""
    route_id = await harness.serving_route()
    await unrecorded_machine(harness, f"{route_id}-g2", "v0.0.74", created_by="a run of last month")
    assert await replace(harness, route_id) == "records-outdated"
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    assert await harness.machine_keys() == [f"{route_id}-g1", f"{route_id}-g2"]


async def test_a_machine_that_a_provision_finds_is_kept(harness):
    route_id = harness.new_route_id()
    await unrecorded_machine(harness, f"{route_id}-g1", "v0.0.74", created_by="a run of last month")
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.provision(route_id)
    assert fault_of(failed.value.cause).kind == "records-outdated"
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    assert await harness.machine_keys() == [f"{route_id}-g1"]


async def test_a_creation_whose_reply_was_lost_is_the_runs_own(harness):
    route_id = harness.new_route_id()
    lock = route_workflow_id(route_id)
    harness.interference.inject(Injection.REPLY_LOST, "create_machine", lock)
    harness.interference.inject(Injection.FAILS_BEFORE, "await_machine", lock)
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    assert harness.interference.ran.count("create_machine") == 2
    assert harness.cloud.created == [f"{route_id}-g1"]
    assert await harness.machine_keys() == []


async def test_an_undo_that_the_breaker_refuses_is_done_when_it_closes(harness):
    route_id = harness.new_route_id()
    open_breaker(harness)
    harness.interference.inject(
        Injection.FAILS_BEFORE, "await_first_boot", route_workflow_id(route_id)
    )
    with pytest.raises(WorkflowFailureError):
        await harness.provision(route_id)
    key = f"{route_id}-g1"
    assert await harness.machine_keys() == [key]
    [record] = harness.store.machines.list(route_id)
    assert record.status == "draining"
    assert harness.route(route_id).status is RouteStatus.FAILED
    removal = harness.client.get_workflow_handle_for(RemoveMachine.run, machine_workflow_id(key))
    close_breaker(harness)
    assert (await removal.result()).key == key
    assert await harness.machine_keys() == []
    assert (await harness.provision(route_id)).machine.key == f"{route_id}-g2"


async def test_undos_count_within_the_hourly_limits(harness):
    routes = [harness.new_route_id() for _ in range(3)]
    for route_id in routes:
        harness.interference.inject(
            Injection.FAILS_BEFORE, "await_first_boot", route_workflow_id(route_id)
        )
        with pytest.raises(WorkflowFailureError):
            await harness.provision(route_id)
    assert await harness.machine_keys() == [f"{routes[2]}-g1"]
    waiting = harness.client.get_workflow_handle(machine_workflow_id(f"{routes[2]}-g1"))

    async def told() -> bool:
        details = str(await waiting.query("__temporal_workflow_metadata"))
        return "2 destroyed within an hour, 2 may be" in details

    await wait_until(told, timedelta(seconds=30))
    await waiting.terminate("its test has ended")
