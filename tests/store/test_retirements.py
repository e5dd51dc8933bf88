"""A retired route has no machine and keeps its history."""

import pytest

from relight.domain.disruption import take_census
from relight.domain.machine import RecordedAs
from relight.domain.route import RouteStatus
from relight.store.errors import RouteOccupiedError, UnknownRouteError
from tests.store.fleets import (
    MANUAL,
    failing,
    machine,
    opening,
    replace_machine,
    route_of,
    run_on,
    serve,
    statuses,
)


def retire(store, route_id="r-1"):
    return store.retirements.retire(route_id, run_on(route_id).activity())


def test_a_retired_route_has_no_machine_and_all_its_events(store):
    serve(store)
    before = store.events.list(route_id="r-1")
    retired = retire(store)
    assert retired.machines == (machine(),)
    route = route_of(store)
    assert (route.status, route.machine, route.fault) == (RouteStatus.RETIRED, None, None)
    assert (route.target_release_tag, route.current_release_tag) == (None, None)
    assert statuses(store) == [("r-1-g1", "draining")]
    *earlier, event = store.events.list(route_id="r-1")
    assert earlier == before
    assert (event.kind, event.machine_key, event.requested_by) == (
        *("route-retired", "r-1-g1"),
        "tester",
    )


def test_its_retry_returns_the_same_and_a_second_retirement_drains_nothing(store):
    serve(store)
    retiring = run_on().activity()
    first = store.retirements.retire("r-1", retiring)
    assert store.retirements.retire("r-1", retiring) == first
    assert len(store.events.list(kind="route-retired")) == 1
    assert retire(store).machines == ()


def test_a_machine_that_is_being_removed_already_is_not_removed_twice(store):
    serve(store)
    replace_machine(store)
    assert [each.key for each in retire(store).machines] == ["r-1-g2"]


def test_a_machine_that_was_only_planned_is_left_to_the_sweep(store):
    store.routes.open(opening(), run_on().activity())
    assert retire(store).machines == ()
    [record] = store.sweeps.machines([])
    assert (record.recorded_as, record.draining, record.serves) == (
        *(RecordedAs.RUNNING, True),
        False,
    )
    assert store.sweeps.route_ids() == frozenset()


def test_a_retired_route_ends_its_quarantine_and_is_no_capacity(store):
    serve(store)
    serve(store, "r-2")
    store.remediations.quarantine("r-1", "it flaps", MANUAL)
    retire(store)
    assert store.remediations.quarantine_of("r-1") is None
    census = take_census(store.routes.list())
    assert (set(census.in_service.values()), census.out) == ({1}, frozenset())


def test_a_fault_of_the_removal_does_not_change_the_retired_route(store):
    serve(store)
    retire(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    assert route_of(store).status is RouteStatus.RETIRED


def test_it_is_provisioned_again_once_its_machine_is_destroyed(store):
    serve(store)
    retire(store)
    with pytest.raises(RouteOccupiedError, match="r-1-g1 of route r-1 is still being removed"):
        store.routes.open(opening(), run_on().activity())
    store.destructions.record("r-1-g1", MANUAL, reason="it is retired")
    assert route_of(store).status is RouteStatus.RETIRED
    assert store.routes.open(opening(), run_on().activity()).machine_key == "r-1-g2"


def test_an_adopted_machine_of_a_retired_route_is_destroyed_next(store):
    serve(store)
    retire(store)
    store.sweeps.mark_lost("r-1-g1", MANUAL)
    store.sweeps.adopt(machine(), MANUAL)
    assert statuses(store) == [("r-1-g1", "draining")]
    assert route_of(store).status is RouteStatus.RETIRED


def test_it_needs_the_lock_of_a_route_that_exists(store):
    serve(store)
    with pytest.raises(RouteOccupiedError):
        store.retirements.retire("r-1", MANUAL)
    with pytest.raises(UnknownRouteError):
        retire(store, "r-9")
