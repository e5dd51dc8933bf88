"""What holds a rollout for a month costs a bounded number of events, over all runs and waves."""

from datetime import UTC, datetime, timedelta

import pytest

from activities import policies
from relight.domain.hold import Hold, HoldKind, Selector
from relight.domain.names import track_scope
from relight.domain.rollout.rollout import RolloutPhase, RouteProgress
from relight.store.events import Operation
from relight.store.rollout_choice import Chosen
from tests.support.time_skipping import skip
from tests.workflows.harness import ORIGIN
from tests.workflows.rollout.conftest import until_holding
from tests.workflows.rollout.histories import histories
from tests.workflows.rollout.test_rollback import CONTROL
from workflows.rollout.rollout import RolloutRelease

MONTH = timedelta(days=30)
MAX_EVENTS = 2000
BAD_SIGNATURE = "W: GPG error: http://repository.example stable InRelease: BADSIG"


@pytest.fixture
def harness(skipping_harness, monkeypatch):
    """On the server that skips time. What is held looks each hour: that makes no events."""
    monkeypatch.setattr(policies.ADMISSION.retry, "maximum_interval", timedelta(hours=1))
    return skipping_harness


@pytest.fixture
async def route_ids(harness):
    """Four routes of one region."""
    return sorted([await harness.serving_route() for _ in range(4)])


async def held_for_a_month(harness, rollout):
    """Let a month pass; check that it costs few events in all, and return the status."""
    await skip(harness.client, MONTH.days)
    found = await histories(harness.client, rollout)
    events = sum(len(events) for runs in found.values() for events in runs)
    assert events < MAX_EVENTS
    return harness.status(rollout)


async def test_a_budget_that_another_operation_has_spent(harness, route_ids):
    harness.store.tracks.set("beta", None, harness.operation())
    repaired = await harness.serving_route(track="beta")
    other = Operation(ORIGIN, workflow_id=f"route/{repaired}", run_id="another")
    harness.store.disruptions.take(repaired, "a repair", other, lambda ids, _: Chosen(ids))
    rollout = await harness.start_rollout(
        "v0.0.74", track_scope("stable"), waves=("100%",), disruption_budget={"region": "1"}
    )
    await until_holding(harness, rollout, "are out")
    status = await held_for_a_month(harness, rollout)
    assert (status.phase, status.count(RouteProgress.WAITING)) == (RolloutPhase.HOLDING, 4)
    assert harness.interference.ran.count("await_admission") > MONTH / timedelta(hours=1) - 10
    assert harness.store.disruptions.release(repaired, other)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 4


async def test_a_freeze_that_is_removed(harness, route_ids):
    now = datetime.now(UTC)
    freeze = Hold(
        kind=HoldKind.FREEZE,
        starts_at=now,
        ends_at=now + 2 * MONTH,
        owner="ops",
        reason="a match is on",
        covers=Selector(track=harness.track),
    )
    added = harness.store.freezes.add(freeze, harness.operation())
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",))
    await until_holding(harness, rollout, "freeze window")
    await held_for_a_month(harness, rollout)
    assert harness.store.freezes.remove(added.hold_id, harness.operation())
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def test_an_incident_that_may_last_so_long(harness, route_ids):
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), incident_limit=2 * MONTH)
    status = await held_for_a_month(harness, rollout)
    assert (status.phase, status.count(RouteProgress.FAILED)) == (RolloutPhase.HOLDING, 0)
    harness.hosts.repository_fault = ""
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED


async def test_an_approval_and_a_pause(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await until_holding(harness, rollout, "approve")
    await held_for_a_month(harness, rollout)
    await rollout.execute_update(RolloutRelease.pause, CONTROL)
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    status = await held_for_a_month(harness, rollout)
    assert status.count(RouteProgress.WAITING) == 3
    await rollout.execute_update(RolloutRelease.resume, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
