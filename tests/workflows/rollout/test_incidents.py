"""Incidents: what holds a rollout, what does not, and for how long."""

import pytest

from relight.domain.base import Origin
from relight.domain.names import route_workflow_id
from relight.domain.rollout.rollout import ControlInput, RolloutPhase, RouteProgress
from relight.domain.route import RouteStatus
from tests.store.sql import execute
from tests.workflows.rollout.conftest import six_routes, until_holding
from workflows.rollout.rollout import RolloutRelease

CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="to check a host"))
BAD_SIGNATURE = "W: GPG error: http://repository.example stable InRelease: BADSIG"


async def test_a_repository_fault_holds_it_as_one_incident_until_the_fault_is_gone(
    roomy_harness,
):
    harness, route_ids = roomy_harness, await six_routes(roomy_harness)
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("2", "100%"))
    status = await until_holding(harness, rollout, "no host is to blame")
    assert status.count(RouteProgress.FAILED) == 0
    assert "by itself" in status.to_do
    # It holds at the first of the two swaps that meet the fault.
    serving = (RouteStatus.SERVING, "v0.0.73")
    await harness.until(
        lambda: all(
            (route.status, route.target_release_tag) == serving
            for route in map(harness.route, route_ids)
        )
    )
    harness.hosts.repository_fault = ""
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    assert ended.count(RouteProgress.CONVERGED) == 6
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


async def test_an_incident_can_be_aborted_and_no_host_has_failed(harness, route_ids):
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"))
    await until_holding(harness, rollout)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    ended = await harness.ended(rollout)
    assert ended.phase is RolloutPhase.ABORTED
    assert ended.count(RouteProgress.FAILED) == 0
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6


async def test_one_route_with_an_incident_does_not_starve_the_others(roomy_harness):
    harness, route_ids = roomy_harness, await six_routes(roomy_harness)
    first, *rest = route_ids
    harness.hosts.of(first).repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=1)
    await harness.until(lambda: harness.current_tags(rest) == ["v0.0.74"] * 5)
    await until_holding(harness, rollout, first)
    harness.hosts.of(first).repository_fault = ""
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


@pytest.mark.usefixtures("wave_form")
async def test_an_incident_beyond_its_limit_pauses_the_rollout_until_a_person_resumes_it(
    roomy_harness,
):
    harness, route_ids = roomy_harness, await six_routes(roomy_harness)
    harness.hosts.repository_fault = BAD_SIGNATURE
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), incident_limit="PT1S")
    await harness.until_status(rollout, lambda now: now.phase is RolloutPhase.PAUSED)
    status = harness.status(rollout)
    assert "an incident has lasted since" in status.detail
    assert "relight rollout resume" in status.to_do
    [held] = harness.events(kind="rollout-decided")
    assert (held.detail["decision"], held.detail["reason"]) == ("hold", status.detail)
    harness.hosts.repository_fault = ""
    await rollout.execute_update(RolloutRelease.resume, CONTROL)
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6


async def test_an_operation_that_was_terminated_fails_its_route_and_is_not_repeated(
    harness, route_ids
):
    gate = harness.hosts.hold_installs()
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), roll_back=False)
    await gate.reached()
    [swapping], *_ = (await rollout.execute_update(RolloutRelease.planned)).waves
    await harness.client.get_workflow_handle(route_workflow_id(swapping)).terminate("by hand")
    ended = await harness.ended(rollout)
    gate.open()
    assert ended.phase is RolloutPhase.STOPPED
    assert (ended.count(RouteProgress.FAILED), ended.count(RouteProgress.UNTOUCHED)) == (1, 5)
    assert "terminated" in ended.detail


async def test_a_route_that_runs_a_newer_release_is_skipped_at_once_and_the_others_converge(
    harness, route_ids
):
    ahead, *rest = route_ids
    await harness.swap(ahead, "v0.0.78")
    before = harness.route(ahead)
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), failure_budget=0)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    [skipped] = [each for each in ended.routes if each.progress is RouteProgress.SKIPPED]
    assert skipped.fault is not None
    assert (skipped.route_id, skipped.fault.kind) == (ahead, "downgrade-refused")
    assert "`relight rollout undo v0.0.78 --track stable`" in skipped.fault.summary
    assert harness.route(ahead) == before
    assert harness.current_tags(rest) == ["v0.0.74"] * 5


async def test_a_route_that_lost_its_machine_is_skipped_with_the_reason(
    harness, route_ids, tmp_path
):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await until_holding(harness, rollout)
    lost = next(each for each in route_ids if harness.current_tags([each]) == ["v0.0.73"])
    execute(
        f"sqlite:///{tmp_path / 'fleet.db'}",
        f"UPDATE routes SET machine_key = NULL, status = 'failed' WHERE route_id = '{lost}'",
    )
    await rollout.execute_update(RolloutRelease.approve, CONTROL)
    ended = await rollout.result()
    assert ended.phase is RolloutPhase.CONVERGED
    [skipped] = [each for each in ended.routes if each.progress is RouteProgress.SKIPPED]
    assert skipped.fault is not None
    assert (skipped.route_id, skipped.fault.kind) == (lost, "route-without-machine")
    assert harness.route(lost).status is RouteStatus.FAILED
