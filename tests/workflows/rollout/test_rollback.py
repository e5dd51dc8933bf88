"""The rollback of a rollout: which routes it touches, and to which release."""

import pytest
from temporalio.client import WorkflowUpdateFailedError

from relight.domain.base import Origin
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RouteProgress,
    SetConcurrency,
)
from relight.domain.route import RouteStatus
from tests.workflows.rollout.conftest import six_routes, until_holding
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

BAD_SIGNATURE = "W: GPG error: http://repository.example stable InRelease: BADSIG"
CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="to check a host"))


async def converged_in_part(harness, tag, *, waves):
    """Roll a release out to the first wave only, and leave it there; return the status."""
    rollout = await harness.start_rollout(tag, waves=waves, approval="canary", roll_back=False)
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    return await harness.ended(rollout)


async def test_run_again_after_a_part_it_rolls_back_only_what_this_run_changed(harness, route_ids):
    part = await converged_in_part(harness, "v0.0.74", waves=("2", "100%"))
    before = [each.route_id for each in part.routes if each.progress is RouteProgress.CONVERGED]
    changed = [each for each in route_ids if each not in before]
    installs = {each: list(harness.hosts.of(each).installs) for each in before}
    harness.hosts.of(changed[-1]).unhealthy_version = "0.0.74"
    again = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=True
    )
    ended = await harness.ended(again)
    assert ended.phase is RolloutPhase.STOPPED
    assert ended.count(RouteProgress.ROLLED_BACK) == 4
    assert harness.current_tags(before) == ["v0.0.74"] * 2
    assert {each: harness.hosts.of(each).installs for each in before} == installs
    assert harness.current_tags(changed) == ["v0.0.73"] * 4
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}


async def test_each_route_goes_back_to_its_own_release_from_before(harness, route_ids):
    ahead, *rest = route_ids
    await harness.swap(ahead, "v0.0.74")
    rollout = await harness.start_rollout(
        "v0.0.78", waves=("1", "100%"), max_concurrent=6, approval="canary", roll_back=True
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    canary = next(each for each in route_ids if harness.current_tags([each]) == ["v0.0.78"])
    # After the plan was made, an operator brings another route ahead.
    later = next(each for each in reversed(rest) if each != canary)
    await harness.swap(later, "v0.0.74")
    failing = next(each for each in rest if each not in {canary, later})
    harness.hosts.of(failing).unhealthy_version = "0.0.78"
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await harness.ended(rollout)
    assert ended.count(RouteProgress.ROLLED_BACK) == 6
    released = dict(zip(route_ids, harness.current_tags(route_ids), strict=True))
    own = {each: "v0.0.74" if each in {ahead, later} else "v0.0.73" for each in route_ids}
    assert released == own


async def test_a_rollback_leaves_a_route_that_an_operator_has_brought_elsewhere(harness, route_ids):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("2", "100%"), approval="canary", roll_back=True
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    canaries = [each for each in route_ids if harness.current_tags([each]) == ["v0.0.74"]]
    await harness.swap(canaries[0], "v0.0.78")
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    ended = await harness.ended(rollout)
    assert (ended.count(RouteProgress.ROLLED_BACK), ended.count(RouteProgress.CONVERGED)) == (1, 1)
    assert harness.current_tags(canaries) == ["v0.0.78", "v0.0.73"]


# ---------------------------------------------------------------- controls


async def held_rollback(harness, **strategy):
    """Bring three routes to v0.0.74 and abort; return the rollout and the gate of its rollback."""
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("3", "100%"), approval="canary", max_concurrent=1, **strategy
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    gate = harness.hosts.hold_installs()
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    await gate.reached()
    return rollout, gate


async def test_a_rollback_is_paused_and_resumed(harness, route_ids):
    rollout, gate = await held_rollback(harness)
    paused = await rollout.execute_update(RolloutRelease.pause, CONTROL)
    assert paused.phase is RolloutPhase.PAUSED
    assert paused.detail == "rollback paused by operator: to check a host"
    gate.open()
    await harness.until_status(rollout, lambda now: now.count(RouteProgress.ROLLED_BACK) == 1)
    status = harness.status(rollout)
    assert (status.phase, status.count(RouteProgress.TO_ROLL_BACK)) == (RolloutPhase.PAUSED, 2)
    assert [each.progress for each in status.routes].count(RouteProgress.TO_ROLL_BACK) == 2
    resumed = await rollout.execute_update(RolloutRelease.resume, CONTROL)
    assert resumed.phase is RolloutPhase.ROLLING_BACK
    ended = await harness.ended(rollout)
    assert (ended.phase, ended.count(RouteProgress.ROLLED_BACK)) == (RolloutPhase.ABORTED, 3)
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_an_aborted_rollback_leaves_the_other_routes_and_says_what_to_do(harness, route_ids):
    rollout, gate = await held_rollback(harness)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    gate.open()
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.ABORTED
    assert ended.detail.endswith("; rollback aborted by operator: to check a host")
    assert "relight rollout why v0.0.74, for the commands of 2 not rolled back" in ended.to_do
    assert ended.count(RouteProgress.ROLLED_BACK) == 1
    assert ended.count(RouteProgress.NOT_ROLLED_BACK) == 2
    left = [e.route_id for e in ended.routes if e.progress is RouteProgress.NOT_ROLLED_BACK]
    assert harness.current_tags(left) == ["v0.0.74"] * 2


async def test_the_concurrency_of_a_rollback_is_changed(harness, route_ids):
    rollout, gate = await held_rollback(harness)
    more = SetConcurrency(max_concurrent=3, origin=CONTROL.origin)
    await rollout.execute_update(RolloutRelease.set_concurrency, more)
    await harness.until(lambda: harness.hosts.max_concurrent("install") == 3)
    gate.open()
    assert (await harness.ended(rollout)).count(RouteProgress.ROLLED_BACK) == 3


async def test_a_new_rollout_supersedes_a_rollback(harness, route_ids):
    rollout, gate = await held_rollback(harness)
    newer = await harness.start_rollout("v0.0.78", waves=("100%",))
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SUPERSEDED)
    gate.open()
    ended = await rollout.result()
    assert "superseded by v0.0.78" in ended.detail
    assert ended.count(RouteProgress.ROLLED_BACK) == 1
    assert (await newer.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.78"] * 6


async def test_a_rollback_is_neither_approved_nor_retried(harness, route_ids):
    rollout, gate = await held_rollback(harness)
    for update in (RolloutRelease.approve, RolloutRelease.retry_failed):
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await rollout.execute_update(update, CONTROL)
        assert fault_of(refused.value.cause).summary.endswith("a rollout that is rolling back")
    gate.open()
    assert (await harness.ended(rollout)).phase is RolloutPhase.ABORTED


async def test_a_repository_fault_holds_a_rollback_until_it_is_gone(
    roomy_harness,
):
    harness, route_ids = roomy_harness, await six_routes(roomy_harness)
    rollout = await harness.start_rollout("v0.0.74", waves=("3", "100%"), approval="canary")
    await until_holding(harness, rollout, "approve")
    harness.hosts.repository_fault = BAD_SIGNATURE
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    await until_holding(harness, rollout, "no host is to blame")
    harness.hosts.repository_fault = ""
    ended = await harness.ended(rollout)
    assert (ended.phase, ended.count(RouteProgress.ROLLED_BACK)) == (RolloutPhase.ABORTED, 3)
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
