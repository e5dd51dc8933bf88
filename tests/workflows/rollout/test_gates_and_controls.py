"""RolloutRelease between its waves: gates, approvals, controls and holds."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError

from devkit.simulated.host import LISTED
from relight.domain.base import Origin
from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RouteProgress,
    SetConcurrency,
    SkipRoute,
)
from relight.domain.route import RouteStatus
from tests.workflows.rollout.conftest import until_holding
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

ORIGIN = Origin(requested_by="operator", reason="to check a host")
CONTROL = ControlInput(origin=ORIGIN)
LISTS_LOCKED = """\
E: Could not get lock /var/lib/apt/lists/lock. It is held by process 42 (apt-get)
E: Unable to lock directory /var/lib/apt/lists/
"""


def decisions(harness):
    return [event.detail["decision"] for event in harness.events(kind="rollout-decided")]


# ---------------------------------------------------------------- before the first host


async def test_a_release_that_a_region_cannot_install_is_refused_and_the_region_named(
    harness, route_ids
):
    harness.releases.add("v0.0.90", "amd64")  # The control plane has it, the hosts do not.
    rollout = await harness.start_rollout("v0.0.90")
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("preflight-failed", True)
    assert "region fake/fake-east" in fault.summary
    assert "region fake/fake-west" in fault.summary
    assert "'0.0.90' for 'lantern-box' was not found" in fault.summary
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_a_release_from_which_no_rollback_is_possible_is_refused(harness, route_ids):
    harness.releases.remove("v0.0.73")
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_rollout("v0.0.74")).result()
    assert "a rollback to v0.0.73 is not possible" in fault_of(failed.value.cause).summary


async def test_a_release_from_which_no_rollback_is_possible_may_be_left_without_one(
    harness, route_ids
):
    harness.releases.remove("v0.0.73")
    rollout = await harness.start_rollout("v0.0.74", roll_back=False)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


async def test_a_rollout_of_an_exact_version_is_one_of_its_own(harness, route_ids, monkeypatch):
    versions = ("1:0.0.74-1~deb12u1", "1:0.0.74-1~deb12u2")
    for module in ("host", "hosts"):
        monkeypatch.setattr(f"devkit.simulated.{module}.LISTED", {*LISTED, *versions})
    for version in versions:
        harness.releases.add(version, "amd64")
        rollout = await harness.start_rollout(version)
        assert rollout.id == f"rollout/{version}/fleet"
        assert (await rollout.result()).phase is RolloutPhase.CONVERGED
        assert harness.current_tags(route_ids) == [version] * 6
    undone = await harness.start_rollout(versions[1], undo=True)
    assert (await undone.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == [versions[0]] * 6


async def test_hosts_that_refresh_their_lists_for_another_rollout_are_asked_again(
    harness, route_ids
):
    for route_id in route_ids:
        harness.hosts.of(route_id).dry_run_faults.append(LISTS_LOCKED)
    rollout = await harness.start_rollout("v0.0.74")
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.interference.ran.count("check_rollout") == 2


# ---------------------------------------------------------------- gates


async def test_an_inconclusive_gate_holds_until_an_operator_approves(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("2", "100%"), tolerated_failure_rate=0.2, inconclusive="hold"
    )
    status = await until_holding(harness, rollout, "95 % confidence")
    assert status.count(RouteProgress.CONVERGED) == 2
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert decisions(harness) == ["hold", "promote"]
    [approval] = harness.events(kind="rollout-approve")
    assert (approval.requested_by, approval.reason) == (ORIGIN.requested_by, ORIGIN.reason)


async def test_an_inconclusive_gate_widens_the_canary_when_the_strategy_says_so(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("1", "100%"), tolerated_failure_rate=0.2, inconclusive="widen"
    )
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    waves = [outcome.wave for outcome in ended.routes]
    assert [waves.count(number) for number in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert decisions(harness)[:3] == ["widen", "widen", "widen"]


async def test_it_waits_for_one_approval_after_its_canary(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "50%"), approval="canary")
    await until_holding(harness, rollout, "approve")
    assert harness.current_tags(route_ids).count("v0.0.74") == 1
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert len(harness.events(kind="rollout-approve")) == 1


async def test_an_approval_that_is_not_needed_is_refused(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.execute_update(RolloutRelease.approve, CONTROL)
    assert "cannot approve" in fault_of(refused.value.cause).summary
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def test_a_wave_is_proven_again_after_its_soak_and_a_route_that_failed_meanwhile_stops_it(
    harness, route_ids
):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("2", "100%"), soak="PT1S", roll_back=False
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SOAKING)
    swapped = next(each for each in route_ids if harness.current_tags([each]) == ["v0.0.74"])
    harness.hosts.of(swapped).running = "0.0.77"  # It is no longer healthy.
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.STOPPED
    assert "probe-failed" in ended.detail
    assert ended.count(RouteProgress.FAILED) == 1
    assert ended.count(RouteProgress.UNTOUCHED) == 4
    assert harness.route(swapped).status is RouteStatus.FAULTED


async def test_it_converges_when_every_route_passes_the_soak(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), soak="PT1S")
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    proofs = [len(harness.events(each, "route-proven")) for each in route_ids]
    assert proofs == [3] * 6  # At the first boot, at the swap, after the soak.


# ---------------------------------------------------------------- failure


async def test_stopped_it_rolls_back_every_route_that_it_changed(harness, route_ids):
    failing = route_ids[0]
    harness.hosts.of(failing).unhealthy_version = "0.0.74"
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=True
    )
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.STOPPED
    assert ended.count(RouteProgress.ROLLED_BACK) == 6
    for route_id in route_ids:
        route = harness.route(route_id)
        assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"


async def test_aborted_it_rolls_back_what_it_changed_and_nothing_else(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("1", "100%"), approval="canary", roll_back=True
    )
    await until_holding(harness, rollout)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.ABORTED
    assert (ended.count(RouteProgress.ROLLED_BACK), ended.count(RouteProgress.UNTOUCHED)) == (1, 5)
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


# ---------------------------------------------------------------- operators


async def test_a_failed_route_is_retried_and_a_waiting_one_is_skipped(harness, route_ids):
    failing, skipped = route_ids[0], route_ids[-1]
    harness.hosts.of(failing).unhealthy_version = "0.0.74"
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=1, failure_budget=2
    )
    await gate.reached()
    await rollout.execute_update(
        RolloutRelease.skip_route, SkipRoute(route_id=skipped, origin=ORIGIN)
    )
    with pytest.raises(WorkflowUpdateFailedError):
        await rollout.execute_update(
            RolloutRelease.skip_route, SkipRoute(route_id="nobody", origin=ORIGIN)
        )
    gate.open()
    harness.hosts.gate = None
    await harness.until_status(rollout, lambda now: now.count(RouteProgress.FAILED) == 1)
    harness.hosts.of(failing).unhealthy_version = None
    await rollout.execute_update(RolloutRelease.retry_failed, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert (ended.count(RouteProgress.CONVERGED), ended.count(RouteProgress.SKIPPED)) == (5, 1)
    assert harness.current_tags([failing, skipped]) == ["v0.0.74", "v0.0.73"]
    [event] = harness.events(kind="rollout-skip")
    assert (event.route_id, event.requested_by) == (skipped, ORIGIN.requested_by)


async def test_a_failed_route_is_not_retried_once_its_wave_has_soaked(
    harness, route_ids, monkeypatch
):
    harness.hosts.of(route_ids[0]).unhealthy_version = "0.0.74"
    proving, go_on = asyncio.Event(), asyncio.Event()
    run = harness.interference.run

    async def held(act):
        if activity.info().activity_type == "prove_release":
            proving.set()
            await go_on.wait()
        return await run(act)

    monkeypatch.setattr(harness.interference, "run", held)
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, failure_budget=1, soak="PT0.1S"
    )
    await asyncio.wait_for(proving.wait(), 30)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.execute_update(RolloutRelease.retry_failed, CONTROL)
    assert "cannot retry, after the soak, the failed" in fault_of(refused.value.cause).summary
    go_on.set()
    ended = await rollout.result()
    assert ended.counts == {RouteProgress.CONVERGED: 5, RouteProgress.FAILED: 1}


async def test_it_is_aborted_while_it_waits_for_its_scope(harness, route_ids):
    gate = harness.hosts.hold_installs()
    first = await harness.start_rollout("v0.0.74", waves=("100%",))
    await gate.reached()
    second = await harness.start_rollout("v0.0.78")
    superseded = "superseded by v0.0.78: "
    await harness.until_status(first, lambda now: now.detail.startswith(superseded))
    await second.execute_update(RolloutRelease.abort, CONTROL)
    ended = await harness.ended(second)
    assert (ended.phase, ended.detail.split(":")[0]) == (
        RolloutPhase.ABORTED,
        f"aborted by {CONTROL.origin.requested_by}",
    )
    assert harness.store.rollouts.get(second.id) is None
    gate.open()
    assert (await first.result()).phase is RolloutPhase.SUPERSEDED
    assert "v0.0.78" not in harness.current_tags(route_ids)


async def test_its_concurrency_is_changed_while_it_runs(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=1)
    await gate.reached()
    await rollout.execute_update(
        RolloutRelease.set_concurrency, SetConcurrency(max_concurrent=4, origin=ORIGIN)
    )
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 4)
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.hosts.max_concurrent("install") == 4


async def test_a_release_that_every_route_skipped_is_not_declared(harness, route_ids):
    now = datetime.now(UTC)
    harness.store.freezes.add(
        Hold(
            kind=HoldKind.FREEZE,
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(hours=1),
            owner="ops",
            reason="a match is on",
            covers=Selector(track=harness.track),
        ),
        harness.operation(),
    )
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",))
    await until_holding(harness, rollout, "freeze window")
    for route_id in route_ids:
        skip = SkipRoute(route_id=route_id, origin=ORIGIN)
        await rollout.execute_update(RolloutRelease.skip_route, skip)
    ended = await rollout.result()
    assert (ended.phase, ended.count(RouteProgress.SKIPPED)) == (RolloutPhase.CONVERGED, 6)
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"


# ---------------------------------------------------------------- budgets and holds


async def test_no_more_routes_of_a_region_are_out_than_its_budget_allows(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, disruption_budget={"region": "1"}
    )
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 2)
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.hosts.max_concurrent("install") == 2  # One of each region.


async def test_an_excluded_route_is_left_out_and_a_new_route_joins(harness, route_ids):
    excluded = route_ids[0]
    harness.store.exclusions.add(
        Hold(
            kind=HoldKind.EXCLUSION,
            starts_at=datetime.now(UTC),
            covers=Selector(route_id=excluded),
            owner="ops",
            reason="under investigation",
            ends_at=datetime.now(UTC) + timedelta(hours=1),
        ),
        harness.operation(),
    )
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    plan = await rollout.execute_update(RolloutRelease.planned)
    assert [(each.route_id, each.owner) for each in plan.left_out] == [(excluded, "ops")]
    await until_holding(harness, rollout)
    late = await harness.serving_route()
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert ended.count(RouteProgress.CONVERGED) == 6
    assert harness.current_tags([excluded, late]) == ["v0.0.73", "v0.0.74"]


async def test_it_waits_for_the_end_of_a_freeze_window(harness, route_ids):
    now = datetime.now(UTC)
    ends_at = now + timedelta(seconds=5)
    harness.store.freezes.add(
        Hold(
            kind=HoldKind.FREEZE,
            starts_at=now - timedelta(hours=1),
            ends_at=ends_at,
            owner="ops",
            reason="a match is on",
            covers=Selector(region="fake-east"),
        ),
        harness.operation(),
    )
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    status = await until_holding(harness, rollout, "freeze window")
    assert status.count(RouteProgress.CONVERGED) <= 3
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert datetime.now(UTC) >= ends_at
