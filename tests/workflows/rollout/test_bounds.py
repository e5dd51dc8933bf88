"""What a rollout sends, keeps and shows is bounded in bytes, whatever its hosts print."""

import asyncio

import pytest

from relight.domain.fault.table import fault
from relight.domain.rollout.rollout import (
    MAX_LISTED_ROUTES,
    RolloutPhase,
    RouteOutcome,
    RouteProgress,
)
from relight.domain.rollout.strategy import Strategy
from relight.domain.rollout.wave import AdvanceWaveInput, WaveWork
from relight.store.rollout_choice import Chosen
from tests.store.fleets import opening_rollout, rollout_run
from tests.workflows.rollout.conftest import six_routes
from workflows.rollout.pages import rollout_page

SECONDS = 30
LONG_LINES = tuple(f"panic: {number} " + "x" * 100_000 for number in range(20))
MAX_PAYLOAD_BYTES = 2 * 1024 * 1024
"""Temporal's limit of one payload."""


async def largest_event(handle):
    """Return the size of the largest event in a workflow's history, in bytes."""
    return max([event.ByteSize() async for event in handle.fetch_history_events()])


async def test_routes_that_crash_with_long_log_lines_stop_a_rollout_and_the_store_has_the_log(
    roomy_harness, monkeypatch
):
    harness = roomy_harness
    await six_routes(harness)
    monkeypatch.setattr("devkit.simulated.host._PANIC", LONG_LINES)
    rollout = await harness.start_rollout(
        "v0.0.76", waves=("100%",), max_concurrent=6, roll_back=False
    )
    ended = await asyncio.wait_for(harness.ended(rollout), SECONDS)
    assert ended.phase is RolloutPhase.STOPPED
    assert ended.count(RouteProgress.FAILED) == 6
    assert len(ended.model_dump_json()) < 10_000
    assert await largest_event(rollout) < 50_000
    run_id = harness.store.rollouts.list()[-1].run_id
    whole = harness.store.rollout_status.get(run_id, whole=True)
    assert whole is not None
    faults = [each.fault for each in whole.routes if each.fault is not None]
    assert len(faults) == 6
    for each in faults:
        assert "panic: 19" in each.journal_tail[-1]
        assert len(each.model_dump_json()) < 22 * 1024


@pytest.mark.parametrize("size", [MAX_LISTED_ROUTES, 2 * MAX_LISTED_ROUTES])
def test_the_status_of_a_large_rollout_with_many_faults_fits_into_a_payload(harness, size):
    store, run = harness.store, rollout_run()
    store.rollouts.open(opening_rollout(), run.activity())
    routes = [f"route-{number}" for number in range(size)]
    store.rollout_routes.plan(run.run_id, [routes])
    long = fault("controller-bug", "x" * 100_000, "y" * 100_000)
    failed = tuple(
        RouteOutcome(route_id=each, wave=1, progress=RouteProgress.FAILED, fault=long)
        for each in routes
    )
    for ended in ((), failed):
        store.rollout_routes.advance(
            AdvanceWaveInput(
                rollout_run_id=run.run_id,
                release_tag="v0.0.74",
                work=WaveWork.SWAP,
                number=1,
                strategy=Strategy(),
                in_flight=(),
                ended=ended,
                max_in_flight=size,
            ),
            lambda waiting, _: Chosen(waiting),
            constrained=False,
        )
    status = store.rollout_status.get(run.run_id)
    assert status is not None
    assert len(status.routes) == MAX_LISTED_ROUTES
    assert status.count(RouteProgress.FAILED) == size
    assert len(status.model_dump_json()) < MAX_PAYLOAD_BYTES / 2
    assert len(rollout_page(status)) < 100_000
