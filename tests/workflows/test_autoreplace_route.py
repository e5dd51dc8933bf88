"""AutoreplaceRoute: whatever befalls it, the route is served, and nothing is lost or goes twice."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.machine.drain import Drain
from activities.route.disruption import Ledger
from devkit.chaos.troubles import AT_THE_PROVIDER, Call
from relight.domain.breaker.breaker import Breaker, BreakerIncident
from relight.domain.machine import MachineRef
from relight.domain.names import route_workflow_id
from relight.domain.pool.keep import KeepPoolInput, PoolKept
from relight.domain.pool.pool import PoolStatus, pool_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput, RouteReplaced
from relight.domain.route import RouteStatus, SetTargetInput
from relight.store.machines import RecordStatus
from relight.store.write import Operation
from starter.local.children import wait_until
from tests.support.interference import Injection
from tests.workflows.harness import (
    ORIGIN,
    Harness,
    small_installation,
)
from workflows import shield
from workflows.failures import fault_of
from workflows.fleet.pool import KeepPool
from workflows.route.replace import AutoreplaceRoute

TO_READY = ("begin_replacement", "save_evidence", "describe_region", "resolve_release")
MADE = (
    "claim_machine",
    "plan_replacement_machine",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
)
CLAIMED = ("claim_machine", "swap_release")
FROM_ATTACH = (
    "attach_machine",
    "drain_machine",
    "ask_destruction",
    "destroy_machine",
    "record_destroyed",
    "release_disruption",
)
BOTH = [(False, step) for step in (*TO_READY, *MADE, *FROM_ATTACH)]
BOTH += [(True, step) for step in (*CLAIMED, "attach_machine", "destroy_machine")]
ENDS_ALL_THE_SAME = {"save_evidence", *FROM_ATTACH}

Replacing = WorkflowHandle[AutoreplaceRoute, RouteReplaced]


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shield, "FIRST_PAUSE", timedelta(milliseconds=100))
    monkeypatch.setattr(shield, "LONGEST_PAUSE", timedelta(milliseconds=400))


async def start(harness: Harness, route_id: str, **asked: object) -> Replacing:
    return await harness.client.start_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput.model_validate(
            {"route_id": route_id, "reason": "it is sick", "origin": ORIGIN, **asked}
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )


async def replace(harness: Harness, route_id: str, **asked: object) -> RouteReplaced:
    return await (await start(harness, route_id, **asked)).result()


async def keep_pool(harness: Harness, size: int | None = None) -> PoolKept:
    if size is not None:
        harness.store.pool_sizes.set("fake", "fake-east", size, harness.operation())
    await pool_rests(harness)
    return await harness.client.execute_workflow(
        KeepPool.run,
        KeepPoolInput(provider="fake", region="fake-east", origin=ORIGIN),
        id=pool_workflow_id("fake", "fake-east"),
        task_queue=harness.task_queue,
    )


async def pool_rests(harness: Harness) -> None:
    """Wait for what a replacement began."""
    pool = harness.client.get_workflow_handle(pool_workflow_id("fake", "fake-east"))

    async def ended() -> bool:
        try:
            return (await pool.describe()).status is not WorkflowExecutionStatus.RUNNING
        except RPCError as error:
            return error.status is RPCStatusCode.NOT_FOUND

    await wait_until(ended, timedelta(seconds=30))


async def a_route(harness: Harness, *, pool: bool = False) -> str:
    """Bring a route up, and with `pool` a machine at another release that waits for one."""
    route_id = harness.new_route_id()
    await harness.provision(route_id)
    if pool:
        await keep_pool(harness, 1)
        harness.store.pool_sizes.set("fake", "fake-east", 0, harness.operation())
        wanted = SetTargetInput(route_id=route_id, release_tag="v0.0.74", origin=ORIGIN)
        harness.store.routes.set_target(wanted, harness.operation())
    harness.interference.leave_alone()
    return route_id


async def at_the_provider(harness: Harness) -> list[str]:
    keys = [machine.key for machine in (await harness.cloud.list()).machines]
    return sorted([key for key in keys if await harness.cloud.find(key) is not None])


async def assert_sound(harness: Harness, route_id: str) -> str:
    """The route is served by a machine that exists, and by its side is none that nobody knows."""
    await pool_rests(harness)
    route = harness.route(route_id)
    assert route.machine is not None
    assert route.status is RouteStatus.SERVING
    known = {each.key for each in harness.store.pool.list()} | {route.machine.key}
    there = await at_the_provider(harness)
    assert route.machine.key in there
    assert set(there) <= known, "a machine is at the provider that nobody will destroy"
    assert harness.store.disruptions.list() == []
    ended = [event.machine_key for event in harness.events(kind="machine-destroyed")]
    assert len(ended) == len(set(ended)), "a machine was destroyed twice"
    for machine in harness.store.machines.list(route_id):
        alive = machine.key == route.machine.key
        assert (machine.status == RecordStatus.RUNNING) is alive
        assert alive or machine.status == RecordStatus.DESTROYED
    return route.machine.key


async def test_a_route_is_replaced_from_the_pool_and_the_pool_is_filled_again(harness):
    route_id = await a_route(harness)
    await keep_pool(harness, 1)
    replaced = await replace(harness, route_id)
    assert replaced.from_pool
    assert replaced.machine.key == "pool-fake-fake-east-1"
    assert replaced.previous_machine_key == f"{route_id}-g1"
    assert await assert_sound(harness, route_id) == replaced.machine.key
    [filled] = harness.store.pool.list()
    assert (filled.key, filled.status) == ("pool-fake-fake-east-2", PoolStatus.READY)


async def test_a_machine_of_the_pool_is_brought_to_the_routes_release(harness):
    route_id = await a_route(harness, pool=True)
    replaced = await replace(harness, route_id)
    assert replaced.from_pool
    assert replaced.release_tag == "v0.0.74"
    assert harness.route(route_id).current_release_tag == "v0.0.74"
    await assert_sound(harness, route_id)


async def test_without_a_pool_a_successor_is_made_in_the_order_of_the_steps(harness):
    route_id = await a_route(harness)
    replaced = await replace(harness, route_id)
    assert not replaced.from_pool
    assert replaced.machine.key == f"{route_id}-g2"
    await assert_sound(harness, route_id)
    ran = [step for step in harness.interference.ran if step != "plan_pool"]
    assert ran == [*TO_READY, *MADE, *FROM_ATTACH]


async def test_both_generations_are_one_query_away(harness):
    route_id = await a_route(harness, pool=True)
    await replace(harness, route_id)
    lineage = [
        (machine.generation, machine.key, machine.status)
        for machine in harness.store.machines.list(route_id)
    ]
    assert lineage == [
        (1, f"{route_id}-g1", "destroyed"),
        (2, "pool-fake-fake-east-1", "running"),
    ]
    kinds = [event.kind for event in harness.events(route_id)]
    for kind in ("evidence-saved", "machine-attached", "machine-destroyed"):
        assert kind in kinds


@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
@pytest.mark.parametrize(("pool", "step"), BOTH)
async def test_a_step_that_runs_again_changes_nothing(harness, boundaries, pool, step, injection):
    route_id = await a_route(harness, pool=pool)
    harness.interference.bring(injection, step, harness.client)
    replaced = await replace(harness, route_id)
    assert replaced.from_pool is pool
    assert await assert_sound(harness, route_id) == replaced.machine.key
    made = [key for key in harness.cloud.created if key != f"{route_id}-g1"]
    assert len(made) == 1
    boundaries.ended(*row(pool, step), injection, "on the new machine")


def row(pool, step):
    """Return where a boundary stands in the table of all."""
    return "AutoreplaceRoute", f"{step}, from the pool" if pool else step


@pytest.mark.parametrize(
    "injection",
    [
        Injection.FAILS_BEFORE,
        Injection.FAILS_AFTER,
        Injection.CANCELLED_BEFORE,
        Injection.CANCELLED_AFTER,
    ],
)
@pytest.mark.parametrize(("pool", "step"), BOTH)
async def test_a_step_that_is_cut_short_leaves_the_old_machine_or_the_new_one(
    harness, boundaries, pool, step, injection
):
    route_id = await a_route(harness, pool=pool)
    harness.interference.bring(injection, step, harness.client)
    handle = await start(harness, route_id)
    undone = None
    try:
        replaced = await handle.result()
    except WorkflowFailureError as error:
        undone = fault_of(error.cause).kind
    serving = await assert_sound(harness, route_id)
    goes_on = step in ENDS_ALL_THE_SAME and not (
        injection is Injection.FAILS_BEFORE and step == "attach_machine"
    )
    if step == "save_evidence" and injection.startswith("cancelled"):
        goes_on = False
    if step == "release_disruption" and injection is Injection.FAILS_BEFORE:
        goes_on = True
    how = "on the new machine" if goes_on else "on the old machine"
    boundaries.ended(*row(pool, step), injection, how)
    if goes_on:
        assert undone is None
        assert serving == replaced.machine.key
    else:
        expected = "cancelled" if injection.startswith("cancelled") else "controller-bug"
        assert undone == expected
        assert serving == f"{route_id}-g1"
        # What was claimed went back, and its region's pool, which should be empty, recycled it.
        assert await at_the_provider(harness) == [serving] or step == "claim_machine"


@pytest.mark.usefixtures("forgetful_providers")
@pytest.mark.parametrize(("call", "trouble"), AT_THE_PROVIDER)
async def test_what_a_provider_does_to_a_call_changes_nothing(harness, boundaries, call, trouble):
    route_id = await a_route(harness)
    harness.cloud.troubles.bring(trouble, call)
    replaced = await replace(harness, route_id)
    assert harness.cloud.troubles.still_due == 0
    assert await assert_sound(harness, route_id) == replaced.machine.key == f"{route_id}-g2"
    assert await at_the_provider(harness) == [f"{route_id}-g2"]
    assert harness.cloud.created.count(f"{route_id}-g2") == 1
    boundaries.ended("AutoreplaceRoute", f"provider: {call}", trouble, "on the new machine")


def incident() -> Breaker:
    now = datetime.now(UTC)
    return Breaker(
        incident=BreakerIncident(opened_at=now, last_observed_at=now, summary="a region is out")
    )


async def test_an_open_breaker_is_waited_for_and_nothing_is_destroyed_meanwhile(harness):
    route_id = await a_route(harness)
    harness.store.breaker.turn(lambda _: incident(), harness.operation())
    handle = await start(harness, route_id)
    await harness.until(lambda: harness.interference.ran.count("ask_destruction") >= 3)
    assert "machine-attached" in [event.kind for event in harness.events(route_id)]
    assert Call.DESTROY not in harness.cloud.troubles.asked
    assert await at_the_provider(harness) == [f"{route_id}-g1", f"{route_id}-g2"]
    metadata = await handle.query("__temporal_workflow_metadata")
    assert "a region is out" in str(metadata)
    harness.store.breaker.turn(lambda _: Breaker(), harness.operation())
    await handle.result()
    assert await assert_sound(harness, route_id) == f"{route_id}-g2"


async def test_a_cancel_while_it_waits_for_the_breaker_does_not_leave_the_old_machine(harness):
    route_id = await a_route(harness)
    harness.store.breaker.turn(lambda _: incident(), harness.operation())
    handle = await start(harness, route_id)
    await harness.until(lambda: harness.interference.ran.count("ask_destruction") >= 2)
    await handle.cancel()
    seen = harness.interference.ran.count("ask_destruction")
    await harness.until(lambda: harness.interference.ran.count("ask_destruction") >= seen + 2)
    harness.store.breaker.turn(lambda _: Breaker(), harness.operation())
    await handle.result()
    assert await assert_sound(harness, route_id) == f"{route_id}-g2"


@pytest.mark.parametrize("tag", [{"owner": "somebody-else"}, {"generation": 7}])
async def test_a_machine_that_is_not_the_one_on_record_is_not_destroyed(harness, tag):
    route_id = await a_route(harness)
    old = harness.cloud.seen(f"{route_id}-g1")
    harness.cloud._change(old, **tag)
    with pytest.raises(WorkflowFailureError) as failed:
        await replace(harness, route_id)
    assert fault_of(failed.value.cause).kind == "machine-not-ours"
    assert Call.DESTROY not in harness.cloud.troubles.asked
    route = harness.route(route_id)
    assert route.machine is not None
    assert (route.status, route.machine.key) == (RouteStatus.SERVING, f"{route_id}-g2")
    assert harness.store.disruptions.list() == []
    [event] = harness.events(route_id, "fault-recorded")
    assert event.machine_key == f"{route_id}-g1"


async def test_a_machine_that_is_gone_already_is_replaced_too(harness):
    route_id = await a_route(harness)
    old = harness.route(route_id).machine
    assert old is not None
    await harness.cloud.destroy(MachineRef.model_validate(old.ref.model_dump()))
    assert await harness.cloud.find(old.key) is not None
    assert await harness.cloud.find(old.key) is None
    await replace(harness, route_id, unreachable=True)
    await assert_sound(harness, route_id)
    [event] = harness.events(route_id, "evidence-saved")
    missing = event.detail["missing"]
    assert isinstance(missing, dict)
    assert missing["journal"].startswith("host-unreachable")
    [lost] = harness.store.destructions.list(datetime.now(UTC) - timedelta(hours=1))
    assert lost.unreachable


async def test_a_route_that_another_holds_is_refused_and_left_as_it_is(harness):
    route_id = await a_route(harness)
    for kind in ("a-1", "a-2"):
        await harness.provision(kind)
    # Of three routes in one region one may be out at once.
    other = Operation(ORIGIN, workflow_id="route/a-1", run_id="another", activity_id="1")
    Ledger(harness.store, harness.parts.policy.strategy).take("a-1", "it is held", other)
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


DRAINS = """
printf '%s %s %s' "$RELIGHT_DRAIN_ROUTE" "$RELIGHT_DRAIN_MACHINE" "$RELIGHT_DRAIN_ADDRESS" >"$0"
"""


@pytest.fixture
async def draining_harness(
    temporal_client: Client, tmp_path: Path
) -> AsyncIterator[tuple[Harness, Path]]:
    told = tmp_path / "told"
    drain = Drain(("sh", "-c", DRAINS, str(told)), timedelta(seconds=10))
    async with small_installation(temporal_client, tmp_path, drain=drain) as made:
        yield made, told


async def test_the_operators_program_drains_the_old_machine(draining_harness):
    harness, told = draining_harness
    route_id = await a_route(harness)
    old = harness.route(route_id).machine
    await replace(harness, route_id)
    assert told.read_text() == f"{route_id} {old.key} {old.address}"


async def test_a_third_within_the_hour_waits_in_its_region_and_the_first_two_do_not(harness):
    for _ in range(2):
        await replace(harness, await a_route(harness))
    route_id = await a_route(harness)
    await start(harness, route_id)
    await harness.until(lambda: harness.interference.ran.count("ask_destruction") >= 3)
    assert "destroy_machine" not in harness.interference.ran
    there = await at_the_provider(harness)
    assert {f"{route_id}-g1", f"{route_id}-g2"} <= set(there)
