"""The result of a verification is recorded only if the route was not changed meanwhile."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.proof import Proof
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route import RouteStatus
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Chosen
from relight.store.store import Store
from relight.store.verifications import RouteBegun
from tests.store.fleets import (
    FAULT,
    OBSERVED_AT,
    Run,
    failing,
    plan_rollout,
    proving,
    route_of,
    run_on,
    serve,
)

LATER = OBSERVED_AT + timedelta(hours=1)


def verify_run() -> Run:
    return Run("reconcile")


def every_route(waiting: Sequence[str], snapshot: FleetSnapshot) -> Chosen:
    return Chosen(waiting)


def proof(at: datetime = LATER, tag: str = "v0.0.73") -> Proof:
    return proving(tag=tag, at=at).proof


def test_a_proof_is_recorded(store: Store) -> None:
    before = serve(store)
    assert store.verifications.record(before, "v0.0.73", proof(), verify_run().activity()) is None
    assert route_of(store).proven_at == LATER
    assert store.routes.proven_tags("r-1") == ["v0.0.73", "v0.0.73"]


def test_a_retry_writes_once(store: Store) -> None:
    before, activity = serve(store), verify_run().activity()
    for _ in range(2):
        assert store.verifications.record(before, "v0.0.73", proof(), activity) is None
    assert len(store.events.list(kind="route-proven")) == 2


def test_a_fault_at_the_proven_release_is_drift_and_leads_to_a_repair(store: Store) -> None:
    before = serve(store)
    assert store.verifications.record(before, "v0.0.73", FAULT, verify_run().activity()) is None
    assert route_of(store).status is RouteStatus.FAULTED
    [event] = store.events.list(kind="drift-found")
    assert (event.fault_kind, event.machine_key) == (FAULT.kind, "r-1-g1")
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=1))["r-1"]
    assert decide_remediation(history, ReplacementPolicy(), now).remediation is Remediation.REPAIR


def test_the_same_fault_of_a_swap_is_the_fault_of_the_release(store: Store) -> None:
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=1))["r-1"]
    assert (
        decide_remediation(history, ReplacementPolicy(), now).remediation is Remediation.LEAVE_ALONE
    )


def test_a_fault_at_a_release_that_was_not_proven_there_is_no_drift(store: Store) -> None:
    before = serve(store)
    store.verifications.record(before, "v0.0.74", FAULT, verify_run().activity())
    assert store.events.list(kind="drift-found") == []
    assert len(store.events.list(kind="fault-recorded")) == 1


@pytest.mark.parametrize("result", [proof(), FAULT], ids=["proof", "fault"])
def test_a_route_that_was_changed_meanwhile_is_not_written(store: Store, result) -> None:
    before = serve(store)
    store.routes.record_proof(proving(at=LATER + timedelta(minutes=1)), run_on().activity())
    recorded = route_of(store), store.events.list()
    refusal = store.verifications.record(before, "v0.0.73", result, verify_run().activity())
    assert refusal == "it was changed meanwhile"
    assert (route_of(store), store.events.list()) == recorded


def test_an_unknown_route_is_not_written(store: Store) -> None:
    before = serve(store).model_copy(update={"route_id": "r-9"})
    assert (
        store.verifications.record(before, "v0.0.73", proof(), verify_run().activity()) is not None
    )


@pytest.mark.parametrize("result", [proof(), FAULT], ids=["proof", "fault"])
def test_a_route_that_another_operation_works_on_is_not_written(store: Store, result) -> None:
    before = serve(store)
    run = run_on()
    assert store.disruptions.take("r-1", "repair", run.activity(), every_route) is None
    assert store.verifications.routes_in_operation() == {"r-1"}
    refusal = store.verifications.record(before, "v0.0.73", result, verify_run().activity())
    assert refusal == "another operation works on it"
    assert route_of(store) == before


def test_a_route_that_waits_in_a_rollout_is_not_in_operation(store: Store) -> None:
    serve(store)
    plan_rollout(store, ["r-1"])
    assert store.verifications.routes_in_operation() == frozenset()


def test_a_destroyed_machine_proves_nothing(store: Store) -> None:
    before = serve(store)
    store.destructions.record("r-1-g1", run_on().activity(), reason="a test")
    refusal = store.verifications.record(before, "v0.0.73", proof(), verify_run().activity())
    assert refusal == "it was changed meanwhile"


def test_routes_are_begun_with_their_machine_and_whether_an_operation_has_them(
    store: Store,
) -> None:
    before = serve(store)
    assert store.verifications.begin(["r-1", "nobody"]) == {
        "r-1": RouteBegun(before, in_operation=False)
    }
    assert store.disruptions.take("r-1", "repair", run_on().activity(), every_route) is None
    assert store.verifications.begin(["r-1"])["r-1"].in_operation
