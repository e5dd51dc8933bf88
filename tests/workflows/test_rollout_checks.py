"""RolloutRelease asks the checks that its strategy names, after each wave."""

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
from tests.workflows.harness import small_installation
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
def asked(tmp_path: Path) -> Path:
    """Where the command `smoke` writes down of which wave it was asked."""
    return tmp_path / "asked"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """What the command `smoke` does besides."""
    path = tmp_path / "script"
    path.write_text("echo fine\n")
    return path


@pytest.fixture
def checks(prometheus, asked, script):
    smoke = f'echo "$RELIGHT_ROLLOUT_TAG $RELIGHT_ROLLOUT_WAVE" >> {asked}; . {script}'
    return {
        "errors": PrometheusCheck(
            prometheus.url, 'errors{v="$release"}', Bounds(at_most=0.01), MINUTE
        ),
        "smoke": CommandCheck(("/bin/sh", "-c", smoke), MINUTE),
        "gone": CommandCheck((str(script.with_name("gone")),), MINUTE),
    }


@pytest.fixture
async def harness(temporal_client: Client, tmp_path: Path, checks):
    async with small_installation(temporal_client, tmp_path, checks) as made:
        yield made


@pytest.fixture
async def route_ids(harness):
    return await three_routes(harness)


async def three_routes(harness):
    route_ids = sorted(harness.new_route_id() for _ in range(3))
    for route_id in route_ids:
        await harness.start_provision(route_id)
    # Not by their results, while which are waited for a server may skip time.
    await harness.until(lambda: tags(harness, route_ids) == ["v0.0.73"] * 3)
    harness.interference.leave_alone()
    return route_ids


def tags(harness, route_ids):
    routes = map(harness.store.routes.get, route_ids)
    return [route.current_release_tag if route else None for route in routes]


def decisions(harness):
    events = harness.events(kind="rollout-decided")
    return [(event.detail["decision"], event.detail["reason"]) for event in events]


async def test_all_that_pass_after_each_wave_let_it_converge(harness, route_ids, prometheus, asked):
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("errors", "smoke"))
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert prometheus.queries == ['errors{v="v0.0.74"}'] * 2
    assert asked.read_text().splitlines() == ["v0.0.74 1", "v0.0.74 2"]
    for decision, reason in decisions(harness):
        assert decision == "promote"
        assert "check errors: 0.002; at most 0.01 passes; check smoke: exit code 0: fine" in reason


async def test_none_is_asked_that_is_not_named(harness, route_ids, prometheus):
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert prometheus.queries == []
    assert "check_gate" not in harness.interference.ran


async def test_one_that_does_not_pass_stops_it_and_says_what_was_seen(
    harness, route_ids, prometheus, asked
):
    prometheus.answer = vector("0.02", job="api")
    rollout = await harness.start_rollout(
        "v0.0.74", waves=WAVES, checks=("errors", "smoke"), approval="canary"
    )
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.STOPPED
    why = 'check errors does not pass: 0.02 of {job="api"}; at most 0.01 passes'
    assert ended.detail == f"stopped in wave 1: {why}"
    assert decisions(harness) == [("abort", why)]
    assert (ended.count(RouteProgress.CONVERGED), ended.count(RouteProgress.UNTOUCHED)) == (1, 2)
    assert not asked.exists()
    assert harness.store.settings.get("default_release_tag") == "v0.0.73"


async def test_one_that_does_not_pass_after_the_last_wave_takes_it_back_where_that_is_said(
    harness, route_ids, script
):
    script.write_text('[ "$RELIGHT_ROLLOUT_WAVE" = 1 ] || { echo no page; exit 1; }\n')
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("smoke",), roll_back=True)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.STOPPED
    assert "check smoke does not pass: exit code 1: no page" in ended.detail
    assert [decision for decision, _ in decisions(harness)] == ["promote", "abort"]
    assert ended.count(RouteProgress.ROLLED_BACK) == 3
    assert tags(harness, route_ids) == ["v0.0.73"] * 3


async def test_they_are_asked_after_the_soak(harness, route_ids, prometheus):
    rollout = await harness.start_rollout(
        "v0.0.74", waves=("100%",), checks=("errors",), soak="PT2S"
    )
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.SOAKING)
    assert prometheus.queries == []
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.interference.ran.index("begin_proofs") < harness.interference.ran.index(
        "check_gate"
    )


async def test_an_unknown_name_is_refused_before_the_first_host(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", checks=("errors", "smok"))
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("preflight-failed", True)
    assert fault.summary == ("RELIGHT_GATE_CHECKS has no check smok; there are errors, gone, smoke")
    assert tags(harness, route_ids) == ["v0.0.73"] * 3


async def test_not_yet_is_asked_again(harness, route_ids, asked, script):
    script.write_text(f"[ $(wc -l < {asked}) -ge 2 ] || exit 75\n")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), checks=("smoke",))
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert asked.read_text().splitlines() == ["v0.0.74 1"] * 2


async def test_an_abort_does_not_wait_for_a_check_and_ends_its_program(
    harness, route_ids, script, tmp_path
):
    pid = tmp_path / "pid"
    script.write_text(f"echo $$ > {pid}; sleep 1000\n")
    rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("smoke",))
    await harness.until(lambda: pid.exists() and bool(pid.read_text()))
    assert "check smoke is asked" in (await rollout.query(RolloutRelease.status)).detail
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    async with asyncio.timeout(40):
        ended = await rollout.result()
    assert ended.phase is RolloutPhase.ABORTED
    assert decisions(harness) == []
    assert not alive(int(pid.read_text()))


async def test_one_that_gives_no_answer_holds_it_until_it_does(
    skipping_client: Client, tmp_path: Path, checks, script
):
    async with small_installation(skipping_client, tmp_path, checks) as harness:
        route_ids = await three_routes(harness)
        rollout = await harness.start_rollout("v0.0.74", waves=WAVES, checks=("gone",))
        ending = asyncio.create_task(rollout.result())  # while it is awaited, time is skipped

        async def holds() -> bool:
            status = await rollout.query(RolloutRelease.status)
            return status.phase is RolloutPhase.HOLDING

        try:
            await wait_until(holds, timedelta(seconds=30))
            status = await rollout.query(RolloutRelease.status)
            assert "check gone: " in status.detail
            assert "cannot be run: No such file" in status.detail
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
        assert tags(harness, route_ids) == ["v0.0.74"] * 3
