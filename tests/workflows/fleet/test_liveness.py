"""CheckLiveness over a small fleet: a dead machine is shown, verified and counted."""

from datetime import UTC, datetime

import pytest

from devkit.simulated.connectivity import FakeConnectivityCheck
from relight.domain.liveness import (
    LIVENESS_WORKFLOW_ID,
    CheckLivenessInput,
    Liveness,
    LivenessCheck,
)
from relight.domain.reconcile.plan import ActionKind
from relight.domain.reconcile.run import VERIFY_SILENT_WORKFLOW_ID
from relight.domain.route import RouteStatus
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.reconciler import kinds
from workflows.fleet.liveness import CheckLiveness

pytestmark = pytest.mark.attack("machines that fall silent")


async def check(harness: Harness) -> LivenessCheck:
    """Check the liveness of all machines, and wait for the verifications that this starts."""
    done = await harness.client.execute_workflow(
        CheckLiveness.run,
        CheckLivenessInput(origin=ORIGIN),
        id=f"{LIVENESS_WORKFLOW_ID}-{harness.new_route_id()}",
        task_queue=harness.task_queue,
    )
    await harness.until_idle()
    return done


async def test_a_fleet_that_answers_stays_as_it_is(harness, route_ids):
    done = await check(harness)
    assert (done.machines, done.silent, done.not_probed, done.offline) == (4, 0, 0, "")
    assert harness.store.liveness.last_check() == done
    before = [harness.route(each) for each in route_ids]
    # All of them answer for the first time, which calls for nothing.
    assert "evaluate_breaker" not in harness.interference.ran
    await check(harness)
    assert [harness.route(each) for each in route_ids] == before


async def test_a_silent_machine_is_verified_at_once_and_its_fault_is_recorded(harness, route_ids):
    await check(harness)
    dead = f"{route_ids[0]}-g1"
    harness.hosts.unreachable.add(dead)
    assert (await check(harness)).silent == 1
    assert harness.store.liveness.silent().keys() == {dead}
    route = harness.route(route_ids[0])
    assert route.status is RouteStatus.FAULTED
    assert route.fault is not None
    assert route.fault.kind == "host-unreachable"
    [found] = harness.events(route_ids[0], kind="drift-found")
    assert found.workflow_id == VERIFY_SILENT_WORKFLOW_ID
    # A faulted route is a matter of the reconcile runs: no further check verifies it.
    await check(harness)
    assert len(harness.events(route_ids[0], kind="drift-found")) == 1
    assert {harness.route(each).status for each in route_ids[1:]} == {RouteStatus.SERVING}


async def test_a_machine_that_is_gone_at_its_provider_is_silent_too(harness, route_ids):
    await check(harness)
    [machine] = await harness.machines_of(route_ids[1])
    await harness.cloud.destroy(machine.ref)
    assert machine.key not in await harness.machine_keys()
    assert (await check(harness)).silent == 1
    assert harness.route(route_ids[1]).status is RouteStatus.FAULTED


async def test_a_machine_that_answers_again_is_verified_at_once(harness, route_ids):
    dead = f"{route_ids[0]}-g1"
    harness.hosts.unreachable.add(dead)
    await check(harness)
    assert harness.route(route_ids[0]).status is RouteStatus.FAULTED
    harness.hosts.unreachable.clear()
    await check(harness)
    assert harness.store.liveness.silent() == {}
    route = harness.route(route_ids[0])
    assert (route.status, route.fault) == (RouteStatus.SERVING, None)


async def test_liveness_alone_destroys_and_changes_nothing(harness, route_ids):
    """Logins work although no machine answers the probe: only proofs are recorded."""
    before = await harness.machine_keys()
    harness.hosts.mute |= {f"{each}-g1" for each in route_ids}
    for _ in range(4):
        await check(harness)
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}
    assert await harness.machine_keys() == before
    kinds_of_events = {event.kind for event in harness.events() if event.reason == ORIGIN.reason}
    assert not kinds_of_events & {"machine-destroyed", "replacement-begun", "repair-begun"}


async def test_the_reconcile_plan_knows_silence(harness, reconciler, route_ids):
    silent = Liveness(machine_key=f"{route_ids[0]}-g1", answers=False, since=datetime.now(UTC))
    harness.store.liveness.record([silent])
    planned = await reconciler.dry_run()
    assert kinds(planned)[ActionKind.VERIFY] >= 1
    reasons = {each.route_id: each.reason for each in planned.observed.plan.actions}
    assert "its machine has been silent since" in reasons[route_ids[0]]


async def test_the_breaker_sees_that_a_region_falls_silent(harness, route_ids):
    await check(harness)
    harness.hosts.unreachable |= {f"{each}-g1" for each in route_ids[:2]}
    await check(harness)
    incident = harness.store.breaker.get().incident
    assert incident is not None
    assert "region fake/fake-east: 2 of 2 machines cannot be reached" in incident.summary


async def test_nothing_is_silent_while_the_control_plane_is_offline(harness, route_ids):
    await check(harness)
    [online] = harness.parts.connectivity
    assert isinstance(online, FakeConnectivityCheck)
    harness.hosts.unreachable |= {f"{each}-g1" for each in route_ids}
    online.reached = False
    done = await check(harness)
    assert "no connectivity check" in done.offline
    assert harness.store.liveness.silent() == {}
    assert {harness.route(each).status for each in route_ids} == {RouteStatus.SERVING}


async def test_a_long_check_continues_as_new_and_counts_all_machines(roomy_harness, monkeypatch):
    monkeypatch.setattr("activities.fleet.liveness.MACHINES_PER_PAGE", 1)
    monkeypatch.setattr("workflows.fleet.liveness.PAGES_PER_RUN", 2)
    harness = roomy_harness
    first, *_ = [await harness.serving_route() for _ in range(5)]
    harness.hosts.unreachable.add(f"{first}-g1")
    done = await check(harness)
    assert (done.machines, done.silent) == (5, 1)
    assert harness.route(first).status is RouteStatus.FAULTED
    runs = [
        each.run_id
        async for each in harness.client.list_workflows(
            f"TaskQueue = '{harness.task_queue}' AND WorkflowType = 'CheckLiveness'"
        )
    ]
    assert len(runs) == 3
