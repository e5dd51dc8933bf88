"""A route's next machine beside the one that serves: created before the old one is destroyed."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.breaker.breaker import Destruction
from relight.domain.route import RouteStatus
from relight.store.errors import (
    RouteOccupiedError,
    UnknownRouteError,
    WrongMachineError,
)
from tests.store.fleets import (
    FAULT,
    HAND,
    ORIGIN,
    failing,
    machine,
    opening,
    proving,
    recording,
    route_of,
    run_on,
    serve,
    statuses,
)
from tests.store.pools import made_ready
from tests.store.test_pool import claim

PROOF = proving(tag="v0.0.74").proof


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def succeed(store, run=None, *, unreachable=False):
    """Give the route its second machine, as autoreplace does."""
    run = run or run_on()
    opened = store.replacements.plan("r-1", run.activity())
    store.routes.record_machine(recording(opened.machine_key), run.activity())
    seen = machine(opened.machine_key)
    return store.replacements.attach("r-1", seen, PROOF, run.activity(), unreachable=unreachable)


def test_a_successor_is_planned_beside_the_machine_that_serves(store):
    before = serve(store)
    opened = store.replacements.plan("r-1", run_on().activity())
    assert (opened.machine_key, opened.generation) == ("r-1-g2", 2)
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "planned")]
    assert route_of(store) == before


def test_a_successor_that_was_left_without_a_word_is_taken_up(store):
    serve(store)
    gone, next_run = run_on(), run_on()
    store.replacements.plan("r-1", gone.activity())
    store.routes.record_machine(recording("r-1-g2"), gone.activity())
    assert store.replacements.plan("r-1", next_run.activity()).machine_key == "r-1-g2"
    store.routes.record_fault(failing(key="r-1-g2", destroyed=True), next_run.activity())
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "destroyed")]
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g3"


@pytest.mark.parametrize("heard", [True, False])
def test_a_successor_that_came_to_nothing_leaves_the_route_as_it_was(store, heard):
    before, run = serve(store), run_on()
    store.replacements.plan("r-1", run.activity())
    key = "r-1-g2" if heard else None
    store.routes.record_fault(failing(key=key, destroyed=True), run.activity())
    assert route_of(store) == before
    assert statuses(store) == [("r-1-g1", "running"), ("r-1-g2", "destroyed")]


def test_a_successor_that_failed_and_is_still_there_leaves_the_route_as_it_was(store):
    before, run = serve(store), run_on()
    store.replacements.plan("r-1", run.activity())
    store.routes.record_fault(failing(key="r-1-g2"), run.activity())
    assert route_of(store) == before


def test_whoever_does_not_hold_the_lock_plans_nothing(store):
    serve(store)
    for stranger in (HAND, run_on("r-2").activity()):
        with pytest.raises(RouteOccupiedError, match="serving on machine r-1-g1"):
            store.replacements.plan("r-1", stranger)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.replacements.plan("r-9", run_on("r-9").activity())


def test_the_new_machine_serves_and_the_old_one_drains(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    old = succeed(store)
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


def test_a_machine_of_the_pool_is_attached_as_any_other(store):
    serve(store)
    key = made_ready(store)
    run = run_on()
    claimed = claim(store, activity=run.activity())
    store.replacements.attach("r-1", claimed.machine, PROOF, run.activity())
    assert statuses(store) == [("r-1-g1", "draining"), (key, "running")]
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g3"


def test_each_activity_that_runs_again_changes_nothing(store):
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


def test_what_was_asked_of_the_old_machine_is_forgotten_with_it(store):
    serve(store)
    store.remediations.ask_replacement("r-1", HAND)
    store.remediations.gone_since("r-1", datetime.now(UTC))
    succeed(store)
    history = store.remediations.histories(long_ago())["r-1"]
    assert (history.asked_by, history.gone_since, history.machine_key) == (None, None, "r-1-g2")


def test_a_late_write_does_not_bring_the_old_machine_back(store):
    serve(store)
    late = run_on()
    succeed(store)
    with pytest.raises(WrongMachineError, match="r-1-g1 is draining"):
        store.routes.record_proof(proving(), late.activity())
    store.routes.record_fault(failing(key="r-1-g1"), late.activity())
    assert route_of(store).status is RouteStatus.SERVING
    store.destructions.record("r-1-g1", HAND, reason="replaced")
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_proof(proving(), late.activity())


def test_a_proof_alone_does_not_take_the_place_of_the_machine_that_serves(store):
    serve(store)
    store.replacements.plan("r-1", run_on().activity())
    with pytest.raises(WrongMachineError, match="served by machine r-1-g1"):
        store.routes.record_proof(proving(generation=2), run_on().activity())


def test_a_route_is_not_attached_to_the_pools_or_anothers_machine(store):
    serve(store)
    serve(store, "r-2")
    key = made_ready(store)
    with pytest.raises(WrongMachineError, match="the pool's"):
        store.replacements.attach("r-1", machine(key), PROOF, run_on().activity())
    with pytest.raises(WrongMachineError, match="route r-2's"):
        store.replacements.attach("r-1", machine("r-2-g1"), PROOF, run_on().activity())


@pytest.mark.parametrize("unreachable", [True, False])
def test_a_machine_counts_as_destroyed_once_from_when_another_took_its_place(store, unreachable):
    serve(store)
    succeed(store, unreachable=unreachable)
    attached = store.events.list(kind="machine-attached")[0].at
    expected = [
        Destruction(
            at=attached, provider="lab", region="east", track="stable", unreachable=unreachable
        )
    ]
    assert store.destructions.list(long_ago()) == expected
    store.destructions.record("r-1-g1", HAND, reason="replaced", unreachable=unreachable)
    assert store.destructions.list(long_ago()) == expected
    assert store.destructions.list(datetime.now(UTC)) == []


def test_a_pools_machine_counts_in_no_track(store):
    key = made_ready(store)
    store.destructions.record(key, HAND, reason="aged")
    [destroyed] = store.destructions.list(long_ago())
    assert (destroyed.region, destroyed.track) == ("east", None)
    assert store.machines.get(key).status == "destroyed"


def test_a_route_whose_machine_was_destroyed_has_none(store):
    serve(store)
    store.destructions.record("r-1-g1", HAND, reason="an operator did so")
    route = route_of(store)
    assert (route.status, route.machine, route.current_release_tag) == (
        RouteStatus.FAILED,
        None,
        None,
    )
    assert route.fault is not None
    [fault] = store.remediations.histories(long_ago())["r-1"].faults
    assert (fault.kind, fault.machine_key) == ("machine-failed", "r-1-g1")
    assert store.replacements.plan("r-1", run_on().activity()).machine_key == "r-1-g2"


def test_a_route_without_a_machine_is_attached_and_nothing_drains(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(fault=FAULT, key="r-1-g1", destroyed=True), run.activity())
    assert succeed(store) is None
    assert route_of(store).machine == machine("r-1-g2")
    assert store.destructions.list(long_ago()) == []
    assert store.events.list()[-1].requested_by == ORIGIN.requested_by
