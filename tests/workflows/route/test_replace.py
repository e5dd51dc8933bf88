"""AutoreplaceRoute: the route keeps serving, and no machine is lost or destroyed twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from activities.machine.drain import Drain
from activities.route.disruption import DisruptionLedger
from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call, ProviderFault
from relight.domain.breaker.breaker import Breaker, GroupReach
from relight.domain.destruction import MachineRemoved
from relight.domain.machine import MachineRef
from relight.domain.names import machine_workflow_id, route_workflow_id
from relight.domain.pool.pool import PoolStatus
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.domain.route import RouteStatus, SetTargetInput
from relight.store.events import Operation
from relight.store.tables import RecordStatus
from tests.store.sql import execute
from tests.support.interference import CUT_SHORT, REPEATED, Injection
from tests.workflows.harness import LIMITS, ORIGIN, Harness, small_installation
from tests.workflows.matrix import run_cells
from tests.workflows.pools import (
    close_breaker,
    keep_pool,
    open_breaker,
    until_pool_is_kept,
)
from workflows.failures import fault_of
from workflows.machine.remove import RemoveMachine
from workflows.route.replace import AutoreplaceRoute

LONG_AGO = "2026-01-01 00:00:00.000000"

BEFORE_MACHINE = (
    "check_replacement",
    "begin_replacement",
    "save_evidence",
    "describe_region",
    "resolve_release",
)
NEW_MACHINE = (
    "claim_machine",
    "plan_replacement_machine",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
)
FROM_ATTACH = ("attach_machine", "release_disruption")
REMOVAL = ("drain_machine", "destroy_machine")
STEPS = (*BEFORE_MACHINE, *NEW_MACHINE, *FROM_ATTACH)
STEPS_WITH_POOL = ("claim_machine", "swap_release", "attach_machine")


class Case(NamedTuple):
    """A step to inject into, of a replacement with a new machine or with one of the pool."""

    step: str
    from_pool: bool = False

    def __str__(self) -> str:
        return f"{self.step}, from the pool" if self.from_pool else self.step


CASES = [*map(Case, STEPS), *(Case(step, from_pool=True) for step in STEPS_WITH_POOL)]

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


async def route_with_pool(harness: Harness) -> str:
    """Return a route whose target is v0.0.74, with a pool machine at v0.0.73 beside it."""
    route_id = await harness.serving_route()
    await harness.pool_machine()
    target = SetTargetInput(route_id=route_id, release_tag="v0.0.74", origin=ORIGIN)
    harness.store.routes.set_target(target, harness.operation())
    return route_id


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
    assert tuple(step for step in ran if step not in REMOVAL) == STEPS
    assert tuple(step for step in ran if step in REMOVAL) == REMOVAL


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
async def test_a_step_that_runs_again_changes_nothing(unsandboxed_harness, boundaries, injection):
    async def cell(harness: Harness, case: Case) -> str:
        route_id = await (route_with_pool if case.from_pool else Harness.serving_route)(harness)
        harness.interference.inject(injection, case.step, route_workflow_id(route_id))
        replaced = await replace(harness, route_id)
        assert replaced.from_pool is case.from_pool
        assert await assert_sound(harness, route_id) == replaced.machine.key
        assert harness.cloud.created == [f"{route_id}-g1", replaced.machine.key]
        return "on the new machine"

    for case, end in (await run_cells(unsandboxed_harness, cell, CASES)).items():
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
    unsandboxed_harness, boundaries, injection
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

    for case, end in (await run_cells(unsandboxed_harness, cell, CASES)).items():
        boundaries.ended("AutoreplaceRoute", str(case), injection, end)


@pytest.mark.usefixtures("impatient_destruction")
async def test_a_fault_of_the_provider_changes_nothing(unsandboxed_harness, boundaries):
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

    for (call, fault), end in (await run_cells(unsandboxed_harness, cell, PROVIDER_FAULTS)).items():
        boundaries.ended("AutoreplaceRoute", f"provider: {call}", fault, end)


async def details(removal: Removal) -> str:
    """Return what the removal shows that it waits for."""
    return str(await removal.query("__temporal_workflow_metadata"))


def checks(harness: Harness) -> int:
    """Return how often a machine was to be destroyed."""
    return harness.interference.ran.count("destroy_machine")


async def test_nothing_is_destroyed_while_the_breaker_is_open(harness):
    route_id = await harness.serving_route()
    open_breaker(harness)
    await replace(harness, route_id)
    await harness.until(lambda: checks(harness) >= 3)
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    assert await harness.machine_keys() == [f"{route_id}-g1", f"{route_id}-g2"]
    metadata = await removal(harness, f"{route_id}-g1").query("__temporal_workflow_metadata")
    assert "a region is out" in str(metadata)
    assert "relight breaker override add" in str(metadata)
    close_breaker(harness)
    assert await assert_sound(harness, route_id) == f"{route_id}-g2"


@pytest.fixture
async def calm_harness(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Harness]:
    """The breaker closes as soon as it sees no cause any more; no schedule evaluates it."""
    limits = LIMITS.model_copy(update={"calm_for": timedelta(0)})
    async with small_installation(temporal_client, tmp_path, limits=limits) as harness:
        yield harness


async def test_without_a_schedule_a_replacement_evaluates_the_breaker_itself(calm_harness):
    harness = calm_harness
    route_id = await harness.serving_route()
    open_breaker(harness)
    async with asyncio.timeout(30):
        await replace(harness, route_id)
        await removal(harness, f"{route_id}-g1").result()
    assert harness.store.breaker.get().incident is None
    assert len(harness.events(kind="breaker-closed")) == 1
    assert await assert_sound(harness, route_id) == f"{route_id}-g2"


async def test_without_a_schedule_a_replacement_observes_what_the_breaker_does_not_know(
    calm_harness, tmp_path
):
    harness = calm_harness
    route_id, *others = [await harness.serving_route() for _ in range(3)]
    # The others were last observed long ago, and the last reconcile run found one unreachable.
    execute(
        f"sqlite:///{tmp_path / 'fleet.db'}",
        f"UPDATE routes SET proven_at = '{LONG_AGO}' WHERE route_id <> '{route_id}'",
    )
    region = GroupReach(group="region fake/fake-east", machines=3, observed=1, unreachable=1)
    harness.store.breaker.update(lambda _: Breaker(unknown=(region,)), harness.operation())
    harness.hosts.unreachable = {f"{route_id}-g1"}
    async with asyncio.timeout(30):
        await replace(harness, route_id, unreachable=True)
        await removal(harness, f"{route_id}-g1").result()
    assert harness.store.breaker.get().unknown == ()
    assert all(f"{harness.route(each).proven_at}" > LONG_AGO for each in others)
    assert f"{route_id}-g1" not in await harness.machine_keys()


async def test_a_route_whose_old_machine_waits_for_the_breaker_is_free(harness):
    route_id = await harness.serving_route()
    open_breaker(harness)
    await replace(harness, route_id)
    assert harness.store.disruptions.list() == []
    assert (await harness.swap(route_id, "v0.0.74")).machine_key == f"{route_id}-g2"
    assert (await replace(harness, route_id)).machine.key == f"{route_id}-g3"
    keys = [f"{route_id}-g{number}" for number in (1, 2, 3)]
    assert await harness.machine_keys() == keys
    close_breaker(harness)
    assert await assert_sound(harness, route_id) == f"{route_id}-g3"


async def test_a_removal_that_is_cancelled_leaves_the_machine_draining(harness):
    route_id = await harness.serving_route()
    open_breaker(harness)
    await replace(harness, route_id)
    await harness.until(lambda: checks(harness) >= 2)
    cancelled = removal(harness, f"{route_id}-g1")
    await cancelled.cancel()
    with pytest.raises(WorkflowFailureError):
        await cancelled.result()
    statuses = {each.key: each.status for each in harness.store.machines.list(route_id)}
    assert statuses == {f"{route_id}-g1": "draining", f"{route_id}-g2": "running"}
    assert harness.events(route_id, "fault-recorded") == []


@pytest.mark.parametrize("injection", [*REPEATED, Injection.FAILS_BEFORE, Injection.FAILS_AFTER])
async def test_a_step_of_a_removal_that_fails_or_runs_again_destroys_once(
    unsandboxed_harness, boundaries, injection
):
    async def cell(harness: Harness, step: str) -> str:
        route_id = await harness.serving_route()
        harness.interference.inject(injection, step, machine_workflow_id(f"{route_id}-g1"))
        await replace(harness, route_id)
        assert await assert_sound(harness, route_id) == f"{route_id}-g2"
        return "destroyed"

    for step, end in (await run_cells(unsandboxed_harness, cell, REMOVAL)).items():
        boundaries.ended("RemoveMachine", step, injection, end)


@pytest.mark.parametrize("changed", [{"owner": "somebody-else"}, {"generation": 7}])
async def test_a_machine_other_than_the_recorded_one_is_not_destroyed(harness, changed):
    route_id = await harness.serving_route()
    harness.cloud.change(harness.cloud.read(f"{route_id}-g1"), **changed)
    await replace(harness, route_id)
    with pytest.raises(WorkflowFailureError) as failed:
        await removal(harness, f"{route_id}-g1").result()
    assert fault_of(failed.value.cause).kind == "machine-not-ours"
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    route = harness.route(route_id)
    assert route.machine is not None
    assert (route.status, route.machine.key) == (RouteStatus.SERVING, f"{route_id}-g2")
    assert harness.store.disruptions.list() == []
    [event] = harness.events(route_id, "fault-recorded")
    assert event.machine_key == f"{route_id}-g1"


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


DRAIN = """
printf '%s %s %s' "$RELIGHT_DRAIN_ROUTE" "$RELIGHT_DRAIN_MACHINE" "$RELIGHT_DRAIN_ADDRESS" >"$0"
"""


@pytest.fixture
def drained(tmp_path: Path) -> Path:
    """The file that the drain command writes."""
    return tmp_path / "drained"


@pytest.fixture
async def draining_harness(
    temporal_client: Client, tmp_path: Path, drained: Path, short_waits: None
) -> AsyncIterator[Harness]:
    drain = Drain(("sh", "-c", DRAIN, str(drained)), timedelta(seconds=10))
    async with small_installation(temporal_client, tmp_path, drain=drain) as harness:
        yield harness


async def test_the_drain_command_drains_the_old_machine(draining_harness, drained):
    harness = draining_harness
    route_id = await harness.serving_route()
    old = harness.route(route_id).machine
    await replace(harness, route_id)
    await until_removed(harness, route_id)
    assert drained.read_text() == f"{route_id} {old.key} {old.address}"


async def test_the_third_replacement_of_an_hour_waits_before_it_destroys(harness):
    for _ in range(2):
        replaced = await harness.serving_route()
        await replace(harness, replaced)
        await until_removed(harness, replaced)
    route_id = await harness.serving_route()
    before = checks(harness)
    await replace(harness, route_id)
    await harness.until(lambda: checks(harness) >= before + 3)
    assert harness.cloud.provider_faults.calls.count(Call.DESTROY) == 2
    assert {f"{route_id}-g1", f"{route_id}-g2"} <= set(await harness.machine_keys())
    assert "2 destroyed within an hour, 2 may be; the next at" in await details(
        removal(harness, f"{route_id}-g1")
    )
