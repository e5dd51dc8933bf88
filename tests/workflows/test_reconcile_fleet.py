"""Passes of reconciliation over a small fleet: what drifts is found, and brought back."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr

from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.names import route_workflow_id
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route import RouteStatus
from relight.providers.driver import MachineSpec
from tests.support.installation import OWNER
from tests.workflows.harness import Harness
from tests.workflows.reconciler import (
    AT_ONCE,
    MOMENT,
    POLICY,
    kinds,
    left,
)


def tags(harness: Harness, route_ids: list[str]) -> set[str | None]:
    return {harness.route(each).current_release_tag for each in route_ids}


async def test_a_fleet_that_is_as_declared_is_left_alone(harness, reconciler, route_ids):
    done = await reconciler.make_plan()
    assert kinds(done) == Counter()
    assert left(done) == {}
    assert done.summary == "nothing to do"


async def test_a_default_that_was_changed_by_sql_is_rolled_out_and_a_second_pass_is_idle(
    harness, reconciler, route_ids
):
    reconciler.by_sql("UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'")
    done = await reconciler.make_plan()
    assert kinds(done) == {ActionKind.START_ROLLOUT: 1}
    assert tags(harness, route_ids) == {"v0.0.74"}
    assert kinds(await reconciler.make_plan()) == Counter()


async def test_a_route_that_is_behind_alone_is_swapped(harness, reconciler, route_ids):
    harness.store.settings.set("default_release_tag", "v0.0.74", harness.operation())
    for route_id in route_ids[1:]:
        await (await harness.start_swap(route_id, "v0.0.74")).result()
    await harness.until_nothing_runs()
    assert kinds(await reconciler.make_plan()) == {ActionKind.SWAP: 1}
    assert tags(harness, route_ids) == {"v0.0.74"}
    assert kinds(await reconciler.make_plan()) == Counter()


async def test_a_release_that_the_source_does_not_have_is_told_of_and_not_guessed(
    harness, reconciler, route_ids
):
    reconciler.by_sql("UPDATE settings SET value = 'v9.9.9' WHERE name = 'default_release_tag'")
    done = await reconciler.make_plan()
    assert kinds(done) == Counter()
    assert "there is no release v9.9.9" in left(done)["scope fleet"]
    harness.store.settings.unset("default_release_tag", harness.operation())
    assert "scope fleet" in left(await reconciler.make_plan())
    assert tags(harness, route_ids) == {"v0.0.73"}


async def test_proofs_that_are_old_are_made_again_without_a_workflow_each(
    harness, reconciler, route_ids
):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    before = {each: harness.route(each).proven_at for each in route_ids}
    done = await reconciler.make_plan()
    assert (done.proven, done.faulted, done.skipped) == (4, 0, 0)
    assert all(harness.route(each).proven_at > before[each] for each in route_ids)
    proven = harness.events(route_ids[0], kind="route-proven")
    assert proven[-1].workflow_id == RECONCILE_WORKFLOW_ID


async def test_a_route_that_somebody_works_on_is_not_audited(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    done = await reconciler.run(RECONCILE_WORKFLOW_ID, dry_run=False)
    gate.open()
    await swap.result()
    assert done.faulted == 0
    assert done.proven == 3
    assert harness.route(route_ids[0]).current_release_tag == "v0.0.74"


async def test_a_service_that_was_stopped_is_found_and_mended(harness, reconciler, route_ids):
    harness.hosts.of(route_ids[0]).running = None
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    found = await reconciler.make_plan()
    assert (found.proven, found.faulted) == (3, 1)
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED
    reconciler.policy = POLICY
    assert kinds(await reconciler.make_plan()) == {ActionKind.REPAIR: 1}
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING
    assert len(harness.events(route_ids[0], kind="repair-begun")) == 1
    assert kinds(await reconciler.make_plan()) == Counter()


async def test_a_package_that_was_changed_by_hand_is_found_and_mended(
    harness, reconciler, route_ids
):
    host = harness.hosts.of(route_ids[0])
    host.version, host.file = "0.0.70", host.file + 1
    host._serve()
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    assert (await reconciler.make_plan()).faulted == 1
    reconciler.policy = POLICY
    assert kinds(await reconciler.make_plan()) == {ActionKind.REPAIR: 1}
    assert host.version == "0.0.73"
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING


async def test_a_region_out_of_reach_opens_the_breaker_once_and_nothing_is_destroyed(
    harness, reconciler, route_ids
):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    created = list(harness.cloud.created)
    harness.hosts.unreachable = {f"{each}-g1" for each in route_ids[2:]}
    assert (await reconciler.make_plan()).faulted == 2
    for _ in range(4):
        done = await reconciler.make_plan()
        assert done.observed.breaker.is_open
        assert set(kinds(done)) <= {ActionKind.PROVE}
    assert harness.store.breaker.get().incident is not None
    harness.hosts.unreachable = set()
    await reconciler.make_plan()  # it sees them again,
    await reconciler.make_plan()  # is calm,
    assert not (await reconciler.make_plan()).observed.breaker.is_open
    assert len(harness.events(kind="breaker-opened")) == 1
    assert len(harness.events(kind="breaker-closed")) == 1
    assert harness.events(kind="machine-destroyed") == []
    assert harness.cloud.created == created
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}


async def test_without_a_witness_a_pass_only_looks(harness, reconciler, route_ids):
    [check] = harness.parts.connectivity
    check.reached = False
    reconciler.by_sql("UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'")
    done = await reconciler.make_plan()
    assert kinds(done) == Counter()
    assert "did not reach a single witness" in done.observed.plan.incident.summary
    assert "the breaker is open" in left(done)["scope fleet"]


async def test_a_machine_that_nobody_gets_through_to_is_replaced(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(
        update={
            "replacement": ReplacementPolicy(
                verify_after=AT_ONCE, unreachable_observations=2, unreachable_for=MOMENT
            )
        }
    )
    # All are looked at, so that the breaker is sure; one of four is a host's own fault.
    reconciler.policy = reconciler.policy.model_copy(update={"proof_lasts": MOMENT})
    reconciler.limits = BreakerLimits(open_share=0.6, calm_for=AT_ONCE)
    harness.hosts.unreachable = {f"{route_ids[0]}-g1"}
    await reconciler.make_plan()
    await reconciler.make_plan()
    done = await reconciler.look()
    [action] = [each for each in done.observed.plan.actions if each.kind is ActionKind.REPLACE]
    assert (action.route_id, action.unreachable) == (route_ids[0], True)
    await reconciler.make_plan()
    machine = harness.route(route_ids[0]).machine
    assert machine is not None
    assert machine.key == f"{route_ids[0]}-g2"
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING


async def test_a_stray_machine_is_destroyed_once_it_is_old_enough(harness, reconciler, route_ids):
    key = f"{route_ids[0]}-g7"
    await harness.cloud.ensure(
        key,
        MachineSpec(region="fake-east", user_data=SecretStr(""), owner=OWNER, generation=7),
    )
    assert kinds(await reconciler.make_plan()) == Counter()
    assert harness.cloud.seen(key) is not None
    harness.cloud.make_older(key, timedelta(hours=2))
    done = await reconciler.make_plan()
    assert kinds(done) == {ActionKind.SWEEP: 1}
    assert harness.cloud.seen(key) is None
    [event] = harness.events(kind="machine-destroyed")
    assert (event.machine_key, event.workflow_id) == (key, route_workflow_id(route_ids[0]))
    assert len(await harness.machines_of(route_ids[0])) == 1


async def test_a_record_without_a_machine_is_marked_lost(harness, reconciler, route_ids):
    reconciler.grace = MOMENT
    machine = harness.route(route_ids[0]).machine
    assert machine is not None
    await harness.cloud.destroy(machine.ref)
    harness.cloud.seen(machine.key)
    done = await reconciler.make_plan()
    assert ActionKind.SWEEP in kinds(done)
    assert [event.machine_key for event in harness.events(kind="machine-lost")] == [machine.key]
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED


async def test_a_rollout_whose_workflow_is_gone_is_closed(harness, reconciler, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await rollout.terminate("gone")
    gate.open()
    await harness.until_nothing_runs()
    reconciler.grace = MOMENT
    done = await reconciler.make_plan()
    assert [each.sweep.step for each in done.observed.plan.actions if each.sweep] == ["close"]
    assert len(harness.events(kind="rollout-abandoned")) == 1
    # What the scope should run now, a person says: nothing is taken back or begun again.
    assert "a person has to decide" in left(await reconciler.make_plan())["scope fleet"]


async def test_a_provider_that_cannot_be_asked_is_left_out_of_the_sweep(
    harness, reconciler, route_ids, monkeypatch
):
    async def broken() -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    monkeypatch.setattr(harness.cloud, "list", broken)
    done = await reconciler.make_plan()
    assert kinds(done) == Counter()
    assert done.observed.unasked == ("fake: no listing within 60 s",)


async def test_the_dry_run_has_the_plan_of_the_pass_and_writes_nothing(
    harness, reconciler, route_ids
):
    harness.hosts.of(route_ids[0]).running = None
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    await reconciler.make_plan()
    reconciler.by_sql("UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'")
    reconciler.policy = POLICY
    before = harness.events(), harness.store.breaker.connectivity(), harness.store.breaker.get()
    dry = await reconciler.look()
    assert (
        harness.events(),
        harness.store.breaker.connectivity(),
        harness.store.breaker.get(),
    ) == (before)
    real = await reconciler.make_plan()
    assert dry.observed.plan == real.observed.plan
    assert dry.observed.plan.actions


async def test_two_passes_are_never_under_way_at_once(harness, reconciler, route_ids, monkeypatch):
    harness.hosts.unreachable = {f"{each}-g1" for each in route_ids}
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    monkeypatch.setattr("activities.fleet.verification.PAUSE", timedelta(seconds=1))
    first = asyncio.create_task(reconciler.run(RECONCILE_WORKFLOW_ID, dry_run=False))
    await harness.until(lambda: "verify_routes" in harness.interference.ran)
    by_clock = await reconciler.run("reconcile-2026-01-01T00:00:00Z", dry_run=False)
    assert by_clock.summary == "another pass is under way"
    await first


async def test_a_pass_that_only_looks_has_a_short_history(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    await reconciler.make_plan()
    handle = harness.client.get_workflow_handle(RECONCILE_WORKFLOW_ID)
    events = [event async for event in handle.fetch_history_events()]
    # A look and one page; a further page of 25 routes is three events, and three of a task.
    assert len(events) <= 17


async def test_what_is_said_of_now_is_utc(harness, reconciler, route_ids):
    before = datetime.now(UTC)
    done = await reconciler.look()
    assert before <= done.observed.at <= datetime.now(UTC)
