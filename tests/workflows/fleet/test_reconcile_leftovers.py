"""ReconcileFleet over a route that replacements do not help, pools, and unrecorded machines."""

import pytest
from pydantic import SecretBytes

from devkit.simulated.parts import OWNER
from relight.domain.pool.pool import PoolStatus, pool_machine_key
from relight.domain.reconcile.plan import ActionKind
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route import RouteStatus
from relight.domain.sweep.sweep import SweepStep
from relight.providers.driver import MachineSpec
from tests.workflows.reconciler import (
    AT_ONCE,
    MOMENT,
    POLICY,
    kinds,
    left_alone,
)


async def add_machine(harness, key, generation, region="fake-east"):
    """Create a machine of ours at the provider that is not on record."""
    await harness.cloud.ensure(
        key,
        MachineSpec(region=region, user_data=SecretBytes(b""), owner=OWNER, generation=generation),
    )
    assert harness.cloud.read(key) is not None


@pytest.fixture
def one_replacement(reconciler):
    """Allow one replacement a day."""
    reconciler.policy = POLICY.model_copy(
        update={
            "proof_lasts": MOMENT,
            "replacement": ReplacementPolicy(
                verify_after=AT_ONCE,
                unreachable_observations=2,
                unreachable_for=MOMENT,
                replacements=1,
            ),
        }
    )
    reconciler.limits = reconciler.limits.model_copy(
        update={"open_share": 0.6, "remembered_for": AT_ONCE}
    )


@pytest.mark.usefixtures("one_replacement")
async def test_a_route_that_a_replacement_does_not_help_is_quarantined(
    harness, reconciler, route_ids
):
    route_id = route_ids[0]
    harness.hosts.unreachable = {f"{route_id}-g1"}
    for _ in range(3):
        await reconciler.run()
    assert harness.route(route_id).machine.key == f"{route_id}-g2"
    harness.hosts.unreachable = {f"{route_id}-g2"}
    for _ in range(3):
        done = await reconciler.run()
    assert kinds(done)[ActionKind.QUARANTINE] == 1
    [quarantined] = harness.events(route_id, "route-quarantined")
    assert "it was replaced 1 times" in str(quarantined.detail)
    # It keeps its machine, is reported, and no later run changes it.
    assert [each.key for each in await harness.machines_of(route_id)] == [f"{route_id}-g2"]
    last = await reconciler.run()
    assert not [each for each in last.observed.plan.actions if each.route_id == route_id]
    assert "quarantine" in left_alone(last)[f"route {route_id}"]


async def test_a_pool_is_filled_by_a_run_and_then_left_alone(harness, reconciler, route_ids):
    harness.store.pool_sizes.set("fake", "fake-west", 2, harness.operation())
    done = await reconciler.run()
    assert kinds(done) == {ActionKind.POOL: 2}
    ready = harness.store.pool.list()
    assert [(each.status, each.release_tag) for each in ready] == [
        (PoolStatus.READY, "v0.0.73")
    ] * 2
    assert kinds(await reconciler.run()) == {}


async def test_an_unrecorded_pool_machine_is_told_and_left_alone(harness, reconciler, route_ids):
    """A pool machine with a number that is not on record yet may serve a route."""
    key = pool_machine_key("fake", "fake-west", 1)
    harness.store.pool_sizes.set("fake", "fake-west", 0, harness.operation())
    await add_machine(harness, key, 1, "fake-west")
    harness.hosts.unreachable.add(key)
    reconciler.grace = MOMENT
    for _ in range(2):
        done = await reconciler.run()
        assert kinds(done) == {}
    assert "not on record" in left_alone(done)[f"machine {key}"]
    assert harness.cloud.read(key) is not None
    assert harness.store.pool.list() == []


async def test_a_machine_that_was_marked_lost_serves_its_route_again(
    harness, reconciler, route_ids
):
    key = f"{route_ids[0]}-g1"
    harness.store.sweeps.mark_lost(key, harness.operation())
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED
    reconciler.grace = MOMENT
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    done = await reconciler.run()
    sweeps = [each.sweep for each in done.observed.plan.actions if each.sweep]
    assert [(each.step, each.key) for each in sweeps] == [(SweepStep.ADOPT, key)]
    assert [event.machine_key for event in harness.events(kind="machine-adopted")] == [key]
    await reconciler.run()
    route = harness.route(route_ids[0])
    assert (route.machine.key, route.status) == (key, RouteStatus.SERVING)


async def test_another_machine_under_the_key_of_a_lost_one_is_left_to_an_operator(
    harness, reconciler, route_ids
):
    route_id = route_ids[0]
    await harness.cloud.destroy(harness.route(route_id).machine.ref)
    harness.cloud.read(f"{route_id}-g1")  # It is being destroyed.
    assert harness.cloud.read(f"{route_id}-g1") is None
    reconciler.grace = MOMENT
    reconciler.policy = POLICY.model_copy(
        update={"replacement": POLICY.replacement.model_copy(update={"gone_for": MOMENT})}
    )
    for _ in range(2):
        await reconciler.run()
    assert harness.route(route_id).status is RouteStatus.FAULTED
    await add_machine(harness, f"{route_id}-g1", 1)
    done = await reconciler.run()
    assert kinds(done)[ActionKind.SWEEP] == 0
    assert "its id is" in left_alone(done)[f"machine {route_id}-g1"]
    assert harness.events(kind="machine-adopted") == []
    assert harness.cloud.read(f"{route_id}-g1") is not None
