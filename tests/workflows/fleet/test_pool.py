"""KeepPool brings a region's pool to its size and its release, and loses no machine."""

from contextlib import suppress

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.pool.pool import PoolStatus, pool_workflow_id
from tests.support.interference import CUT_SHORT, REPEATED, Injection
from tests.workflows.harness import Harness
from tests.workflows.matrix import run_cells
from tests.workflows.pools import REGION, close_breaker, keep_pool, open_breaker

CREATING = (
    "plan_pool",
    "describe_region",
    "resolve_release",
    "check_new_key",
    "plan_pool_machine",
    "create_machine",
    "prove_release",
    "record_pool_ready",
)
"""The pool's own steps, and one of `make_machine`: `test_provision.py` covers the others."""

RECYCLING = ("check_destruction", "leave_pool", "destroy_machine")


def states(harness: Harness) -> list[tuple[str, PoolStatus, str | None]]:
    machines = harness.store.pool.list(harness.cloud.name)
    return [(each.key, each.status, each.release_tag) for each in machines]


async def assert_recorded(harness: Harness) -> None:
    """Every machine at the provider is on record, and none was destroyed twice."""
    recorded = {each.key for each in harness.store.pool.list(harness.cloud.name)}
    assert set(await harness.machine_keys()) <= recorded
    destroyed = harness.destroyed()
    assert len(destroyed) == len(set(destroyed))


def inject(harness: Harness, injection: Injection, step: str) -> None:
    harness.interference.inject(injection, step, pool_workflow_id(harness.cloud.name, REGION))


async def test_a_pool_is_filled_to_its_size(harness):
    kept = await keep_pool(harness, 2)
    assert kept.done == ("create", "create")
    assert kept.left == ()
    assert states(harness) == [
        ("pool-fake-fake-east-1", PoolStatus.READY, "v0.0.73"),
        ("pool-fake-fake-east-2", PoolStatus.READY, "v0.0.73"),
    ]
    assert (await keep_pool(harness)).done == ()


async def test_a_pool_that_tests_set_up_directly_is_kept_as_it_is(harness):
    key = await harness.pool_machine()
    assert states(harness) == [(key, PoolStatus.READY, "v0.0.73")]
    assert (await keep_pool(harness, 1)).done == ()


async def test_a_machine_at_an_older_release_is_swapped_in_place(harness):
    key = await harness.pool_machine()
    harness.store.fleet_settings.set("default_release_tag", "v0.0.74", harness.operation())
    await harness.serving_route()
    assert (await keep_pool(harness, 1)).done == (f"swap {key}",)
    assert states(harness) == [(key, PoolStatus.READY, "v0.0.74")]


async def test_a_pool_that_shrinks_destroys_the_oldest(harness):
    oldest, newest = await harness.pool_machine(), await harness.pool_machine()
    assert (await keep_pool(harness, 1)).done == (f"recycle {oldest}",)
    assert await harness.machine_keys() == [newest]


async def test_nothing_is_recycled_while_the_breaker_is_open(harness):
    key = await harness.pool_machine()
    open_breaker(harness)
    kept = await keep_pool(harness, 0)
    assert kept.done == ()
    assert "a region is out" in kept.left[0]
    assert await harness.machine_keys() == [key]
    close_breaker(harness)
    assert (await keep_pool(harness)).done == (f"recycle {key}",)
    assert await harness.machine_keys() == []


async def test_without_a_declared_release_no_machine_is_created(harness):
    harness.store.fleet_settings.unset("default_release_tag", harness.operation())
    assert (await keep_pool(harness, 1)).done == ()


async def test_a_release_that_does_not_start_leaves_the_pool_empty(harness):
    harness.store.fleet_settings.set("default_release_tag", "v0.0.76", harness.operation())
    kept = await keep_pool(harness, 2)
    assert len(kept.left) == 1
    assert len(harness.cloud.created) == 1
    assert await harness.machine_keys() == []


@pytest.mark.parametrize("injection", REPEATED)
async def test_creating_a_machine_twice_makes_one(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        inject(harness, injection, step)
        await keep_pool(harness, 1)
        [(key, status, tag)] = states(harness)
        assert (status, tag) == (PoolStatus.READY, "v0.0.73")
        assert harness.cloud.created == [key]

    await run_cells(roomy_harness, cell, CREATING)


@pytest.mark.parametrize("injection", REPEATED)
async def test_recycling_a_machine_twice_destroys_it_once(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        key = await harness.pool_machine()
        inject(harness, injection, step)
        await keep_pool(harness, 0)
        assert states(harness) == []
        assert await harness.machine_keys() == []
        assert harness.destroyed() == [key]

    await run_cells(roomy_harness, cell, RECYCLING)


@pytest.mark.parametrize("injection", CUT_SHORT)
async def test_what_is_cut_short_is_completed_by_the_next_run(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        if step in RECYCLING:
            await harness.pool_machine()
        inject(harness, injection, step)
        with suppress(WorkflowFailureError):
            await keep_pool(harness, 0 if step in RECYCLING else 1)
        await assert_recorded(harness)
        await keep_pool(harness, 0)
        await assert_recorded(harness)
        if step != "plan_pool_machine":  # A key whose record may be lost is kept for an hour.
            assert await harness.machine_keys() == []
            assert states(harness) == []

    await run_cells(roomy_harness, cell, [*CREATING, *RECYCLING])
