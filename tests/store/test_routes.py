"""Routes: what each operation leaves on record, and that its retry leaves the same."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from relight.domain.names import track_scope
from relight.domain.route import RouteStatus, SetTargetInput
from relight.store.errors import (
    BadValueError,
    UnknownMachineError,
    UnknownRouteError,
    UnknownTrackError,
    WrongMachineError,
)
from relight.store.rows import RouteBrief
from tests.store.fleets import (
    FAULT,
    HAND,
    ORIGIN,
    REFUSAL,
    SEEN_AT,
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
from tests.store.sql import execute


def test_a_route_is_proven_on_its_machine(store):
    route = serve(store)
    assert (route.status, route.track) == (RouteStatus.SERVING, "stable")
    assert route.target_release_tag == route.current_release_tag == "v0.0.73"
    assert route.machine == machine("r-1-g1")
    [record] = store.machines.list()
    assert (record.key, record.generation, record.status) == ("r-1-g1", 1, "running")
    assert record.user_data_sha256 == "ab" * 32
    assert record.created_at.utcoffset() == timedelta(0)
    [event] = store.events.list(kind="route-proven")
    assert (event.machine_key, event.release_tag) == ("r-1-g1", "v0.0.73")
    assert event.detail["proof"]["probe"] == "GET http://192.0.2.7:8899/healthz: 200"


def test_times_are_utc_whatever_zone_they_came_in(store):
    serve(store)
    elsewhere = SEEN_AT.astimezone(timezone(timedelta(hours=-7)))
    store.routes.record_proof(proving(at=elsewhere), run_on().activity())
    proven_at = route_of(store).proven_at
    assert proven_at is not None
    assert (proven_at, proven_at.utcoffset()) == (SEEN_AT, timedelta(0))
    assert datetime.now(UTC) - store.machines.list()[0].created_at < timedelta(seconds=10)


@pytest.mark.parametrize("again", ["at once", "when all is over"])
def test_each_activity_that_runs_again_changes_nothing(store, again):
    run = run_on()
    writes = [
        (store.routes.open, opening()),
        (store.routes.record_machine, recording()),
        (store.routes.record_proof, proving()),
        (store.routes.set_target, target("v0.0.74")),
        (store.routes.record_fault, failing(key="r-1-g1")),
        (store.routes.record_proof, proving(tag="v0.0.74")),
    ]
    activities = [(write, said, run.activity()) for write, said in writes]
    answers = []
    for write, said, activity in activities:
        answers.append(write(said, activity))
        if again == "at once":
            assert write(said, activity) == answers[-1]
    before = (store.routes.list(), store.machines.list(), store.events.list())
    for (write, said, activity), answer in zip(activities, answers, strict=True):
        assert write(said, activity) == answer
    assert (store.routes.list(), store.machines.list(), store.events.list()) == before
    assert len(store.events.list(route_id="r-1")) == len(writes)
    assert len(store.events.list(kind="route-proven")) == 2


def test_a_target_is_written_before_the_route_is_made_to_run_it(store):
    serve(store)
    store.routes.set_target(target("v0.0.74"), run_on().activity())
    route = route_of(store)
    assert (route.target_release_tag, route.current_release_tag) == ("v0.0.74", "v0.0.73")
    assert route.status is RouteStatus.SERVING
    assert store.events.list(kind="target-set")[0].detail == {"previous": "v0.0.73"}


def test_a_fault_leaves_what_was_proven_and_a_proof_clears_it(store):
    serve(store)
    run = run_on()
    store.routes.set_target(target("v0.0.74"), run.activity())
    store.routes.record_fault(failing(key="r-1-g1"), run.activity())
    route = route_of(store)
    assert (route.status, route.fault) == (RouteStatus.FAULTED, FAULT)
    assert (route.target_release_tag, route.current_release_tag) == ("v0.0.74", "v0.0.73")
    assert route.machine == machine("r-1-g1")
    [event] = store.events.list(kind="fault-recorded")
    assert (event.fault_kind, event.fault_class) == ("unit-failed", "release")
    assert event.detail["fault"]["journal_tail"] == ["panic: no configuration", "exited 2"]

    store.routes.record_proof(proving(tag="v0.0.74"), run_on().activity())
    route = route_of(store)
    assert (route.status, route.fault) == (RouteStatus.SERVING, None)
    assert route.current_release_tag == "v0.0.74"


def test_a_refusal_leaves_a_route_as_it_was_and_is_on_record(store):
    before = serve(store)
    store.routes.record_fault(failing(fault=REFUSAL, tag="v9.9.9"), run_on().activity())
    assert route_of(store) == before
    [event] = store.events.list(kind="fault-recorded")
    assert (event.fault_kind, event.release_tag) == ("release-unknown", "v9.9.9")


def test_a_fault_of_a_route_that_is_not_there_is_on_record_and_makes_none(store):
    store.routes.record_fault(failing("nobody", destroyed=True), run_on("nobody").activity())
    assert store.routes.get("nobody") is None
    assert len(store.events.list(route_id="nobody", kind="fault-recorded")) == 1


def test_an_operation_that_never_opened_a_serving_route_leaves_it_alone(store):
    before = serve(store)
    store.routes.record_fault(failing(destroyed=True), run_on().activity())
    assert route_of(store) == before
    assert statuses(store) == [("r-1-g1", "running")]


def test_a_proof_that_was_undone_leaves_a_failed_route_without_machine(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_machine(recording(), run.activity())
    store.routes.record_proof(proving(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    route = route_of(store)
    assert (route.status, route.machine, route.fault) == (RouteStatus.FAILED, None, FAULT)
    assert (route.current_release_tag, route.proven_at) == (None, None)
    assert statuses(store) == [("r-1-g1", "destroyed")]
    assert store.machines.list()[0].destroyed_at is not None


def test_a_late_write_does_not_bring_a_destroyed_machine_back(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_machine(recording(), run.activity())
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_proof(proving(), run.activity())
    assert statuses(store) == [("r-1-g1", "destroyed")]


def test_a_route_is_not_proven_by_anothers_machine(store):
    serve(store, "r-1")
    serve(store, "r-2")
    other = proving("r-2").model_copy(update={"route_id": "r-1"})
    with pytest.raises(WrongMachineError, match="r-2-g1 is route r-2's"):
        store.routes.record_proof(other, run_on().activity())


def test_what_is_unknown_is_refused_by_name(store):
    with pytest.raises(UnknownMachineError, match="r-9-g1"):
        store.routes.record_machine(recording("r-9-g1"), HAND)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.routes.record_proof(proving("r-9"), HAND)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.routes.set_target(target("v0.0.74", "r-9"), HAND)
    with pytest.raises(UnknownTrackError, match="nowhere"):
        store.routes.open(opening(track="nowhere"), HAND)
    assert store.routes.list() == []


def test_routes_are_listed_by_id_and_by_track(store):
    for route_id in ("r-2", "r-10", "r1", "r-1"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    assert [route.route_id for route in store.routes.list()] == ["p-1", "r-1", "r-10", "r-2", "r1"]
    assert [route.route_id for route in store.routes.list(track="pinned")] == ["p-1"]


def test_a_scope_governs_the_routes_that_hold_a_machine(store):
    serve(store, "r-1")
    serve(store, "p-1", track="pinned")
    store.routes.open(opening("r-2"), run_on("r-2").activity())
    assert store.routes.in_scope("fleet") == [
        RouteBrief("r-1", "stable", "lab", "east", RouteStatus.SERVING, "amd64")
    ]
    assert [route.route_id for route in store.routes.in_scope("track:pinned")] == ["p-1"]
    assert [route.route_id for route in store.routes.in_scope(track_scope("stable"))] == ["r-1"]
    with pytest.raises(UnknownTrackError, match="nowhere"):
        store.routes.in_scope("track:nowhere")


def test_of_each_region_those_that_serve_come_first(store, store_url):
    for route_id in ("r-1", "r-2", "r-3", "w-1", "w-2"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    execute(store_url, "UPDATE routes SET region = 'west' WHERE route_id LIKE 'w-%'")
    for route_id in ("r-1", "w-1"):
        store.routes.record_fault(failing(route_id), run_on(route_id).activity())

    def first(scope: str, at_most: int) -> list[str]:
        return [route.route_id for route in store.routes.first_of_regions(scope, at_most)]

    assert first("fleet", 1) == ["r-2", "w-2"]
    assert first("fleet", 2) == ["r-2", "r-3", "w-1", "w-2"]
    assert first("track:pinned", 2) == ["p-1"]


def test_a_scopes_releases_are_told_with_the_architectures_of_their_machines(store):
    for route_id in ("r-1", "r-2", "r-3"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    other = proving("r-2", "v0.0.72")
    other = other.model_copy(
        update={"machine": other.machine.model_copy(update={"architecture": "arm64"})}
    )
    store.routes.record_proof(other, run_on("r-2").activity())
    store.routes.record_proof(proving("r-3", "v0.0.72"), run_on("r-3").activity())
    assert store.routes.releases("fleet") == {
        "v0.0.72": ["amd64", "arm64"],
        "v0.0.73": ["amd64"],
    }
    assert store.routes.releases("track:pinned") == {"v0.0.73": ["amd64"]}


def test_a_place_that_was_spoilt_by_hand_is_named_where_a_whole_scope_is_read(store, store_url):
    serve(store)
    execute(store_url, "UPDATE routes SET status = 'fine'")
    with pytest.raises(BadValueError, match="route r-1: status is 'fine'"):
        store.routes.in_scope("fleet")


def test_a_route_that_was_spoilt_by_hand_is_named(store, store_url):
    serve(store)
    execute(store_url, "UPDATE routes SET current_release_tag = 'newest'")
    with pytest.raises(BadValueError, match="route r-1: current_release_tag is 'newest'"):
        store.routes.get("r-1")
    with pytest.raises(BadValueError, match="route r-1"):
        store.routes.list()


def target(tag: str, route_id: str = "r-1") -> SetTargetInput:
    return SetTargetInput(route_id=route_id, release_tag=tag, origin=ORIGIN)
