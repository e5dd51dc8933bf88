"""RolloutRelease runs the gate checks that its strategy names, after each wave."""

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowFailureError

from activities.rollout.checks import CommandCheck
from activities.rollout.prometheus import Bounds, PrometheusCheck
from relight.domain.base import Origin
from relight.domain.rollout.rollout import (
    ControlInput,
    RolloutPhase,
    RouteProgress,
)
from starter.local.children import wait_until
from tests.support.fake_prometheus import fake_prometheus, vector
from tests.support.processes import alive
from tests.workflows.installation import small_installation
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="enough"))
MINUTE = timedelta(minutes=1)
WAVES = ("1", "100%")


@pytest.fixture
def prometheus():
    with fake_prometheus() as served:
        served.answer = vector("0.002")
        yield served


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The file to which the command `smoke` appends the tag and the wave of each run."""
    return tmp_path / "runs"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The script that the command `smoke` runs then."""
    path = tmp_path / "script"
    path.write_text("echo fine\n")
    return path


@pytest.fixture
def checks(prometheus, runs, script):
    smoke = f'echo "$RELIGHT_ROLLOUT_TAG $RELIGHT_ROLLOUT_WAVE" >> {runs}; . {script}'
    return {
        "errors": PrometheusCheck(
            prometheus.url, 'errors{v="$release"}', Bounds(max_value=0.01), MINUTE
        ),
        "smoke": CommandCheck(("/bin/sh", "-c", smoke), MINUTE),
        "gone": CommandCheck((str(script.with_name("gone")),), MINUTE),
    }


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path, short_waits: None, checks):
    async with small_installation(temporal_client, tmp_path, checks=checks) as harness:
        yield harness


@pytest.fixture
async def route_ids(harness):
    return await three_routes(harness)


async def three_routes(harness):
    return sorted([await harness.serving_route() for _ in range(3)])


def decisions(harness):
    events = harness.events(kind="rollout-decided")
    return [(event.detail["decision"], event.detail["reason"]) for event in events]


async def test_it_converges_when_every_check_passes_after_each_wave(
    harness, route_ids, prometheus, runs
):
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("errors", "smoke"))
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert prometheus.queries == ['errors{v="v0.0.74"}'] * 2
    assert runs.read_text().splitlines() == ["v0.0.74 1", "v0.0.74 2"]
    for decision, reason in decisions(harness):
        assert decision == "promote"
        assert "check errors: 0.002; allowed: at most 0.01; " in reason
        assert "check smoke: exit code 0: fine" in reason


async def test_only_checks_that_the_strategy_names_are_run(harness, route_ids, prometheus):
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert prometheus.queries == []
    assert "check_gate" not in harness.interference.ran


async def test_a_check_that_fails_stops_it_and_the_detail_says_why(
    harness, route_ids, prometheus, runs
):
    prometheus.answer = vector("0.02", job="api")
    rollout = await harness.start_rollout(
        "v0.0.74",
        waves=WAVES,
        checks=("errors", "smoke"),
        approval="canary",
        roll_back=False,
    )
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.STOPPED
    reason = 'check errors does not pass: 0.02 of {job="api"}; allowed: at most 0.01'
    assert ended.detail == f"stopped in wave 1: {reason}"
    assert decisions(harness) == [("abort", reason)]
    assert (ended.count(RouteProgress.CONVERGED), ended.count(RouteProgress.UNTOUCHED)) == (1, 2)
    assert not runs.exists()
    assert harness.store.fleet_settings.get("default_release_tag") == "v0.0.73"


async def test_a_check_that_fails_after_the_last_wave_rolls_it_back(harness, route_ids, script):
    script.write_text('[ "$RELIGHT_ROLLOUT_WAVE" = 1 ] || { echo no page; exit 1; }\n')
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("smoke",))
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.STOPPED
    assert "check smoke does not pass: exit code 1: no page" in ended.detail
    assert [decision for decision, _ in decisions(harness)] == ["promote", "abort"]
    assert ended.count(RouteProgress.ROLLED_BACK) == 3
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 3


async def test_checks_run_after_the_soak(harness, route_ids, prometheus):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), checks=("errors",), soak="PT1S"
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SOAKING)
    assert prometheus.queries == []
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.interference.ran.index("begin_proofs") < harness.interference.ran.index(
        "check_gate"
    )


async def test_an_unknown_check_is_refused_before_the_first_host(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", checks=("errors", "smok"))
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("preflight-failed", True)
    assert fault.summary == ("RELIGHT_GATE_CHECKS has no check smok; there are errors, gone, smoke")
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 3


async def test_a_check_without_a_result_yet_runs_again(harness, route_ids, runs, script):
    script.write_text(f"[ $(wc -l < {runs}) -ge 2 ] || exit 75\n")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), checks=("smoke",))
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert runs.read_text().splitlines() == ["v0.0.74 1"] * 2


async def test_an_abort_ends_a_running_check_and_its_program(harness, route_ids, script, tmp_path):
    pid = tmp_path / "pid"
    script.write_text(f"echo $$ > {pid}; sleep 1000\n")
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("smoke",))
    await harness.until(lambda: pid.exists() and bool(pid.read_text()))
    assert "check smoke is running" in harness.status(rollout).detail
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    async with asyncio.timeout(40):
        ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.ABORTED
    assert decisions(harness) == []
    assert not alive(int(pid.read_text()))


async def test_a_check_that_cannot_run_holds_it_until_it_can(
    skipping_client: Client, tmp_path: Path, checks, script
):
    async with small_installation(skipping_client, tmp_path, checks=checks) as harness:
        route_ids = await three_routes(harness)
        rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("gone",))
        ending = asyncio.create_task(rollout.result())  # Time is skipped while it is awaited.

        async def holds() -> bool:
            status = harness.recorded_status(rollout)
            return status is not None and status.phase is RolloutPhase.HOLDING

        try:
            await wait_until(holds, timedelta(seconds=30))
            status = harness.status(rollout)
            assert "check gone: " in status.detail
            assert "cannot be run: no such file" in status.detail
            assert "by itself" in status.to_do
            gone = script.with_name("gone")
            gone.write_text("#!/bin/sh\n")
            gone.chmod(0o755)
            ended = await ending
        finally:
            ending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ending
        assert ended.phase is RolloutPhase.CONVERGED
        assert harness.current_tags(route_ids) == ["v0.0.74"] * 3
