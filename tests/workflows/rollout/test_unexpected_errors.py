"""An error in a wave that nothing expects fails its route, and the rollout still ends."""

import asyncio

from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from tests.workflows.rollout.conftest import six_routes
from workflows.rollout.wave import Wave

SECONDS = 30


async def test_an_unexpected_error_on_one_route_fails_that_route_with_the_error(
    roomy_harness, monkeypatch
):
    harness, route_ids = roomy_harness, await six_routes(roomy_harness)
    broken, *rest = route_ids
    operate = Wave._operate

    async def failing(wave, outcome):
        if outcome.route_id == broken:
            raise TypeError("a bug on one route")
        await operate(wave, outcome)

    monkeypatch.setattr(Wave, "_operate", failing)
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), failure_budget=1)
    ended = await asyncio.wait_for(rollout.result(), SECONDS)
    assert ended.phase is RolloutPhase.CONVERGED
    [failed] = [each for each in ended.routes if each.progress is RouteProgress.FAILED]
    assert failed.fault is not None
    assert (failed.route_id, failed.fault.kind) == (broken, "controller-bug")
    assert failed.fault.summary == "TypeError: a bug on one route"
    assert harness.current_tags(rest) == ["v0.0.74"] * 5
