"""What the Temporal UI shows of a rollout that has ended: its status, and the reason in a line."""

from collections.abc import Callable

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from relight.domain.base import Origin
from relight.domain.rollout.rollout import ControlInput, RolloutPhase, RolloutStatus
from tests.support.interference import Injection
from tests.workflows.harness import Harness
from tests.workflows.rollout.conftest import until_holding
from workflows.failures import fault_of
from workflows.rollout.rollout import RolloutRelease

CONTROL = ControlInput(origin=Origin(requested_by="operator", reason="odd graphs"))

Handle = WorkflowHandle[RolloutRelease, RolloutStatus]


async def failure_of(rollout: Handle) -> ApplicationError:
    """Return the error that a rollout failed with; check that the UI does not show it as green."""
    with pytest.raises(WorkflowFailureError) as failed:
        await rollout.result()
    described = await rollout.describe()
    assert described.status is WorkflowExecutionStatus.FAILED
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.non_retryable
    return failed.value.cause


# ---------------------------------------------------------------- stopped or aborted


async def test_a_stopped_one_fails_with_its_reason_and_what_became_of_its_routes(
    harness, route_ids
):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"), roll_back=False)
    failure = await failure_of(rollout)
    assert failure.type == "rollout-stopped"
    assert failure.message == (
        "stopped in wave 1: 2 failed, the failure budget is 0 (unit-crash-looping); "
        "routes: 2 failed, 4 untouched"
    )


async def test_a_stopped_one_fails_once_its_rollback_is_done(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"))
    failure = await failure_of(rollout)
    assert failure.message.startswith("stopped in wave 1: ")
    assert failure.message.endswith("; routes: 2 rolled back, 4 untouched")
    assert harness.current_tags(route_ids) == ["v0.0.73"] * 6
    [closed] = harness.store.rollouts.list()
    assert closed.closed_at is not None
    assert [each.workflow_id for each in harness.events(kind="rollout-closed")] == [rollout.id]


async def test_an_aborted_one_fails_with_who_aborted_it_and_why(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await until_holding(harness, rollout)
    await rollout.execute_update(RolloutRelease.abort, CONTROL)
    failure = await failure_of(rollout)
    assert failure.type == "rollout-aborted"
    assert failure.message == (
        "aborted by operator: odd graphs; routes: 1 rolled back, 5 untouched"
    )


async def test_its_failure_carries_the_status_that_is_on_record(harness, route_ids):
    rollout = await harness.start_rollout("v0.0.76", waves=("2", "100%"), roll_back=False)
    [carried] = (await failure_of(rollout)).details
    assert RolloutStatus.model_validate(carried) == harness.status(rollout)
    assert await harness.ended(rollout) == harness.status(rollout)


async def test_one_that_is_aborted_before_it_has_changed_a_route_says_so(harness, route_ids):
    gate = harness.hosts.hold_installs()
    first = await harness.start_rollout("v0.0.74", waves=("100%",), roll_back=False)
    await gate.reached()
    second = await harness.start_rollout("v0.0.78")
    await harness.until_status(first, lambda now: now.phase is RolloutPhase.SUPERSEDED)
    await second.execute_update(RolloutRelease.abort, CONTROL)
    failure = await failure_of(second)
    assert failure.message == "aborted by operator: odd graphs; nothing was changed"
    gate.open()
    await first.result()


async def test_an_undo_that_is_stopped_fails_too(harness, route_ids):
    await (await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)).result()
    for route_id in route_ids:
        harness.hosts.of(route_id).unhealthy_version = "0.0.73"
    undo = await harness.start_rollout(
        "v0.0.74", undo=True, waves=("1", "100%"), failure_budget=0, max_concurrent=1
    )
    failure = await failure_of(undo)
    assert failure.type == "rollout-stopped"
    assert failure.message.endswith("; routes: 1 failed, 5 untouched")


# ---------------------------------------------------------------- nothing is left to a person


async def test_one_that_converged_or_was_superseded_is_completed(harness, route_ids):
    first = await harness.start_rollout("v0.0.74", waves=("1", "100%"), approval="canary")
    await until_holding(harness, first)
    second = await harness.start_rollout("v0.0.78", waves=("100%",), max_concurrent=6)
    for rollout, phase in (
        (first, RolloutPhase.SUPERSEDED),
        (second, RolloutPhase.CONVERGED),
    ):
        assert (await rollout.result()).phase is phase
        assert (await rollout.describe()).status is WorkflowExecutionStatus.COMPLETED


# ---------------------------------------------------------------- refused


async def unknown_release(harness: Harness) -> Handle:
    return await harness.start_rollout("v9.9.9")


async def unknown_track(harness: Harness) -> Handle:
    return await harness.start_rollout("v0.0.74", "track:nowhere")


async def scope_without_routes(harness: Harness) -> Handle:
    harness.store.tracks.set("empty", None, harness.operation())
    return await harness.start_rollout("v0.0.74", "track:empty")


async def not_installable(harness: Harness) -> Handle:
    harness.releases.add("v0.0.90", "amd64")  # The control plane has it, the hosts do not.
    return await harness.start_rollout("v0.0.90")


async def no_way_back(harness: Harness) -> Handle:
    harness.releases.remove("v0.0.73")
    return await harness.start_rollout("v0.0.74")


async def unknown_check(harness: Harness) -> Handle:
    return await harness.start_rollout("v0.0.74", checks=("smoke",))


async def all_ahead(harness: Harness) -> Handle:
    newer = await harness.start_rollout("v0.0.78", waves=("100%",), max_concurrent=6)
    await newer.result()
    return await harness.start_rollout("v0.0.74")


async def nothing_to_undo(harness: Harness) -> Handle:
    return await harness.start_rollout("v0.0.78", undo=True)


async def undo_to_a_release_that_is_gone(harness: Harness) -> Handle:
    newer = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    await newer.result()
    harness.releases.remove("v0.0.73")
    return await harness.start_rollout("v0.0.74", undo=True)


REFUSED: dict[Callable[[Harness], object], str] = {
    unknown_release: "release-unknown",
    unknown_track: "unknown-track",
    scope_without_routes: "no-routes",
    not_installable: "preflight-failed",
    no_way_back: "preflight-failed",
    unknown_check: "preflight-failed",
    all_ahead: "downgrade-refused",
    nothing_to_undo: "no-routes",
    undo_to_a_release_that_is_gone: "release-unknown",
}


@pytest.mark.parametrize(
    ("start", "kind"), REFUSED.items(), ids=[each.__name__ for each in REFUSED]
)
async def test_a_refused_one_fails_and_says_that_nothing_was_changed(
    harness, route_ids, start, kind
):
    rollout = await start(harness)
    failure = await failure_of(rollout)
    fault = fault_of(failure)
    assert (fault.kind, failure.type) == (kind, kind)
    assert failure.message == f"{fault.summary}; nothing was changed"
    assert rollout.first_execution_run_id is not None
    assert harness.recorded_status(rollout) is None


async def test_one_that_is_ended_by_a_fault_says_what_becomes_of_its_routes(harness, route_ids):
    harness.interference.inject(Injection.FAILS_BEFORE, "close_rollout")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",), max_concurrent=6)
    failure = await failure_of(rollout)
    fault = fault_of(failure)
    assert failure.message == f"{fault.summary}; its routes keep the releases that they have"
    assert harness.current_tags(route_ids) == ["v0.0.74"] * 6
    assert harness.status(rollout).phase is RolloutPhase.ABORTED
