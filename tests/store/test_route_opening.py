"""A route's next key: each machine that may exist at its provider stays recorded."""

import pytest

from relight.domain.route import RouteStatus
from relight.store.errors import RouteOccupiedError
from relight.store.events import Operation
from tests.store.fleets import (
    FAULT,
    MANUAL,
    ORIGIN,
    failing,
    opening,
    proving,
    recording,
    route_of,
    run_on,
    serve,
    statuses,
)


def test_a_key_is_recorded_before_its_machine_is_created(store):
    opened = store.routes.open(opening(), run_on().activity())
    assert (opened.machine_key, opened.generation) == ("r-1-g1", 1)
    assert statuses(store) == [("r-1-g1", "planned")]
    route = route_of(store)
    assert (route.status, route.machine) == (RouteStatus.PROVISIONING, None)
    assert (route.target_release_tag, route.current_release_tag) == ("v0.0.73", None)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_failed_route_gets_its_next_generation(store, recorded):
    run = run_on()
    store.routes.open(opening(), run.activity())
    if recorded:
        store.routes.record_machine(recording(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    assert (route_of(store).status, route_of(store).fault) == (RouteStatus.FAILED, FAULT)
    opened = store.routes.open(opening(region="west"), run_on().activity())
    assert (opened.machine_key, opened.generation) == ("r-1-g2", 2)
    assert statuses(store) == [("r-1-g1", "destroyed"), ("r-1-g2", "planned")]
    route = route_of(store)
    assert (route.status, route.fault, route.region) == (RouteStatus.PROVISIONING, None, "west")


def test_a_run_that_never_received_its_key_created_nothing(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(key=None, destroyed=True), run.activity())
    assert route_of(store).status is RouteStatus.FAILED
    assert statuses(store) == [("r-1-g1", "destroyed")]


@pytest.mark.parametrize("status", [RouteStatus.SERVING, RouteStatus.FAULTED])
def test_a_route_with_a_machine_is_occupied(store, status):
    serve(store)
    if status is RouteStatus.FAULTED:
        store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    before = (route_of(store), store.events.list())
    with pytest.raises(RouteOccupiedError, match=f"r-1 is {status} on machine r-1-g1"):
        store.routes.open(opening(), run_on().activity())
    assert (route_of(store), store.events.list()) == before


@pytest.mark.parametrize("recorded", [False, True])
def test_the_next_run_gets_the_key_that_a_terminated_run_left_behind(store, recorded):
    gone, next_run = run_on(), run_on()
    store.routes.open(opening(), gone.activity())
    if recorded:
        store.routes.record_machine(recording(), gone.activity())
    opened = store.routes.open(opening(release_tag="v0.0.74"), next_run.activity())
    assert opened.machine_key == "r-1-g1"
    assert store.events.list(kind="route-opened")[-1].detail["taken_up"] is True
    assert route_of(store).target_release_tag == "v0.0.74"
    store.routes.record_machine(recording(), next_run.activity())
    store.routes.record_proof(proving(tag="v0.0.74"), next_run.activity())
    assert route_of(store).status is RouteStatus.SERVING
    assert statuses(store) == [("r-1-g1", "running")]


def test_a_machine_that_was_left_behind_and_not_destroyed_stays_recorded(store):
    store.routes.open(opening(), run_on().activity())
    taker = run_on()
    store.routes.open(opening(), taker.activity())
    # Terminated before it received the key, so it did not destroy what the first run left behind.
    store.routes.record_fault(failing(key=None, destroyed=True), taker.activity())
    assert route_of(store).status is RouteStatus.FAILED
    assert statuses(store) == [("r-1-g1", "planned")]
    third = run_on()
    assert store.routes.open(opening(), third.activity()).machine_key == "r-1-g1"
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), third.activity())
    assert store.routes.open(opening(), run_on().activity()).machine_key == "r-1-g2"


def test_a_machine_that_may_exist_is_not_planned_in_another_region(store):
    store.routes.open(opening(), run_on().activity())
    with pytest.raises(RouteOccupiedError, match="r-1-g1 may exist in lab/east"):
        store.routes.open(opening(region="west"), run_on().activity())
    assert statuses(store) == [("r-1-g1", "planned")]


@pytest.mark.parametrize(
    "stranger",
    [MANUAL, Operation(ORIGIN, "another/workflow", "another-run", "1")],
    ids=["a person", "another workflow"],
)
def test_without_the_lock_of_the_route_nothing_is_continued(store, stranger):
    store.routes.open(opening(), run_on().activity())
    with pytest.raises(RouteOccupiedError, match="r-1 is being provisioned"):
        store.routes.open(opening(), stranger)


def test_a_run_that_opens_a_route_again_gets_its_own_key(store):
    run = run_on()
    first = store.routes.open(opening(), run.activity())
    assert store.routes.open(opening(), run.activity()) == first
    store.routes.record_fault(failing(key=None, destroyed=True), run.activity())
    assert statuses(store) == [("r-1-g1", "destroyed")]
