"""ReconcileFleet over a small fleet: drift is found and corrected."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretBytes, SecretStr
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError

from devkit.simulated.parts import OWNER
from relight.domain.base import Origin
from relight.domain.breaker.breaker import BreakerLimits
from relight.domain.pool.pool import PoolStatus
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import RECONCILE_WORKFLOW_ID
from relight.domain.remediation import ReplacementPolicy
from relight.domain.route import RouteStatus
from relight.domain.skew import skew_rows
from relight.domain.text import plain
from relight.providers.driver import MachineSpec
from relight.providers.lab import LabDriver
from relight.store.events import Operation
from starter.cli.operations import current_details
from tests.store.fleets import begin_swap
from tests.support.apt_repository import serve
from tests.support.interference import Injection
from tests.workflows.reconciler import (
    AT_ONCE,
    MOMENT,
    POLICY,
    kinds,
    left_alone,
)


async def test_a_fleet_without_drift_is_left_alone(harness, reconciler, route_ids):
    done = await reconciler.run()
    assert kinds(done) == Counter()
    assert left_alone(done) == {}
    assert done.summary == "nothing to do"


async def test_its_details_have_the_release_skew_of_the_fleet(harness, reconciler, route_ids):
    tag, text = "v0.0.74", "as after a swap that broke off"
    operation = Operation(origin=Origin(requested_by="ann", reason=text))
    begin_swap(harness.store, route_ids[0], tag, operation)
    workflow_id = f"reconcile/dry-run/{harness.new_route_id()}"
    done = await reconciler.start(workflow_id, dry_run=True)
    assert done.observed is not None
    assert done.observed.skew == harness.store.skew.get()
    details = await current_details(harness.client.get_workflow_handle(workflow_id))
    for row in skew_rows(done.observed.skew):
        assert f"| {' | '.join(map(plain, row))} |" in details
    assert {pair.target for pair in done.observed.skew.tracks[0].pairs} == {tag, "v0.0.73"}


async def test_a_default_release_that_was_changed_by_sql_is_rolled_out_once(
    harness, reconciler, route_ids
):
    reconciler.execute_sql(
        "UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'"
    )
    done = await reconciler.run()
    assert kinds(done) == {ActionKind.START_ROLLOUT: 1}
    assert set(harness.current_tags(route_ids)) == {"v0.0.74"}
    assert kinds(await reconciler.run()) == Counter()


async def test_a_single_route_that_is_behind_is_swapped(harness, reconciler, route_ids):
    harness.store.fleet_settings.set("default_release_tag", "v0.0.74", harness.operation())
    for route_id in route_ids[1:]:
        await (await harness.start_swap(route_id, "v0.0.74")).result()
    await harness.until_idle()
    assert kinds(await reconciler.run()) == {ActionKind.SWAP: 1}
    assert set(harness.current_tags(route_ids)) == {"v0.0.74"}
    assert kinds(await reconciler.run()) == Counter()


async def test_a_provider_that_answers_with_a_page_is_reported_and_the_others_are_reconciled(
    harness, reconciler, route_ids, tmp_path
):
    harness.store.fleet_settings.set("default_release_tag", "v0.0.74", harness.operation())
    with serve(tmp_path) as page:
        page.answers["/v1/machines"] = (200, b"<html>Please log in</html>")
        harness.drivers["lab"] = LabDriver(page.url, SecretStr("token"))
        try:
            done = await reconciler.run()
        finally:
            await harness.drivers.pop("lab").close()
    [unobserved] = done.observed.unobserved
    assert "lab: list machines: the answer is not understood" in unobserved
    assert "Please log in" in unobserved
    assert set(harness.current_tags(route_ids)) == {"v0.0.74"}


async def test_a_release_that_the_source_does_not_have_is_reported(harness, reconciler, route_ids):
    reconciler.execute_sql(
        "UPDATE settings SET value = 'v9.9.9' WHERE name = 'default_release_tag'"
    )
    done = await reconciler.run()
    assert kinds(done) == Counter()
    assert "there is no release v9.9.9" in left_alone(done)["scope fleet"]
    harness.store.fleet_settings.unset("default_release_tag", harness.operation())
    assert "scope fleet" in left_alone(await reconciler.run())
    assert set(harness.current_tags(route_ids)) == {"v0.0.73"}


async def test_old_proofs_are_renewed_without_a_workflow_for_each(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    before = {each: harness.route(each).proven_at for each in route_ids}
    done = await reconciler.run()
    assert (done.proven, done.faulted, done.skipped) == (4, 0, 0)
    assert all(harness.route(each).proven_at > before[each] for each in route_ids)
    proven = harness.events(route_ids[0], kind="route-proven")
    assert proven[-1].workflow_id == RECONCILE_WORKFLOW_ID


async def test_a_route_with_a_running_operation_is_not_verified(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_ids[0], "v0.0.74")
    await gate.reached()
    done = await reconciler.start(RECONCILE_WORKFLOW_ID)
    gate.open()
    await swap.result()
    assert done.faulted == 0
    assert done.proven == 3
    assert harness.route(route_ids[0]).current_release_tag == "v0.0.74"


async def test_a_page_of_verifications_that_fails_is_reported_and_the_others_go_on(
    harness, reconciler, route_ids
):
    more = [await harness.serving_route() for _ in range(24)]
    everything = {f"route {each} ({each}-g1)" for each in (*route_ids, *more)}
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    harness.interference.inject(Injection.FAILS_BEFORE, "verify_routes")
    done = await reconciler.run()
    failed = {each.about: each.reason for each in done.not_verified}
    assert len(failed) in {25, 3}  # One page of the two.
    assert set(failed) < everything
    assert set(failed.values()) == {"injected: it failed"}
    assert (done.proven, done.faulted, done.skipped) == (28 - len(failed), 0, 0)
    assert f"{done.proven} proven, 0 faulted, 0 skipped, {len(failed)} failed" in done.summary
    assert (await reconciler.run()).proven == 28


async def test_one_host_whose_verification_fails_hides_no_other(
    harness, reconciler, route_ids, monkeypatch
):
    connect, failing = harness.hosts.connect, f"{route_ids[0]}-g1"

    def fails_at_one(machine):
        if machine.key == failing:
            raise ValueError(f"an answer that nobody expected\n{'x' * 5000}")
        return connect(machine)

    monkeypatch.setattr(harness.hosts, "connect", fails_at_one)
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    done = await reconciler.run()
    assert (done.proven, done.faulted, done.skipped) == (3, 0, 0)
    [failed] = done.not_verified
    assert failed.about == f"route {route_ids[0]} ({failing})"
    assert failed.reason.startswith("ValueError: an answer that nobody expected")
    assert len(failed.reason) == 500
    assert harness.interference.ran.count("verify_routes") == 3
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING


async def test_a_reconcile_run_that_is_cancelled_while_it_verifies_ends(
    harness, reconciler, route_ids
):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    harness.interference.inject(Injection.CANCELLED_BEFORE, "verify_routes")
    with pytest.raises(WorkflowFailureError) as caught:
        await reconciler.run()
    assert isinstance(caught.value.cause, CancelledError)


async def test_a_stopped_service_is_found_and_repaired(harness, reconciler, route_ids):
    harness.hosts.of(route_ids[0]).running = None
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    found = await reconciler.run()
    assert (found.proven, found.faulted) == (3, 1)
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED
    reconciler.policy = POLICY
    assert kinds(await reconciler.run()) == {ActionKind.REPAIR: 1}
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING
    assert len(harness.events(route_ids[0], kind="repair-begun")) == 1
    assert kinds(await reconciler.run()) == Counter()


async def test_a_package_that_was_changed_by_hand_is_found_and_repaired(
    harness, reconciler, route_ids
):
    host = harness.hosts.of(route_ids[0])
    host.version, host.file = "0.0.70", host.file + 1
    host.serve()
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    assert (await reconciler.run()).faulted == 1
    reconciler.policy = POLICY
    assert kinds(await reconciler.run()) == {ActionKind.REPAIR: 1}
    assert host.version == "0.0.73"
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING


async def test_an_unreachable_region_opens_the_breaker_once_and_nothing_is_destroyed(
    harness, reconciler, route_ids
):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    created = list(harness.cloud.created)
    harness.hosts.unreachable = {f"{each}-g1" for each in route_ids[2:]}
    assert (await reconciler.run()).faulted == 2
    for _ in range(4):
        done = await reconciler.run()
        assert done.observed.breaker.is_open
        assert set(kinds(done)) <= {ActionKind.VERIFY}
    assert harness.store.breaker.get().incident is not None
    harness.hosts.unreachable = set()
    await reconciler.run()  # The hosts are reachable again.
    await reconciler.run()  # The breaker is calm.
    assert not (await reconciler.run()).observed.breaker.is_open
    assert len(harness.events(kind="breaker-opened")) == 1
    assert len(harness.events(kind="breaker-closed")) == 1
    assert harness.events(kind="machine-destroyed") == []
    assert harness.cloud.created == created
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}


async def test_without_connectivity_a_run_only_observes(harness, reconciler, route_ids):
    [check] = harness.parts.connectivity
    check.reached = False
    reconciler.execute_sql(
        "UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'"
    )
    done = await reconciler.run()
    assert kinds(done) == Counter()
    assert (
        "no connectivity check of the control plane succeeded"
        in done.observed.plan.incident.summary
    )
    assert "the breaker is open" in left_alone(done)["scope fleet"]


async def test_an_unreachable_machine_is_replaced(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(
        update={
            "replacement": ReplacementPolicy(
                verify_after=AT_ONCE, unreachable_observations=2, unreachable_for=MOMENT
            )
        }
    )
    # All hosts are observed, so that the breaker is known; one of four is a host fault.
    reconciler.policy = reconciler.policy.model_copy(update={"proof_lasts": MOMENT})
    reconciler.limits = BreakerLimits(open_share=0.6, calm_for=AT_ONCE)
    harness.hosts.unreachable = {f"{route_ids[0]}-g1"}
    await reconciler.run()
    await reconciler.run()
    done = await reconciler.dry_run()
    [action] = [each for each in done.observed.plan.actions if each.kind is ActionKind.REPLACE]
    assert (action.route_id, action.unreachable) == (route_ids[0], True)
    await reconciler.run()
    machine = harness.route(route_ids[0]).machine
    assert machine is not None
    assert machine.key == f"{route_ids[0]}-g2"
    assert harness.route(route_ids[0]).status is RouteStatus.SERVING


async def test_a_machine_that_is_newer_than_the_record_is_told_and_left_alone(
    harness, reconciler, route_ids
):
    key = f"{route_ids[0]}-g7"
    await harness.cloud.ensure(
        key,
        MachineSpec(region="fake-east", user_data=SecretBytes(b""), owner=OWNER, generation=7),
    )
    harness.cloud.make_older(key, timedelta(hours=2))
    for _ in range(2):
        done = await reconciler.run()
        assert kinds(done) == Counter()
        assert "the newest on record is" in left_alone(done)[f"machine {key}"]
    assert harness.cloud.read(key) is not None
    assert [event.kind for event in harness.events(kind="incident-opened")] == ["incident-opened"]
    # It is no business of ours any more.
    await harness.cloud.destroy(harness.cloud.read(key).ref)
    assert harness.cloud.read(key) is not None
    assert harness.cloud.read(key) is None
    await reconciler.run()
    assert harness.store.incidents.list() == []


GONE_AT_ONCE = POLICY.model_copy(
    update={"replacement": POLICY.replacement.model_copy(update={"gone_for": MOMENT})}
)


async def test_a_record_without_a_machine_is_marked_lost(harness, reconciler, route_ids):
    reconciler.grace, reconciler.policy = MOMENT, GONE_AT_ONCE
    machine = harness.route(route_ids[0]).machine
    assert machine is not None
    await harness.cloud.destroy(machine.ref)
    harness.cloud.read(machine.key)
    done = await reconciler.run()
    # One listing is no evidence.
    assert ActionKind.SWEEP not in kinds(done)
    assert harness.events(kind="machine-lost") == []
    done = await reconciler.run()
    assert ActionKind.SWEEP in kinds(done)
    assert [event.machine_key for event in harness.events(kind="machine-lost")] == [machine.key]
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED


@pytest.mark.parametrize("what", ["it answers", "its provider finds it"])
async def test_a_machine_that_only_the_listing_lacks_is_neither_lost_nor_replaced(
    harness, reconciler, route_ids, what
):
    """For an hour of listings, as where a page of them is missing."""
    route_id, key = route_ids[0], f"{route_ids[0]}-g1"
    reconciler.grace, reconciler.policy = MOMENT, GONE_AT_ONCE
    reconciler.limits = reconciler.limits.model_copy(update={"open_share": 0.6})
    harness.cloud.unlisted = {key}
    if what == "its provider finds it":
        harness.hosts.unreachable = {key}
    machines = set(harness.cloud.created)
    for _ in range(5):
        done = await reconciler.run()
        assert kinds(done)[ActionKind.REPLACE] == 0
    assert harness.events(kind="machine-lost") == []
    assert harness.events(kind="machine-destroyed") == []
    assert harness.cloud.read(key) is not None
    assert set(harness.cloud.created) == machines
    assert harness.route(route_id).machine.key == key


async def test_a_pool_machine_that_only_the_listing_lacks_is_kept(harness, reconciler, route_ids):
    key = await harness.pool_machine("fake-west")
    harness.store.pool_sizes.set("fake", "fake-west", 1, harness.operation())
    reconciler.grace, reconciler.policy = MOMENT, GONE_AT_ONCE
    harness.cloud.unlisted = {key}
    for _ in range(4):
        await reconciler.run()
    [kept] = harness.store.pool.list()
    assert (kept.key, kept.status) == (key, PoolStatus.READY)
    assert harness.cloud.read(key) is not None
    assert harness.events(kind="machine-lost") == []


async def test_a_rollout_whose_workflow_is_gone_is_closed(harness, reconciler, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    await rollout.terminate("gone")
    gate.open()
    await harness.until_idle()
    reconciler.grace = MOMENT
    done = await reconciler.run()
    assert [each.sweep.step for each in done.observed.plan.actions if each.sweep] == ["close"]
    assert len(harness.events(kind="rollout-abandoned")) == 1
    # An operator decides what the scope should run now: nothing is rolled back or started again.
    assert "a person has to decide" in left_alone(await reconciler.run())["scope fleet"]


async def test_a_provider_that_does_not_answer_is_left_out_of_the_sweep(
    harness, reconciler, route_ids, monkeypatch
):
    async def broken(region: str | None) -> None:
        await asyncio.sleep(0)
        raise TimeoutError

    monkeypatch.setattr(harness.cloud, "list", broken)
    done = await reconciler.run()
    assert kinds(done) == Counter()
    assert done.observed.unobserved == (
        "fake: list the machines in all regions: no listing within 1 min",
    )


async def test_a_dry_run_has_the_plan_of_the_next_run_and_writes_nothing(
    harness, reconciler, route_ids
):
    harness.hosts.of(route_ids[0]).running = None
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    await reconciler.run()
    reconciler.execute_sql(
        "UPDATE settings SET value = 'v0.0.74' WHERE name = 'default_release_tag'"
    )
    reconciler.policy = POLICY
    before = harness.events(), harness.store.breaker.connectivity(), harness.store.breaker.get()
    dry = await reconciler.dry_run()
    assert (
        harness.events(),
        harness.store.breaker.connectivity(),
        harness.store.breaker.get(),
    ) == (before)
    real = await reconciler.run()
    assert dry.observed.plan == real.observed.plan
    assert dry.observed.plan.actions


async def test_two_runs_are_never_active_at_the_same_time(
    harness, reconciler, route_ids, monkeypatch
):
    harness.hosts.unreachable = {f"{each}-g1" for each in route_ids}
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    monkeypatch.setattr("activities.fleet.verification.PAUSE", timedelta(seconds=1))
    first = asyncio.create_task(reconciler.start(RECONCILE_WORKFLOW_ID))
    await harness.until(lambda: "verify_routes" in harness.interference.ran)
    by_clock = await reconciler.start("reconcile-2026-01-01T00:00:00Z")
    assert by_clock.summary == "another reconcile run is running"
    await first


async def test_a_run_that_only_observes_has_a_short_history(harness, reconciler, route_ids):
    reconciler.policy = POLICY.model_copy(update={"proof_lasts": MOMENT})
    await reconciler.run()
    handle = harness.client.get_workflow_handle(RECONCILE_WORKFLOW_ID)
    events = [event async for event in handle.fetch_history_events()]
    # One observation and one page. Each further page of 25 routes takes six events.
    assert len(events) <= 17


async def test_times_are_utc(harness, reconciler, route_ids):
    before = datetime.now(UTC)
    done = await reconciler.dry_run()
    assert before <= done.observed.at <= datetime.now(UTC)
