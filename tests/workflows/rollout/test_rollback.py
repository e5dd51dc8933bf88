"""The rollback of a rollout: which routes it touches, and to which release."""

from relight.domain.base import Origin
from relight.domain.rollout.rollout import ControlInput, RolloutPhase, RouteProgress
from relight.domain.route import RouteStatus
from workflows.rollout.rollout import RolloutRelease

CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="to check a host"))


async def converged_in_part(harness, tag, *, waves):
    """Roll a release out to the first wave only, and leave it there; return the status."""
    rollout = await harness.start_rollout(tag, waves=waves, approval="canary", roll_back=False)
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.HOLDING)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    return await rollout.result()


async def test_run_again_after_a_part_it_rolls_back_only_what_this_run_changed(harness, route_ids):
    part = await converged_in_part(harness, "v0.0.74", waves=("2", "100%"))
    before = [each.route_id for each in part.routes if each.progress is RouteProgress.CONVERGED]
    changed = [each for each in route_ids if each not in before]
    installs = {each: list(harness.hosts.of(each).installs) for each in before}
    harness.hosts.of(changed[-1]).unhealthy_version = "0.0.74"
    again = await harness.start_rollout(
        "v0.0.74", waves=("100%",), max_concurrent=6, roll_back=True
    )
    ended = await again.result()
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
    ended = await rollout.result()
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
    ended = await rollout.result()
    assert (ended.count(RouteProgress.ROLLED_BACK), ended.count(RouteProgress.CONVERGED)) == (1, 1)
    assert harness.current_tags(canaries) == ["v0.0.78", "v0.0.73"]
