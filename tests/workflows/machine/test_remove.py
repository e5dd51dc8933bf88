"""RemoveMachine: a replaced machine is drained, and destroyed once the breaker allows it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError

from activities.machine import departure
from activities.machine.drain import Drain
from devkit.chaos.provider_faults import Call
from relight.domain.breaker.breaker import Breaker, GroupReach
from relight.domain.names import machine_workflow_id
from relight.domain.route import RouteStatus
from starter.cli.keep import TooLateError, keep
from starter.cli.waiting import Patience
from tests.store.sql import execute
from tests.support.interference import REPEATED, Injection
from tests.workflows.harness import LIMITS, Harness
from tests.workflows.installation import small_installation
from tests.workflows.matrix import run_cells
from tests.workflows.pools import (
    close_breaker,
    open_breaker,
)
from tests.workflows.replacing import (
    REMOVAL_STEPS,
    Removal,
    assert_sound,
    removal,
    replace,
    until_removed,
)
from workflows.failures import fault_of

LONG_AGO = "2026-01-01 00:00:00.000000"


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


async def test_a_removal_ends_by_itself_once_a_person_keeps_its_machine(harness):
    route_id = await harness.serving_route()
    key = f"{route_id}-g1"
    open_breaker(harness)
    await replace(harness, route_id, requested=True)
    await harness.until(lambda: checks(harness) >= 2)
    assert f"relight machine keep {key}" in await details(removal(harness, key))
    harness.store.kept_machines.keep(key, harness.operation(), is_removed=True)
    close_breaker(harness)
    removed = await removal(harness, key).result()
    assert removed.kept is not None
    assert f"machine {key} is kept by" in removed.kept
    assert Call.DESTROY not in harness.cloud.provider_faults.calls
    assert harness.store.machines.get(key).status == "kept"


async def test_the_removal_of_a_machine_that_serves_is_ended_and_it_goes_on_serving(harness):
    """As after a restore: the record is right, and the removal is not."""
    route_id = await harness.serving_route()
    kept = harness.store.kept_machines.keep(f"{route_id}-g1", harness.operation(), is_removed=True)
    assert (kept.refusal, kept.route_id) == (None, route_id)
    assert harness.store.machines.get(f"{route_id}-g1").status == "running"
    # A later replacement removes it, as if it had never been kept.
    await replace(harness, route_id, requested=True)
    await until_removed(harness, route_id)
    assert f"{route_id}-g1" not in await harness.machine_keys()


@pytest.mark.parametrize("injection", [*REPEATED, Injection.FAILS_BEFORE, Injection.FAILS_AFTER])
async def test_a_step_of_a_removal_that_fails_or_runs_again_destroys_once(
    roomy_harness, boundaries, injection
):
    async def cell(harness: Harness, step: str) -> str:
        route_id = await harness.serving_route()
        harness.interference.inject(injection, step, machine_workflow_id(f"{route_id}-g1"))
        await replace(harness, route_id)
        assert await assert_sound(harness, route_id) == f"{route_id}-g2"
        return "destroyed"

    for step, end in (await run_cells(roomy_harness, cell, REMOVAL_STEPS)).items():
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


async def test_a_machine_that_goes_on_without_its_provider_is_removed_once_its_host_has_ended(
    harness, monkeypatch
):
    """The removal says why it waits and what ends it, and a person can keep the machine."""
    monkeypatch.setattr(departure, "UNREACHABLE_WITHIN", timedelta(0))
    route_id = await harness.serving_route()
    key = f"{route_id}-g1"
    harness.hosts.lingering.add(key)
    await replace(harness, route_id, requested=True)
    await harness.until(lambda: checks(harness) >= 2)
    assert key not in await harness.machine_keys()
    assert harness.events(kind="machine-destroyed") == []
    shown = await details(removal(harness, key))
    assert "still answers with its host key" in shown
    assert f"relight machine keep {key}" in shown
    [told] = harness.events(kind="destruction-refused")
    assert told.machine_key == key
    harness.hosts.lingering.discard(key)
    await until_removed(harness, route_id)
    assert harness.store.machines.get(key).status == "destroyed"


async def test_a_machine_that_goes_on_without_its_provider_can_be_kept(harness, monkeypatch):
    monkeypatch.setattr(departure, "UNREACHABLE_WITHIN", timedelta(0))
    route_id = await harness.serving_route()
    key = f"{route_id}-g1"
    harness.hosts.lingering.add(key)
    await replace(harness, route_id, requested=True)
    await harness.until(lambda: checks(harness) >= 2)
    patience = Patience(timeout=timedelta(seconds=60))
    # Its provider was asked to destroy it: nobody knows whether it stays.
    with pytest.raises(TooLateError, match="if the machine is there all the same, it is kept"):
        await keep(harness.client, harness.store, key, harness.operation(), patience, as_json=False)
    assert harness.store.machines.get(key).status == "kept"
    await harness.until_idle()
