"""KeepPool: a region's pool comes to its size and its release, and nothing is lost on the way."""

from contextlib import suppress

import pytest
from temporalio.client import WorkflowFailureError

from relight.domain.breaker.breaker import Breaker
from relight.domain.pool.pool import PoolStatus
from tests.support.interference import Injection
from tests.workflows.harness import Harness
from tests.workflows.test_autoreplace_route import (
    at_the_provider,
    incident,
    keep_pool,
)

CREATING = (
    "plan_pool",
    "describe_region",
    "resolve_release",
    "plan_pool_machine",
    "render_cloud_init",
    "create_machine",
    "await_machine",
    "record_machine",
    "await_first_boot",
    "prove_release",
    "record_pool_ready",
)
RECYCLING = ("ask_destruction", "leave_pool", "destroy_machine", "record_destroyed")


def states(harness: Harness) -> list[tuple[str, PoolStatus, str | None]]:
    return [(each.key, each.status, each.release_tag) for each in harness.store.pool.list()]


async def assert_known(harness: Harness) -> None:
    """What is at the provider is on record, and nothing was destroyed twice."""
    assert set(await at_the_provider(harness)) <= {each.key for each in harness.store.pool.list()}
    ended = [event.machine_key for event in harness.events(kind="machine-destroyed")]
    assert len(ended) == len(set(ended))


async def test_a_pool_is_filled_to_its_size(harness):
    kept = await keep_pool(harness, 2)
    assert kept.done == ("create", "create")
    assert kept.left == ()
    assert states(harness) == [
        ("pool-fake-fake-east-1", PoolStatus.READY, "v0.0.73"),
        ("pool-fake-fake-east-2", PoolStatus.READY, "v0.0.73"),
    ]
    assert (await keep_pool(harness)).done == ()


async def test_a_machine_that_is_behind_is_swapped_in_place(harness):
    await keep_pool(harness, 1)
    harness.store.settings.set("default_release_tag", "v0.0.74", harness.operation())
    assert (await keep_pool(harness)).done == ("swap pool-fake-fake-east-1",)
    assert states(harness) == [("pool-fake-fake-east-1", PoolStatus.READY, "v0.0.74")]


async def test_a_pool_that_shrinks_destroys_the_oldest(harness):
    await keep_pool(harness, 2)
    assert (await keep_pool(harness, 1)).done == ("recycle pool-fake-fake-east-1",)
    assert await at_the_provider(harness) == ["pool-fake-fake-east-2"]


async def test_nothing_is_recycled_while_the_breaker_is_open(harness):
    await keep_pool(harness, 1)
    harness.store.breaker.turn(lambda _: incident(), harness.operation())
    kept = await keep_pool(harness, 0)
    assert kept.done == ()
    assert "a region is out" in kept.left[0]
    assert await at_the_provider(harness) == ["pool-fake-fake-east-1"]
    harness.store.breaker.turn(lambda _: Breaker(), harness.operation())
    assert (await keep_pool(harness)).done == ("recycle pool-fake-fake-east-1",)
    assert await at_the_provider(harness) == []


async def test_without_a_declared_release_nothing_is_made(harness):
    harness.store.settings.unset("default_release_tag", harness.operation())
    assert (await keep_pool(harness, 1)).done == ()


async def test_a_release_that_does_not_come_up_fills_no_pool(harness):
    harness.store.settings.set("default_release_tag", "v0.0.76", harness.operation())
    kept = await keep_pool(harness, 2)
    assert len(kept.left) == 1
    assert len(harness.cloud.created) == 1
    assert await at_the_provider(harness) == []


@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
@pytest.mark.parametrize("step", CREATING)
async def test_creating_a_machine_twice_makes_one(harness, injection, step):
    harness.interference.bring(injection, step, harness.client)
    await keep_pool(harness, 1)
    assert states(harness) == [("pool-fake-fake-east-1", PoolStatus.READY, "v0.0.73")]
    assert harness.cloud.created == ["pool-fake-fake-east-1"]


@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
@pytest.mark.parametrize("step", RECYCLING)
async def test_recycling_a_machine_twice_destroys_it_once(harness, injection, step):
    await keep_pool(harness, 1)
    harness.interference.bring(injection, step, harness.client)
    await keep_pool(harness, 0)
    assert states(harness) == []
    assert await at_the_provider(harness) == []
    await assert_known(harness)


CUT_SHORT = [
    Injection.FAILS_BEFORE,
    Injection.FAILS_AFTER,
    Injection.CANCELLED_BEFORE,
    Injection.CANCELLED_AFTER,
]


@pytest.mark.parametrize("injection", CUT_SHORT)
@pytest.mark.parametrize("step", [*CREATING, *RECYCLING])
async def test_what_is_cut_short_is_put_right_by_the_next(harness, injection, step):
    if step in RECYCLING:
        await keep_pool(harness, 1)
    harness.interference.bring(injection, step, harness.client)
    with suppress(WorkflowFailureError):
        await keep_pool(harness, 0 if step in RECYCLING else 1)
    await assert_known(harness)
    await keep_pool(harness, 0)
    await assert_known(harness)
    if step != "plan_pool_machine":  # whose key, if it was lost, is given an hour
        assert await at_the_provider(harness) == []
        assert states(harness) == []
