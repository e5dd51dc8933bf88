"""The result of a verification is recorded only if the route was not changed meanwhile."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.fault.fault import Fault
from relight.domain.proof import Proof
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route import Route, RouteStatus
from relight.store.errors import BadValueError
from relight.store.fleet_snapshot import FleetSnapshot
from relight.store.rollout_choice import Chosen
from relight.store.store import Store
from relight.store.verifications import RouteBegun, RouteProven
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
from tests.store.sql import execute

LATER = OBSERVED_AT + timedelta(hours=1)


def verify_run() -> Run:
    return Run("reconcile")


def every_route(waiting: Sequence[str], snapshot: FleetSnapshot) -> Chosen:
    return Chosen(waiting)


def proof(at: datetime = LATER, tag: str = "v0.0.73") -> Proof:
    return proving(tag=tag, at=at).proof


def proven(before: Route, run: Run, drift: Fault | None = None) -> RouteProven:
    """What a verification of a route has to record; each is an activity of its own."""
    return RouteProven(before, proof(), run.activity(), drift)


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


def test_proofs_are_recorded_together(store: Store) -> None:
    routes = [serve(store, f"r-{number}") for number in (1, 2, 3)]
    run = verify_run()
    proofs = [proven(route, run) for route in routes]
    assert store.verifications.record_proofs(proofs) == {"r-1", "r-2", "r-3"}
    assert {route_of(store, each.route_id).proven_at for each in routes} == {LATER}
    events = store.events.list(kind="route-proven")[-3:]
    assert [(each.route_id, each.run_id) for each in events] == [
        (route.route_id, run.run_id) for route in routes
    ]
    assert [each.detail["proof"] for each in events] == [proof().model_dump(mode="json")] * 3


def test_proofs_that_an_earlier_attempt_recorded_are_left_to_record(store: Store) -> None:
    before, run = serve(store), verify_run()
    once = proven(before, run)
    assert store.verifications.record_proofs([once]) == {"r-1"}
    # Also where the route is again as it was: as of an attempt that proved the same.
    again = RouteProven(route_of(store), once.proof, once.operation)
    assert store.verifications.record_proofs([again]) == frozenset()
    assert store.verifications.record(before, "v0.0.73", once.proof, once.operation) is None
    assert len(store.events.list(kind="route-proven")) == 2


def test_the_drift_of_a_proven_host_is_recorded_with_its_proof(store: Store) -> None:
    before = serve(store)
    drifted = proven(before, verify_run(), drift=FAULT)
    assert store.verifications.record_proofs([drifted]) == {"r-1"}
    [event] = store.events.list(kind="drift-found")
    assert (event.route_id, event.fault_kind) == ("r-1", FAULT.kind)
    assert route_of(store).status is RouteStatus.SERVING


def test_a_proof_that_is_not_recorded_hides_no_other(store: Store) -> None:
    changed, held, unknown, good = (serve(store, f"r-{number}") for number in (1, 2, 3, 4))
    run = verify_run()
    proofs = [
        proven(changed, run),
        proven(held, run),
        proven(unknown.model_copy(update={"route_id": "r-9"}), run),
        proven(good, run),
    ]
    store.routes.record_proof(proving(at=LATER + timedelta(minutes=1)), run_on().activity())
    taken = store.disruptions.take("r-2", "repair", run_on("r-2").activity(), every_route)
    assert taken is None
    recorded = [route_of(store, each) for each in ("r-1", "r-2", "r-3")]
    assert store.verifications.record_proofs(proofs) == {"r-4"}
    assert [route_of(store, each) for each in ("r-1", "r-2", "r-3")] == recorded
    assert route_of(store, "r-4").proven_at == LATER


def test_a_damaged_record_hides_no_other(store: Store, store_url: str) -> None:
    damaged, good, run = serve(store, "r-1"), serve(store, "r-2"), verify_run()
    execute(store_url, "UPDATE routes SET status = 'servign' WHERE route_id = 'r-1'")
    proofs = [proven(damaged, run), proven(good, run)]
    assert store.verifications.record_proofs(proofs) == {"r-2"}
    assert route_of(store, "r-2").proven_at == LATER
    with pytest.raises(BadValueError, match="route r-1"):
        store.verifications.record(damaged, "v0.0.73", proofs[0].proof, proofs[0].operation)


def test_where_the_database_refuses_one_proof_none_is_recorded_together(store: Store) -> None:
    routes, run = [serve(store, f"r-{number}") for number in (1, 2)], verify_run()
    one, other = (proven(each, run) for each in routes)
    proofs = [one, replace(other, operation=one.operation)]  # Two events of one activity.
    assert store.verifications.record_proofs(proofs) == frozenset()
    assert [route_of(store, each.route_id) for each in routes] == routes
    assert len(store.events.list(kind="route-proven")) == 2
