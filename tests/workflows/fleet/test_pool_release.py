"""The pool follows what the gates let through, tries a few times, and keeps what works."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.pool.pool import PoolStatus
from relight.domain.rollout.rollout import RolloutPhase
from relight.store.pool_sizes import POOL_STOPPED, PoolSize
from tests.workflows.harness import Harness
from tests.workflows.pools import REGION, keep_pool
from tests.workflows.reconciler import left_alone

pytestmark = pytest.mark.attack("a bad default release, at pools")

CRASHES = "v0.0.76"
GOOD = "v0.0.74"


def states(harness: Harness) -> list[tuple[str, PoolStatus, str | None]]:
    return [
        (each.key, each.status, each.release_tag)
        for each in harness.store.pool.list(harness.cloud.name)
    ]


def declare(harness: Harness, tag: str) -> None:
    harness.store.fleet_settings.set("default_release_tag", tag, harness.operation())


def pool(harness: Harness) -> PoolSize:
    [only] = harness.store.pool_sizes.list()
    return only


@pytest.fixture
async def ready(harness: Harness) -> list[tuple[str, PoolStatus, str | None]]:
    """Two ready machines, and nothing else at the provider but routes."""
    for _ in range(2):
        await harness.pool_machine()
    return states(harness)


@pytest.mark.parametrize("with_routes", [True, False])
async def test_a_declared_release_that_passed_no_gate_does_not_reach_the_pool(
    harness, ready, with_routes
):
    if with_routes:
        await harness.serving_route()
    created = list(harness.cloud.created)
    declare(harness, CRASHES)
    for _ in range(4):
        assert (await keep_pool(harness, 2)).done == ()
    assert states(harness) == ready
    assert harness.cloud.created == created
    assert harness.events(kind="machine-destroyed") == []


async def test_a_release_that_failed_its_canary_does_not_reach_the_pool_even_if_it_is_declared(
    harness, reconciler, route_ids, ready
):
    created = list(harness.cloud.created)
    ended = await harness.ended(await harness.start_rollout(CRASHES, waves=("1", "100%")))
    assert ended.phase is RolloutPhase.STOPPED
    declare(harness, CRASHES)
    assert (await keep_pool(harness, 2)).done == ()
    assert states(harness) == ready
    assert harness.cloud.created == created


async def test_a_release_whose_rollout_has_converged_reaches_the_pool(harness, route_ids, ready):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(GOOD, waves=("100%",))
    await gate.reached()
    declare(harness, GOOD)
    assert (await keep_pool(harness, 2)).done == ()
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert (await keep_pool(harness, 2)).done == tuple(f"swap {key}" for key, *_ in ready)
    assert states(harness) == [(key, PoolStatus.READY, GOOD) for key, *_ in ready]
    await (await harness.start_rollout(GOOD, undo=True)).result()
    await keep_pool(harness, 2)
    assert states(harness) == ready


async def test_a_pool_machine_on_which_a_release_fails_is_swapped_back_and_kept(
    harness, route_ids, ready
):
    await (await harness.start_rollout(GOOD, waves=("100%",))).result()
    [(first, *_), (second, *_)] = ready
    harness.hosts.host(first).unhealthy_version = GOOD.removeprefix("v")
    kept = await keep_pool(harness, 2)
    assert kept.done == ()
    assert len(kept.left) == 1
    assert states(harness) == [
        (first, PoolStatus.FAULTED, "v0.0.73"),
        (second, PoolStatus.READY, "v0.0.73"),
    ]
    assert (await keep_pool(harness, 2)).done == (f"swap {first}",)
    assert states(harness) == ready
    assert pool(harness).tries.failed == 1
    harness.hosts.host(first).unhealthy_version = None
    assert harness.store.pool_sizes.retry("fake", REGION, harness.operation())
    assert (await keep_pool(harness, 2)).done == (f"swap {first}", f"swap {second}")
    assert pool(harness).tries.failed == 0
    assert harness.events(kind="machine-destroyed") == []


async def test_a_pool_that_cannot_become_ready_stops_and_tells_how_to_try_again(
    harness, reconciler
):
    declare(harness, CRASHES)  # Nothing was ever proven, so the declared release is tried.
    for tries in range(1, 6):
        await keep_pool(harness, 2)
        assert pool(harness).tries.failed == min(tries, 3)
        assert len(harness.cloud.created) == min(tries, 3)
        # In this region no more than two are destroyed within an hour.
        assert await harness.machine_keys() == harness.cloud.created[2:]
        # As after the pause before the next try.
        long_ago = datetime.now(UTC) - timedelta(hours=2)
        reconciler.execute_sql(f"UPDATE pool_sizes SET tried_at = '{long_ago:%Y-%m-%d %H:%M:%S}'")
    [stopped] = harness.events(kind=POOL_STOPPED)
    assert stopped.detail == {"provider": "fake", "region": REGION, "failed": 3}
    told = left_alone(await reconciler.run())[f"pool fake/{REGION}"]
    assert "it is stopped: 3 tries in a row" in told
    assert f"`relight pool retry fake {REGION}` makes it try again" in told
    declare(harness, GOOD)
    assert (await keep_pool(harness, 2)).done == ("create", "create")


async def test_a_failed_try_is_repeated_only_after_a_pause(harness):
    declare(harness, CRASHES)
    for _ in range(5):
        await keep_pool(harness, 2)
    assert len(harness.cloud.created) == 1
    assert pool(harness).tries.failed == 1
