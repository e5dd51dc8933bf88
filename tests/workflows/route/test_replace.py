"""AutoreplaceRoute: the route keeps serving, and no machine is lost or destroyed twice."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from temporalio.client import WorkflowFailureError

from activities.route.disruption import DisruptionLedger
from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call, ProviderFault
from relight.domain.machine import MachineRef
from relight.domain.names import route_workflow_id
from relight.domain.pool.pool import PoolStatus
from relight.domain.route import RouteStatus
from relight.store.events import Operation
from tests.store.fleets import begin_swap
from tests.support.interference import CUT_SHORT, REPEATED, Injection
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.matrix import run_cells
from tests.workflows.pools import (
    keep_pool,
)
from tests.workflows.replacing import REMOVAL_STEPS, assert_sound, replace, start, until_removed
from workflows.failures import fault_of

BEFORE_MACHINE = (
    "check_replacement",
    "begin_replacement",
    "save_evidence",
    "describe_region",
    "resolve_release",
)
NEW_MACHINE = (
    "claim_machine",
    "choose_image",
    "plan_replacement_machine",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
)
FROM_ATTACH = ("attach_machine", "release_disruption")
STEPS = (*BEFORE_MACHINE, *NEW_MACHINE, *FROM_ATTACH)
STEPS_WITH_POOL = ("claim_machine", "swap_release", "attach_machine")


class Case(NamedTuple):
    """A step to inject into, of a replacement with a new machine or with one of the pool."""

    step: str
    from_pool: bool = False

    def __str__(self) -> str:
        return f"{self.step}, from the pool" if self.from_pool else self.step


CASES = [*map(Case, STEPS), *(Case(step, from_pool=True) for step in STEPS_WITH_POOL)]


async def route_with_pool(harness: Harness) -> str:
    """Return a route whose target is v0.0.74, with a pool machine at v0.0.73 beside it."""
    route_id = await harness.serving_route()
    await harness.pool_machine()
    begin_swap(harness.store, route_id, "v0.0.74", harness.operation())
    return route_id


async def test_a_route_is_replaced_from_the_pool_and_the_pool_is_refilled(harness):
    route_id = await harness.serving_route()
    await keep_pool(harness, 1)
    replaced = await replace(harness, route_id)
    assert replaced.from_pool
    assert replaced.machine.key == "pool-fake-fake-east-1"
    assert replaced.previous_machine_key == f"{route_id}-g1"
    assert await assert_sound(harness, route_id) == replaced.machine.key
    [refilled] = harness.store.pool.list()
    assert (refilled.key, refilled.status) == ("pool-fake-fake-east-2", PoolStatus.READY)


async def test_a_pool_machine_is_brought_to_the_routes_release(harness):
    route_id = await route_with_pool(harness)
    replaced = await replace(harness, route_id)
    assert replaced.from_pool
    assert replaced.release_tag == "v0.0.74"
    assert harness.route(route_id).current_release_tag == "v0.0.74"
    await assert_sound(harness, route_id)


async def test_without_a_pool_a_machine_is_created_in_the_order_of_the_steps(harness):
    route_id = await harness.serving_route()
    replaced = await replace(harness, route_id)
    assert not replaced.from_pool
    assert replaced.machine.key == f"{route_id}-g2"
    await assert_sound(harness, route_id)
    ran = [step for step in harness.interference.ran if step != "plan_pool"]
    assert tuple(step for step in ran if step not in REMOVAL_STEPS) == STEPS
    assert tuple(step for step in ran if step in REMOVAL_STEPS) == REMOVAL_STEPS


async def test_one_query_returns_both_machines_of_a_route(harness):
    route_id = await route_with_pool(harness)
    await replace(harness, route_id)
    await until_removed(harness, route_id)
    machines = [
        (machine.generation, machine.key, machine.status)
        for machine in harness.store.machines.list(route_id)
    ]
    assert machines == [
        (1, f"{route_id}-g1", "destroyed"),
        (2, "pool-fake-fake-east-1", "running"),
    ]
    kinds = {event.kind for event in harness.events(route_id)}
    assert kinds >= {"evidence-saved", "machine-attached", "machine-destroyed"}


@pytest.mark.parametrize("injection", REPEATED)
async def test_a_step_that_runs_again_changes_nothing(roomy_harness, boundaries, injection):
    async def cell(harness: Harness, case: Case) -> str:
        route_id = await (route_with_pool if case.from_pool else Harness.serving_route)(harness)
        harness.interference.inject(injection, case.step, route_workflow_id(route_id))
        replaced = await replace(harness, route_id)
        assert replaced.from_pool is case.from_pool
        assert await assert_sound(harness, route_id) == replaced.machine.key
        assert harness.cloud.created == [f"{route_id}-g1", replaced.machine.key]
        return "on the new machine"

    for case, end in (await run_cells(roomy_harness, cell, CASES)).items():
        boundaries.ended("AutoreplaceRoute", str(case), injection, end)


def goes_on(step: str, injection: Injection) -> bool:
    """Whether the replacement completes although a step is cut short."""
    if step == "save_evidence":
        return not injection.startswith("cancelled")
    if step == "attach_machine":
        return injection is not Injection.FAILS_BEFORE
    return step in FROM_ATTACH


@pytest.mark.parametrize("injection", CUT_SHORT)
async def test_a_step_that_is_cut_short_leaves_the_old_machine_or_the_new_one(
    roomy_harness, boundaries, injection
):
    async def cell(harness: Harness, case: Case) -> str:
        route_id = await (route_with_pool if case.from_pool else Harness.serving_route)(harness)
        harness.interference.inject(injection, case.step, route_workflow_id(route_id))
        replacement = await start(harness, route_id)
        if goes_on(case.step, injection):
            replaced = await replacement.result()
            assert await assert_sound(harness, route_id) == replaced.machine.key
            return "on the new machine"
        with pytest.raises(WorkflowFailureError) as failed:
            await replacement.result()
        kind = fault_of(failed.value.cause).kind
        assert kind == ("cancelled" if injection.startswith("cancelled") else "controller-bug")
        assert await assert_sound(harness, route_id) == f"{route_id}-g1"
        # A claimed machine was returned to its pool. It answers as ours, so it is kept.
        others = [key for key in await harness.machine_keys() if key != f"{route_id}-g1"]
        assert all(case.from_pool and key.startswith("pool-") for key in others)
        return "on the old machine"

    for case, end in (await run_cells(roomy_harness, cell, CASES)).items():
        boundaries.ended("AutoreplaceRoute", str(case), injection, end)


@pytest.mark.usefixtures("impatient_destruction")
async def test_a_fault_of_the_provider_changes_nothing(roomy_harness, boundaries):
    async def cell(harness: Harness, case: tuple[Call, ProviderFault]) -> str:
        call, fault = case
        route_id = await harness.serving_route()
        harness.cloud.provider_faults.inject(fault, call)
        replaced = await replace(harness, route_id)
        assert await assert_sound(harness, route_id) == replaced.machine.key == f"{route_id}-g2"
        assert harness.cloud.provider_faults.pending == 0
        assert await harness.machine_keys() == [f"{route_id}-g2"]
        assert harness.cloud.created.count(f"{route_id}-g2") == 1
        return "on the new machine"

    for (call, fault), end in (await run_cells(roomy_harness, cell, PROVIDER_FAULTS)).items():
        boundaries.ended("AutoreplaceRoute", f"provider: {call}", fault, end)


@pytest.mark.attack("a listing that lacks a live machine")
@pytest.mark.parametrize("why", ["unreachable", "gone"])
async def test_a_machine_that_answers_is_not_replaced_as_unreachable_or_gone(harness, why):
    """It is observed again instead, and that is recorded: nothing is created or destroyed."""
    route_id = await harness.serving_route()
    before = harness.route(route_id).proven_at
    harness.store.remediations.record_gone_since(route_id, before + timedelta(microseconds=1))
    with pytest.raises(WorkflowFailureError) as refused:
        await replace(harness, route_id, **{why: True})
    assert fault_of(refused.value.cause).kind == "machine-is-there"
    route = harness.route(route_id)
    assert route.proven_at > before
    assert (route.status, route.machine.key) == (RouteStatus.SERVING, f"{route_id}-g1")
    assert harness.cloud.created == [f"{route_id}-g1"]
    assert harness.events(route_id, "replacement-begun") == []
    assert await assert_sound(harness, route_id) == f"{route_id}-g1"


@pytest.mark.attack("a listing that lacks a live machine")
async def test_a_machine_that_is_said_to_be_gone_and_exists_is_kept(harness):
    route_id = await harness.serving_route()
    harness.hosts.unreachable = {f"{route_id}-g1"}
    with pytest.raises(WorkflowFailureError) as refused:
        await replace(harness, route_id, unreachable=True, gone=True)
    assert fault_of(refused.value.cause).kind == "machine-is-there"
    assert harness.cloud.created == [f"{route_id}-g1"]
    await replace(harness, route_id, unreachable=True)
    assert await assert_sound(harness, route_id) == f"{route_id}-g2"


async def test_a_route_whose_machine_is_gone_already_is_replaced(harness):
    route_id = await harness.serving_route()
    old = harness.route(route_id).machine
    assert old is not None
    await harness.cloud.destroy(MachineRef.model_validate(old.ref.model_dump()))
    assert harness.cloud.read(old.key) is not None
    assert harness.cloud.read(old.key) is None
    await replace(harness, route_id, unreachable=True)
    await assert_sound(harness, route_id)
    [event] = harness.events(route_id, "evidence-saved")
    missing = event.detail["missing"]
    assert isinstance(missing, dict)
    assert missing["journal"].startswith("host-unreachable")
    [destroyed] = harness.store.destructions.list(datetime.now(UTC) - timedelta(hours=1))
    assert destroyed.unreachable


async def test_a_replacement_is_refused_when_the_budget_is_spent_and_changes_nothing(harness):
    route_id, other, _ = [await harness.serving_route() for _ in range(3)]
    # Of three routes in a region one may be out at once.
    holder = Operation(ORIGIN, workflow_id=f"route/{other}", run_id="another", activity_id="1")
    ledger = DisruptionLedger(harness.store, harness.parts.policy.strategy)
    ledger.take(other, "it is repaired", holder)
    with pytest.raises(WorkflowFailureError) as failed:
        await replace(harness, route_id)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("disruption-refused", True)
    assert harness.events(route_id, "fault-recorded") == []
    assert [machine.key for machine in await harness.machines_of(route_id)] == [f"{route_id}-g1"]


async def test_an_unknown_route_is_refused(harness):
    with pytest.raises(WorkflowFailureError) as failed:
        await replace(harness, "nobody")
    assert fault_of(failed.value.cause).kind == "unknown-route"


async def test_a_route_of_a_provider_that_is_not_configured_here_is_refused_by_name(harness):
    route_id = await harness.serving_route()
    before, cloud = harness.route(route_id), harness.drivers.pop("fake")
    try:
        with pytest.raises(WorkflowFailureError) as failed:
            await replace(harness, route_id)
    finally:
        harness.drivers["fake"] = cloud
    fault = fault_of(failed.value.cause)
    assert fault.kind == "unknown-location"
    assert "it is not configured here" in fault.summary
    assert harness.route(route_id).machine == before.machine
