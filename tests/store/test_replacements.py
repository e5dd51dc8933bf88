"""A route's next machine is created before the old one is destroyed."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.route import RouteStatus
from relight.store.errors import (
    RouteOccupiedError,
    UnknownRouteError,
    WrongMachineError,
)
from tests.store.fleets import (
    FAULT,
    MANUAL,
    ORIGIN,
    failing,
    machine,
    opening,
    proving,
    recording,
    replace_machine,
    route_of,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import claim, made_ready

PROOF = proving(tag="v0.0.74").proof
AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)


def test_a_replacement_is_planned_beside_the_serving_machine(store):
    before = serve(store)
    opened = store.replacements.plan("r-1", run_on().activity())
    assert (opened.machine_key, opened.generation) == ("r-1-g2", 2)
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "planned")]
    assert route_of(store) == before


def test_the_next_run_gets_the_replacement_that_a_terminated_run_left_behind(store):
    serve(store)
    gone, next_run = run_on(), run_on()
    store.replacements.plan("r-1", gone.activity())
    store.routes.record_machine(recording("r-1-g2"), gone.activity())
    assert store.replacements.plan("r-1", next_run.activity()).machine_key == "r-1-g2"
    store.routes.record_fault(failing(key="r-1-g2", destroyed=True), next_run.activity())
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "destroyed")]
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g3"


@pytest.mark.parametrize("key_received", [True, False])
def test_a_failed_replacement_leaves_the_route_unchanged(store, key_received):
    before, run = serve(store), run_on()
    store.replacements.plan("r-1", run.activity())
    key = "r-1-g2" if key_received else None
    store.routes.record_fault(failing(key=key, destroyed=True), run.activity())
    assert route_of(store) == before
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "destroyed")]


def test_a_failed_replacement_that_still_exists_leaves_the_route_unchanged(store):
    before, run = serve(store), run_on()
    store.replacements.plan("r-1", run.activity())
    store.routes.record_fault(failing(key="r-1-g2"), run.activity())
    assert route_of(store) == before


def test_planning_needs_the_lock_of_the_route(store):
    serve(store)
    for stranger in (MANUAL, run_on("r-2").activity()):
        with pytest.raises(RouteOccupiedError, match="serving on machine r-1-g1"):
            store.replacements.plan("r-1", stranger)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.replacements.plan("r-9", run_on("r-9").activity())


def test_the_new_machine_serves_and_the_old_one_drains(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    old = replace_machine(store)
    assert (old.key, old.generation, old.status) == ("r-1-g1", 1, "draining")
    assert old.provider_id == "id-of-r-1-g1"
    route = route_of(store)
    assert (route.status, route.fault, route.machine) == (
        RouteStatus.SERVING,
        None,
        machine("r-1-g2"),
    )
    assert route.target_release_tag == route.current_release_tag == "v0.0.74"
    assert route.proven_at == PROOF.observed_at
    assert statuses(store) == [("r-1-g1", "draining"), ("r-1-g2", "running")]
    [event] = store.events.list(kind="machine-attached")
    assert (event.detail["drained_generation"], event.detail["generation"]) == (1, 2)
    assert store.routes.proven_tags("r-1") == ["v0.0.73", "v0.0.74"]


def test_a_pool_machine_is_attached_in_the_same_way(store):
    serve(store)
    key = made_ready(store)
    run = run_on()
    claimed = claim(store, activity=run.activity())
    store.replacements.attach("r-1", claimed.machine, PROOF, run.activity())
    assert statuses(store) == [("r-1-g1", "draining"), (key, "running")]
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g3"


def test_retries_change_nothing(store):
    serve(store)
    run = run_on()
    planning, attaching, destroying = run.activity(), run.activity(), run.activity()
    for _ in range(2):
        store.replacements.plan("r-1", planning)
        old = store.replacements.attach("r-1", machine("r-1-g2"), PROOF, attaching)
        store.destructions.record("r-1-g1", destroying, reason="replaced")
        assert old is not None
        assert old.key == "r-1-g1"
    assert statuses(store) == [("r-1-g1", "destroyed"), ("r-1-g2", "running")]
    for kind in ("replacement-machine-planned", "machine-attached", "machine-destroyed"):
        assert len(store.events.list(kind=kind)) == 1


def test_attaching_clears_the_request_and_the_loss_of_the_old_machine(store):
    serve(store)
    store.remediations.request_replacement("r-1", MANUAL)
    store.remediations.record_gone_since("r-1", datetime.now(UTC))
    replace_machine(store)
    history = store.remediations.histories(AN_HOUR_AGO)["r-1"]
    assert (history.replacement_requested_by, history.gone_since, history.machine_key) == (
        None,
        None,
        "r-1-g2",
    )


def test_a_late_write_does_not_restore_the_old_machine(store):
    serve(store)
    late = run_on()
    replace_machine(store)
    with pytest.raises(WrongMachineError, match="r-1-g1 is draining"):
        store.routes.record_proof(proving(), late.activity())
    store.routes.record_fault(failing(key="r-1-g1"), late.activity())
    assert route_of(store).status is RouteStatus.SERVING
    store.destructions.record("r-1-g1", MANUAL, reason="replaced")
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_proof(proving(), late.activity())


def test_a_proof_alone_does_not_replace_the_serving_machine(store):
    serve(store)
    store.replacements.plan("r-1", run_on().activity())
    with pytest.raises(WrongMachineError, match="served by machine r-1-g1"):
        store.routes.record_proof(proving(generation=2), run_on().activity())


def test_a_machine_of_the_pool_or_another_route_is_not_attached(store):
    serve(store)
    serve(store, "r-2")
    key = made_ready(store)
    with pytest.raises(WrongMachineError, match="belongs to the pool"):
        store.replacements.attach("r-1", machine(key), PROOF, run_on().activity())
    with pytest.raises(WrongMachineError, match="belongs to route r-2"):
        store.replacements.attach("r-1", machine("r-2-g1"), PROOF, run_on().activity())


def test_a_route_without_a_machine_is_attached_and_nothing_drains(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(fault=FAULT, key="r-1-g1", destroyed=True), run.activity())
    assert replace_machine(store) is None
    assert route_of(store).machine == machine("r-1-g2")
    assert store.destructions.list(AN_HOUR_AGO) == []
    assert store.events.list()[-1].requested_by == ORIGIN.requested_by
