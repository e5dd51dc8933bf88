"""HotSwapRoute: only a proof changes a route's current release."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from temporalio.client import Client, WorkflowFailureError

from devkit.simulated.parts import SERVICE
from relight.domain.names import route_workflow_id
from relight.domain.route import RouteStatus
from tests.support.interference import CUT_SHORT, REPEATED, Injection
from tests.workflows.harness import Harness
from tests.workflows.installation import small_installation
from tests.workflows.matrix import run_cells
from workflows.failures import fault_of

STEPS = ("load_route", "resolve_release", "swap_route")


@pytest.fixture
async def route_id(harness):
    """A route that serves v0.0.73."""
    return await harness.serving_route()


async def test_a_route_is_swapped_and_proven_in_the_order_of_its_steps(harness, route_id):
    swapped = await harness.swap(route_id, "v0.0.74")
    assert (swapped.previous_release_tag, swapped.release_tag) == ("v0.0.73", "v0.0.74")
    assert tuple(harness.interference.ran) == STEPS
    route = harness.route(route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.SERVING, "v0.0.74")
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]


@pytest.mark.parametrize("injection", REPEATED)
async def test_a_step_that_runs_again_installs_once_and_records_once(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        route_id = await harness.serving_route()
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        await harness.swap(route_id, "v0.0.74")
        assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
        assert harness.route(route_id).current_release_tag == "v0.0.74"
        assert len(harness.events(route_id, "route-proven")) == 2

    await run_cells(roomy_harness, cell, STEPS)


@pytest.mark.parametrize("injection", CUT_SHORT)
async def test_a_step_that_is_cut_short_records_no_new_release(roomy_harness, injection):
    async def cell(harness: Harness, step: str) -> None:
        route_id = await harness.serving_route()
        harness.interference.inject(injection, step, route_workflow_id(route_id))
        with pytest.raises(WorkflowFailureError):
            await harness.swap(route_id, "v0.0.74")
        route = harness.route(route_id)
        assert route.current_release_tag == "v0.0.73"
        assert route.status is RouteStatus.FAULTED
        assert route.fault is not None
        assert len(harness.events(route_id, "fault-recorded")) == 1
        assert [each.key for each in await harness.machines_of(route_id)] == [f"{route_id}-g1"]

    # A swap that is proven is recorded, although it is cancelled or fails then: see below.
    before_it_acts = injection is Injection.FAILS_BEFORE
    await run_cells(roomy_harness, cell, STEPS if before_it_acts else STEPS[:-1])


async def test_cancelled_after_the_proof_it_is_still_recorded(harness, route_id):
    harness.interference.inject(Injection.CANCELLED_AFTER, "swap_route")
    await harness.swap(route_id, "v0.0.74")
    route = harness.route(route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.SERVING, "v0.0.74")
    assert harness.events(route_id, "fault-recorded") == []


async def test_a_cancelled_swap_stops_the_change_and_the_next_one_repairs_the_host(
    harness, route_id
):
    gate = harness.hosts.hold_installs()
    swap = await harness.start_swap(route_id, "v0.0.74")
    await gate.reached()
    await swap.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await swap.result()
    assert fault_of(failed.value.cause).kind == "cancelled"
    host, route = harness.hosts.of(route_id), harness.route(route_id)
    assert (host.transactions, host.status) == ({}, "iF")
    assert (route.status, route.current_release_tag) == (RouteStatus.FAULTED, "v0.0.73")
    gate.open()
    assert (await harness.swap(route_id, "v0.0.74")).release_tag == "v0.0.74"
    assert (host.status, host.version) == ("ii", "0.0.74")


@pytest.fixture
async def impatient_harness(
    temporal_client: Client, tmp_path: Path, short_waits: None
) -> AsyncIterator[Harness]:
    """An installation whose hosts stop a change after a second."""
    service = replace(SERVICE, change_deadline=timedelta(seconds=1))
    async with small_installation(temporal_client, tmp_path, service=service) as harness:
        yield harness


async def test_a_change_that_hangs_is_stopped_and_is_the_releases_fault(impatient_harness):
    harness = impatient_harness
    route_id = await harness.serving_route()
    gate = harness.hosts.hold_installs()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, "v0.0.74")
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.fault_class) == ("change-timed-out", "release")
    assert len(harness.events(route_id, "swap-attempted")) == 1
    gate.open()
    assert (await harness.swap(route_id, None)).release_tag == "v0.0.73"
    assert harness.hosts.of(route_id).status == "ii"


async def test_a_faulted_route_serves_again_after_a_proven_swap(harness, route_id):
    with pytest.raises(WorkflowFailureError):
        await harness.swap(route_id, "v0.0.76")
    assert harness.route(route_id).status is RouteStatus.FAULTED
    await harness.swap(route_id, "v0.0.78")
    route = harness.route(route_id)
    assert (route.status, route.fault) == (RouteStatus.SERVING, None)


async def test_an_unknown_tag_is_refused_and_writes_nothing(harness, route_id):
    before = harness.events()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, "v9.9.9")
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("release-unknown", True)
    assert "v9.9.9" in fault.summary
    assert harness.events() == before
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")


async def test_an_unknown_route_is_refused(harness):
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap("nobody", "v0.0.74")
    assert fault_of(failed.value.cause).kind == "unknown-route"
    assert harness.store.routes.get("nobody") is None


async def test_a_rollback_returns_to_the_last_proven_release_and_may_downgrade(harness, route_id):
    await harness.swap(route_id, "v0.0.74")
    with pytest.raises(WorkflowFailureError):
        await harness.swap(route_id, "v0.0.75")
    assert (await harness.swap(route_id, None)).release_tag == "v0.0.74"
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.74")
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74", "0.0.75", "0.0.74"]


async def test_a_rollback_of_a_healthy_route_goes_to_the_release_before(harness, route_id):
    await harness.swap(route_id, "v0.0.74")
    assert (await harness.swap(route_id, None)).release_tag == "v0.0.73"
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74", "0.0.73"]


async def test_without_an_earlier_release_a_rollback_is_refused_and_the_route_keeps_serving(
    harness, route_id
):
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, None)
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("no-release-before", True)
    assert harness.route(route_id).status is RouteStatus.SERVING


async def test_a_healthy_route_is_not_swapped_to_an_older_release_and_stays_as_it_is(
    harness, route_id
):
    before = harness.route(route_id), harness.events()
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, "v0.0.70")
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("downgrade-refused", True)
    assert f"`relight route swap {route_id} v0.0.70 --allow-downgrade`" in fault.summary
    assert (harness.route(route_id), harness.events()) == before
    assert harness.hosts.of(route_id).installs == ["0.0.73"]


async def test_what_the_host_refuses_leaves_the_route_and_its_target_as_they_were(
    harness, route_id
):
    harness.hosts.of(route_id).version = "0.0.78"  # Somebody installed it by hand.
    with pytest.raises(WorkflowFailureError) as failed:
        await harness.swap(route_id, "v0.0.74")
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("downgrade-refused", True)
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")


async def test_a_route_goes_back_to_its_own_release_if_its_host_was_upgraded_by_hand(
    harness, route_id
):
    host = harness.hosts.of(route_id)
    host.version, host.file = "0.0.74", host.file + 1
    assert (await harness.swap(route_id, "v0.0.73")).release_tag == "v0.0.73"
    assert (host.version, harness.route(route_id).status) == ("0.0.73", RouteStatus.SERVING)


async def test_a_failed_route_goes_back_to_any_release_that_it_has_run_without_a_flag(
    harness, route_id
):
    await harness.swap(route_id, "v0.0.74")
    with pytest.raises(WorkflowFailureError):
        await harness.swap(route_id, "v0.0.76")
    assert (await harness.swap(route_id, "v0.0.73")).release_tag == "v0.0.73"
    assert harness.route(route_id).status is RouteStatus.SERVING


async def test_a_fault_is_logged_with_its_host_route_release_and_class(harness, route_id):
    context = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(context) as logged, pytest.raises(WorkflowFailureError):
        await harness.swap(route_id, "v0.0.76")
    [line] = [line for line in logged if line.get("error.type") == "unit-crash-looping"]
    assert line["fault.class"] == "release"
    assert line["host.name"] == f"{route_id}-g1"
    assert line["host.ip"] == harness.route(route_id).machine.address
    assert (line["route.id"], line["workflow.id"]) == (route_id, f"route/{route_id}")
    assert (line["release.tag"], line["activity.type"]) == ("v0.0.76", "swap_route")
