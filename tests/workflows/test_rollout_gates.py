"""RolloutRelease between its waves: incidents, verdicts, approvals, and what operators may do."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError

from relight.domain.base import Origin
from relight.domain.hold import (
    Exclusion,
    FreezeWindow,
    Selector,
)
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RouteProgress,
    SetConcurrency,
    SkipRoute,
)
from relight.domain.route import RouteStatus
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

ORIGIN = Origin(requested_by="operator", reason="to look closer")
CONTROL = ControlInput(origin=ORIGIN)
BAD_SIGNATURE = "W: GPG error: http://repository.example stable InRelease: BADSIG"


@pytest.fixture
async def route_ids(harness):
    """Six routes on two regions that serve v0.0.73."""
    route_ids = [harness.new_route_id() for _ in range(6)]
    await asyncio.gather(
        *(
            harness.provision(route_id, region=f"fake-{'east' if number % 2 else 'west'}")
            for number, route_id in enumerate(route_ids)
        )
    )
    harness.interference.leave_alone()
    return sorted(route_ids)


def tags(harness, route_ids):
    return [harness.route(route_id).current_release_tag for route_id in route_ids]


def decisions(harness):
    return [event.detail["decision"] for event in harness.events(kind="rollout-decided")]


async def holds(harness, rollout, words=""):
    await harness.until_status(
        rollout, lambda now: now.phase is RolloutPhase.HOLDING and words in now.detail
    )
    return await rollout.query(RolloutRelease.status)


# ---------------------------------------------------------------- incidents


async def test_a_repositorys_fault_holds_it_as_one_incident_and_it_goes_on_by_itself(
    harness, route_ids
):
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"))
    status = await holds(harness, rollout, "no host is to blame")
    assert status.count(RouteProgress.FAILED) == 0
    assert "by itself" in status.to_do
    for route_id in route_ids:
        route = harness.route(route_id)
        assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    harness.hosts.repository_fault = ""
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert ended.count(RouteProgress.CONVERGED) == 6
    assert tags(harness, route_ids) == ["v0.0.74"] * 6


async def test_an_incident_can_be_aborted_and_blames_no_host(harness, route_ids):
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await holds(harness, rollout)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.ABORTED
    assert ended.count(RouteProgress.FAILED) == 0
    assert tags(harness, route_ids) == ["v0.0.73"] * 6


# ---------------------------------------------------------------- before the first host


async def test_a_release_that_a_region_cannot_install_is_refused_naming_the_region(
    harness, route_ids
):
    harness.releases.add("v0.0.90", "amd64")  # the control plane sees it, the hosts do not
    rollout = await harness.start_rollout("v0.0.90")
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("preflight-failed", True)
    assert "region fake/fake-east" in fault.summary
    assert "region fake/fake-west" in fault.summary
    assert "'0.0.90' for 'lantern-box' was not found" in fault.summary
    assert tags(harness, route_ids) == ["v0.0.73"] * 6


async def test_a_release_without_a_way_back_is_refused(harness, route_ids):
    harness.releases.remove("v0.0.73")
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_rollout("v0.0.74")).result()
    assert "no way back to v0.0.73" in fault_of(failed.value.cause).summary


# ---------------------------------------------------------------- verdicts and people


async def test_a_verdict_that_knows_too_little_holds_until_somebody_approves(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("2", "100%"), tolerated_failure_rate=0.2, inconclusive="hold"
    )
    status = await holds(harness, rollout, "95 % confidence")
    assert status.count(RouteProgress.CONVERGED) == 2
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert decisions(harness) == ["hold", "promote"]
    [approval] = harness.events(kind="rollout-approve")
    assert (approval.requested_by, approval.reason) == (ORIGIN.requested_by, ORIGIN.reason)


async def test_it_widens_the_canary_where_the_strategy_says_so(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("1", "100%"), tolerated_failure_rate=0.2, inconclusive="widen"
    )
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    waves = [outcome.wave for outcome in ended.routes]
    assert [waves.count(number) for number in (1, 2, 3, 4)] == [1, 1, 2, 2]
    assert decisions(harness)[:3] == ["widen", "widen", "widen"]


async def test_it_waits_for_approval_after_its_canary_and_nobody_else_may_approve_later(
    harness, route_ids
):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "50%"), approval="canary")
    await holds(harness, rollout, "approve")
    assert tags(harness, route_ids).count("v0.0.74") == 1
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert len(harness.events(kind="rollout-approve")) == 1


async def test_what_needs_no_approval_refuses_one(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await gate.reached()
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await rollout.execute_update(RolloutRelease.approve, CONTROL)
    assert "cannot approve" in fault_of(refused.value.cause).summary
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def test_after_its_soak_a_wave_is_proven_again_and_what_broke_meanwhile_stops_it(
    harness, route_ids
):
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), soak="PT2S")
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SOAKING)
    swapped = next(each for each in route_ids if tags(harness, [each]) == ["v0.0.74"])
    harness.hosts.of(swapped).running = "0.0.77"  # it is not healthy any more
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.STOPPED
    assert "probe-failed" in ended.detail
    assert ended.count(RouteProgress.FAILED) == 1
    assert ended.count(RouteProgress.UNTOUCHED) == 4
    assert harness.route(swapped).status is RouteStatus.FAULTED


async def test_a_soak_that_all_survive_lets_it_converge(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"), soak="PT1S")
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    proofs = [len(harness.events(each, "route-proven")) for each in route_ids]
    assert proofs == [3] * 6  # at its first boot, at its swap, after its soak


# ---------------------------------------------------------------- failure


async def test_stopped_it_takes_every_route_back_that_it_touched_the_good_ones_too(
    harness, route_ids
):
    failing = route_ids[0]
    harness.hosts.of(failing).sick_at = "0.0.74"
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=True
    )
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.STOPPED
    assert ended.count(RouteProgress.ROLLED_BACK) == 6
    for route_id in route_ids:
        route = harness.route(route_id)
        assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    assert tags(harness, route_ids) == ["v0.0.73"] * 6
    assert harness.store.settings.get("default_release_tag") == "v0.0.73"


async def test_aborted_it_takes_what_it_touched_back_and_leaves_the_rest_alone(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("1", "100%"), approval="canary", roll_back=True
    )
    await holds(harness, rollout)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.ABORTED
    assert (ended.count(RouteProgress.ROLLED_BACK), ended.count(RouteProgress.UNTOUCHED)) == (1, 5)
    assert tags(harness, route_ids) == ["v0.0.73"] * 6


# ---------------------------------------------------------------- operators


async def test_a_route_that_failed_is_tried_again_and_one_that_waits_is_skipped(harness, route_ids):
    failing, skipped = route_ids[0], route_ids[-1]
    harness.hosts.of(failing).sick_at = "0.0.74"
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
    harness.hosts.of(failing).sick_at = None
    await rollout.execute_update(RolloutRelease.retry_failed, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert (ended.count(RouteProgress.CONVERGED), ended.count(RouteProgress.SKIPPED)) == (5, 1)
    assert tags(harness, [failing, skipped]) == ["v0.0.74", "v0.0.73"]
    [event] = harness.events(kind="rollout-skip")
    assert (event.route_id, event.requested_by) == (skipped, ORIGIN.requested_by)


async def test_its_speed_is_changed_on_the_way(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=1)
    await gate.reached()
    await rollout.execute_update(
        RolloutRelease.set_concurrency, SetConcurrency(max_concurrent=4, origin=ORIGIN)
    )
    await harness.until(lambda: harness.hosts.most_at_once("install") == 4)
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.hosts.most_at_once("install") == 4


# ---------------------------------------------------------------- restraints


async def test_no_more_of_a_region_are_out_at_once_than_its_budget_allows(harness, route_ids):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, disruption_budget={"region": "1"}
    )
    await harness.until(lambda: harness.hosts.most_at_once("install") == 2)
    gate.open()
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.hosts.most_at_once("install") == 2  # one of each region


async def test_excluded_routes_are_left_out_and_a_route_that_came_late_is_taken(harness, route_ids):
    excluded, late = route_ids[0], harness.new_route_id()
    harness.store.exclusions.add(
        Exclusion(
            covers=Selector(route_id=excluded),
            owner="ops",
            reason="under investigation",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        ),
        harness.operation(),
    )
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    plan = await rollout.execute_update(RolloutRelease.planned)
    assert [(each.route_id, each.owner) for each in plan.left_out] == [(excluded, "ops")]
    await holds(harness, rollout)
    await harness.provision(late)
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert ended.count(RouteProgress.CONVERGED) == 6
    assert tags(harness, [excluded, late]) == ["v0.0.73", "v0.0.74"]


async def test_a_freeze_window_is_waited_for(harness, route_ids):
    now = datetime.now(UTC)
    harness.store.freezes.add(
        FreezeWindow(
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(seconds=6),
            owner="ops",
            reason="a match is on",
            covers=Selector(region="fake-east"),
        ),
        harness.operation(),
    )
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    status = await holds(harness, rollout, "freeze window")
    assert status.count(RouteProgress.CONVERGED) <= 3
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert datetime.now(UTC) >= now + timedelta(seconds=6)
