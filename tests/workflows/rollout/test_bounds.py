"""What a rollout sends, keeps and shows is bounded in bytes, whatever its hosts print."""

import asyncio
from datetime import UTC, datetime

import pytest

from relight.domain.fault.table import fault
from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    RolloutPhase,
    RolloutPlan,
    RolloutReleaseInput,
    RouteOutcome,
    RouteProgress,
)
from tests.workflows.harness import ORIGIN
from tests.workflows.rollout.conftest import six_routes
from workflows.rollout.state import RolloutState

SECONDS = 30
LONG_LINES = tuple(f"panic: {number} " + "x" * 100_000 for number in range(20))
MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
"""Temporal's limit of one payload."""


async def largest_event(handle):
    """Return the size of the largest event in a workflow's history, in bytes."""
    return max([event.ByteSize() async for event in handle.fetch_history_events()])


async def test_routes_that_crash_with_long_log_lines_stop_a_rollout_and_the_store_has_the_log(
    unsandboxed_harness, monkeypatch
):
    harness, route_ids = unsandboxed_harness, await six_routes(unsandboxed_harness)
    monkeypatch.setattr("tests.support.simulated_host._PANIC", LONG_LINES)
    rollout = await harness.start_rollout(
        "v0.0.76", waves=("100%",), max_concurrent=6, roll_back=False
    )
    ended = await asyncio.wait_for(rollout.result(), SECONDS)
    assert ended.phase is RolloutPhase.STOPPED
    assert ended.count(RouteProgress.FAILED) == 6
    assert len(ended.model_dump_json()) < 10_000
    wave = harness.client.get_workflow_handle(f"{rollout.id}/1/swap")
    for handle in (rollout, wave):
        assert await largest_event(handle) < 50_000
    run_id = harness.store.rollouts.list()[-1].run_id
    whole = harness.store.rollout_routes.faults(run_id, route_ids)
    assert sorted(whole) == route_ids
    for each in whole.values():
        assert "panic: 19" in each.journal_tail[-1]
        assert len(each.model_dump_json()) < 22 * 1024


@pytest.mark.parametrize("named", [True, False])
def test_the_status_of_a_large_rollout_with_many_faults_fits_into_a_payload(monkeypatch, named):
    monkeypatch.setattr("workflows.rollout.state.workflow.now", lambda: datetime.now(UTC))
    state = RolloutState(RolloutReleaseInput(release_tag="v0.0.74", scope="fleet", origin=ORIGIN))
    size = MAX_LISTED_ROUTES if named else 10_000
    routes = tuple(f"route-{number}" for number in range(size))
    state.set_plan(
        RolloutPlan(
            release_tag="v0.0.74",
            scope="fleet",
            version="0.0.74",
            waves=(routes if named else routes[:20],),
            sizes=(size,),
        )
    )
    long = fault("controller-bug", "x" * 100_000, "y" * 100_000)
    failed = [
        RouteOutcome(route_id=each, wave=1, progress=RouteProgress.FAILED, fault=long).brief
        for each in routes
    ]
    state.record_progress({RouteProgress.FAILED: size}, failed)
    status = state.status()
    assert len(status.routes) == MAX_LISTED_ROUTES
    assert status.count(RouteProgress.FAILED) == size
    assert len(status.model_dump_json()) < MAX_PAYLOAD_BYTES / 2
    assert len(state.details()) < 100_000
