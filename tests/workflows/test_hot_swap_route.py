"""HotSwapRoute: only a proof changes what a route is said to run."""

import pytest
import structlog
from temporalio.client import WorkflowFailureError

from relight.domain.route import RouteStatus
from tests.support.interference import Injection
from workflows.failures import fault_of

STEPS = (
    "load_route",
    "resolve_release",
    "set_target",
    "swap_release",
    "record_proof",
)


@pytest.fixture
async def route_id(harness):
    """A route that serves v0.0.73."""
    route_id = harness.new_route_id()
    await harness.provision(route_id)
    harness.interference.leave_alone()
    return route_id


async def test_a_route_is_swapped_and_proven_in_the_order_of_its_steps(harness, route_id):
    swapped = await (await harness.start_swap(route_id, "v0.0.74")).result()
    assert (swapped.previous_release_tag, swapped.release_tag) == ("v0.0.73", "v0.0.74")
    assert tuple(harness.interference.ran) == STEPS
    route = harness.route(route_id)
    assert (route.status, route.current_release_tag) == (RouteStatus.SERVING, "v0.0.74")
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("injection", [Injection.REPLY_LOST, Injection.RUN_TWICE])
async def test_a_step_that_runs_again_installs_once_and_records_once(
    harness, route_id, injection, step
):
    harness.interference.bring(injection, step, harness.client)
    await (await harness.start_swap(route_id, "v0.0.74")).result()
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
    assert harness.route(route_id).current_release_tag == "v0.0.74"
    assert len(harness.events(route_id, "route-proven")) == 2


@pytest.mark.parametrize("step", STEPS[:-1])
@pytest.mark.parametrize(
    "injection",
    [
        Injection.CANCELLED_BEFORE,
        Injection.CANCELLED_AFTER,
        Injection.FAILS_BEFORE,
        Injection.FAILS_AFTER,
    ],
)
async def test_a_step_that_is_cut_short_claims_no_new_release(harness, route_id, injection, step):
    harness.interference.bring(injection, step, harness.client)
    with pytest.raises(WorkflowFailureError):
        await (await harness.start_swap(route_id, "v0.0.74")).result()
    route = harness.route(route_id)
    assert route.current_release_tag == "v0.0.73"
    assert route.status is RouteStatus.FAULTED
    assert route.fault is not None
    assert len(harness.events(route_id, "fault-recorded")) == 1
    assert [machine.key for machine in await harness.machines_of(route_id)] == [f"{route_id}-g1"]


async def test_a_faulted_route_serves_again_after_a_swap_that_is_proven(harness, route_id):
    with pytest.raises(WorkflowFailureError):
        await (await harness.start_swap(route_id, "v0.0.76")).result()
    assert harness.route(route_id).status is RouteStatus.FAULTED
    await (await harness.start_swap(route_id, "v0.0.78")).result()
    route = harness.route(route_id)
    assert (route.status, route.fault) == (RouteStatus.SERVING, None)


async def test_an_unknown_tag_is_refused_and_the_route_serves_on(harness, route_id):
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_swap(route_id, "v9.9.9")).result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("release-unknown", True)
    assert "v9.9.9" in fault.summary
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")


async def test_an_unknown_route_is_refused(harness):
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_swap("nobody", "v0.0.74")).result()
    assert fault_of(failed.value.cause).kind == "unknown-route"
    assert harness.store.routes.get("nobody") is None


async def test_a_rollback_goes_to_what_was_proven_before_and_may_be_a_downgrade(harness, route_id):
    await (await harness.start_swap(route_id, "v0.0.74")).result()
    with pytest.raises(WorkflowFailureError):
        await (await harness.start_swap(route_id, "v0.0.75")).result()
    back = await (await harness.start_swap(route_id, None)).result()
    assert back.release_tag == "v0.0.74"
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.74")
    further = await (await harness.start_swap(route_id, None)).result()
    assert further.release_tag == "v0.0.73"
    assert harness.hosts.of(route_id).installs == [
        "0.0.73",
        "0.0.74",
        "0.0.75",
        "0.0.74",
        "0.0.73",
    ]


async def test_with_nothing_to_go_back_to_it_refuses_and_the_route_serves_on(harness, route_id):
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_swap(route_id, None)).result()
    fault = fault_of(failed.value.cause)
    assert (fault.kind, fault.refused) == ("no-release-before", True)
    assert harness.route(route_id).status is RouteStatus.SERVING


async def test_an_older_release_is_no_rollback_and_is_refused_by_apt(harness, route_id):
    with pytest.raises(WorkflowFailureError) as failed:
        await (await harness.start_swap(route_id, "v0.0.70")).result()
    assert fault_of(failed.value.cause).kind == "downgrade-refused"
    assert harness.hosts.of(route_id).version == "0.0.73"


async def test_a_fault_is_logged_with_its_host_its_route_its_release_and_its_class(
    harness, route_id
):
    context = [structlog.contextvars.merge_contextvars]
    with structlog.testing.capture_logs(context) as logged, pytest.raises(WorkflowFailureError):
        await (await harness.start_swap(route_id, "v0.0.76")).result()
    [line] = [line for line in logged if line.get("error.type") == "unit-crash-looping"]
    assert line["fault.class"] == "release"
    assert line["host.name"] == f"{route_id}-g1"
    assert line["host.ip"] == harness.route(route_id).machine.address
    assert (line["route.id"], line["workflow.id"]) == (route_id, f"route/{route_id}")
    assert (line["release.tag"], line["activity.type"]) == ("v0.0.76", "swap_release")
