"""What a look from outside an operation saw is written down only where it is still news."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.proof import Proof
from relight.domain.remediation import Remediation, ReplacementPolicy, decide_remediation
from relight.domain.route import RouteStatus
from relight.store.store import Store
from tests.store.fleets import (
    FAULT,
    SEEN_AT,
    Run,
    failing,
    proving,
    route_of,
    run_on,
    serve,
)
from tests.store.test_disruptions import rolling, take

LATER = SEEN_AT + timedelta(hours=1)


def verify_run() -> Run:
    return Run("reconcile")


def proof(at: datetime = LATER, tag: str = "v0.0.73") -> Proof:
    return proving(tag=tag, at=at).proof


def test_a_proof_is_written_as_any_other(store: Store) -> None:
    seen = serve(store)
    assert store.verifications.record(seen, "v0.0.73", proof(), verify_run().activity()) is None
    assert route_of(store).proven_at == LATER
    assert store.routes.proven_tags("r-1") == ["v0.0.73", "v0.0.73"]


def test_one_look_writes_once(store: Store) -> None:
    seen, activity = serve(store), verify_run().activity()
    for _ in range(2):
        assert store.verifications.record(seen, "v0.0.73", proof(), activity) is None
    assert len(store.events.list(kind="route-proven")) == 2


def test_a_fault_where_the_release_ran_is_drift_and_asks_for_a_repair(store: Store) -> None:
    seen = serve(store)
    assert store.verifications.record(seen, "v0.0.73", FAULT, verify_run().activity()) is None
    assert route_of(store).status is RouteStatus.FAULTED
    [event] = store.events.list(kind="drift-found")
    assert (event.fault_kind, event.machine_key) == (FAULT.kind, "r-1-g1")
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=1))["r-1"]
    assert decide_remediation(history, ReplacementPolicy(), now).remediation is Remediation.REPAIR


def test_the_same_fault_of_a_swap_is_the_release_s(store: Store) -> None:
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    now = datetime.now(UTC)
    history = store.remediations.histories(now - timedelta(hours=1))["r-1"]
    assert (
        decide_remediation(history, ReplacementPolicy(), now).remediation is Remediation.LEAVE_ALONE
    )


def test_a_fault_at_a_release_that_never_ran_there_is_no_drift(store: Store) -> None:
    seen = serve(store)
    store.verifications.record(seen, "v0.0.74", FAULT, verify_run().activity())
    assert store.events.list(kind="drift-found") == []
    assert len(store.events.list(kind="fault-recorded")) == 1


@pytest.mark.parametrize("result", [proof(), FAULT], ids=["proof", "fault"])
def test_whatever_changed_meanwhile_is_known_better(store: Store, result) -> None:
    seen = serve(store)
    store.routes.record_proof(proving(at=LATER + timedelta(minutes=1)), run_on().activity())
    before = route_of(store), store.events.list()
    why_not = store.verifications.record(seen, "v0.0.73", result, verify_run().activity())
    assert why_not == "it was changed meanwhile"
    assert (route_of(store), store.events.list()) == before


def test_a_route_that_is_gone_is_left(store: Store) -> None:
    seen = serve(store).model_copy(update={"route_id": "r-9"})
    assert store.verifications.record(seen, "v0.0.73", proof(), verify_run().activity()) is not None


@pytest.mark.parametrize("result", [proof(), FAULT], ids=["proof", "fault"])
def test_a_route_that_somebody_holds_is_left_to_them(store: Store, result) -> None:
    seen = serve(store)
    assert take(store, "r-1") is None
    assert store.verifications.under_way() == {"r-1"}
    why_not = store.verifications.record(seen, "v0.0.73", result, verify_run().activity())
    assert why_not == "somebody works on it"
    assert route_of(store) == seen


def test_a_route_that_waits_in_a_rollout_is_not_under_way(store: Store) -> None:
    serve(store)
    rolling(store, ["r-1"])
    assert store.verifications.under_way() == frozenset()


def test_a_machine_on_its_way_to_its_end_proves_nothing(store: Store) -> None:
    seen = serve(store)
    store.destructions.record("r-1-g1", run_on().activity(), reason="to see")
    why_not = store.verifications.record(seen, "v0.0.73", proof(), verify_run().activity())
    assert why_not == "it was changed meanwhile"
