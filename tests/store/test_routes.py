"""Routes: what each operation records, and that its retry records the same."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy.event import listen, remove

from relight.domain.names import track_scope
from relight.domain.route import RouteStatus
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
    MANUAL,
    OBSERVED_AT,
    REFUSAL,
    begin_swap,
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
from tests.store.sql import execute, naming


def test_a_proof_is_recorded_with_its_machine(store):
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


def test_times_are_stored_in_utc(store):
    serve(store)
    elsewhere = OBSERVED_AT.astimezone(timezone(timedelta(hours=-7)))
    store.routes.record_proof(proving(at=elsewhere), run_on().activity())
    proven_at = route_of(store).proven_at
    assert proven_at is not None
    assert (proven_at, proven_at.utcoffset()) == (OBSERVED_AT, timedelta(0))
    assert datetime.now(UTC) - store.machines.list()[0].created_at < timedelta(seconds=10)


@pytest.mark.parametrize("when", ["immediately", "at the end"])
def test_retries_change_nothing(store, when):
    run = run_on()
    writes = [
        (store.routes.open, opening()),
        (store.routes.record_machine, recording()),
        (store.routes.record_proof, proving()),
        (lambda tag, operation: begin_swap(store, "r-1", tag, operation), "v0.0.74"),
        (store.routes.record_fault, failing(key="r-1-g1")),
        (store.routes.record_proof, proving(tag="v0.0.74")),
    ]
    activities = [(write, message, run.activity()) for write, message in writes]
    results = []
    for write, message, activity in activities:
        results.append(write(message, activity))
        if when == "immediately":
            assert write(message, activity) == results[-1]
    before = (store.routes.list(), store.machines.list(), store.events.list())
    for (write, message, activity), result in zip(activities, results, strict=True):
        assert write(message, activity) == result
    assert (store.routes.list(), store.machines.list(), store.events.list()) == before
    assert len(store.events.list(route_id="r-1")) == len(writes)
    assert len(store.events.list(kind="route-proven")) == 2


def test_a_target_changes_nothing_else(store):
    serve(store)
    begin_swap(store)
    route = route_of(store)
    assert (route.target_release_tag, route.current_release_tag) == ("v0.0.74", "v0.0.73")
    assert route.status is RouteStatus.SERVING
    assert store.events.list(kind="target-set")[0].detail == {
        "previous": "v0.0.73",
        "current": "v0.0.73",
        "allow_downgrade": False,
    }


def test_a_fault_keeps_the_current_release_and_a_proof_clears_it(store):
    serve(store)
    run = run_on()
    begin_swap(store, operation=run.activity())
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


def test_a_refusal_is_recorded_and_leaves_the_route_unchanged(store):
    before = serve(store)
    store.routes.record_fault(failing(fault=REFUSAL, tag="v9.9.9"), run_on().activity())
    assert route_of(store) == before
    [event] = store.events.list(kind="fault-recorded")
    assert (event.fault_kind, event.release_tag) == ("release-unknown", "v9.9.9")


def test_a_fault_of_an_unknown_route_is_recorded_and_creates_none(store):
    store.routes.record_fault(failing("unknown", destroyed=True), run_on("unknown").activity())
    assert store.routes.get("unknown") is None
    assert len(store.events.list(route_id="unknown", kind="fault-recorded")) == 1


def test_a_fault_before_opening_leaves_a_serving_route_unchanged(store):
    before = serve(store)
    store.routes.record_fault(failing(destroyed=True), run_on().activity())
    assert route_of(store) == before
    assert statuses(store) == [("r-1-g1", "running")]


def test_undoing_a_proof_leaves_a_failed_route_without_machine(store):
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


def test_a_late_write_does_not_restore_a_destroyed_machine(store):
    run = run_on()
    store.routes.open(opening(), run.activity())
    store.routes.record_fault(failing(key="r-1-g1", destroyed=True), run.activity())
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_machine(recording(), run.activity())
    with pytest.raises(WrongMachineError, match="r-1-g1 is destroyed"):
        store.routes.record_proof(proving(), run.activity())
    assert statuses(store) == [("r-1-g1", "destroyed")]


def test_a_machine_of_another_route_does_not_prove_a_route(store):
    serve(store, "r-1")
    serve(store, "r-2")
    other = proving("r-2").model_copy(update={"route_id": "r-1"})
    with pytest.raises(WrongMachineError, match="r-2-g1 belongs to route r-2"):
        store.routes.record_proof(other, run_on().activity())


def test_unknown_machines_routes_and_tracks_are_refused(store):
    with pytest.raises(UnknownMachineError, match="r-9-g1"):
        store.routes.record_machine(recording("r-9-g1"), MANUAL)
    with pytest.raises(UnknownRouteError, match="r-9"):
        store.routes.record_proof(proving("r-9"), MANUAL)
    with pytest.raises(UnknownRouteError, match="r-9"):
        begin_swap(store, "r-9")
    with pytest.raises(UnknownTrackError, match="nowhere"):
        store.routes.open(opening(track="nowhere"), MANUAL)
    assert store.routes.list() == []


def test_routes_are_listed_by_id_and_by_track(store):
    for route_id in ("r-2", "r-10", "r1", "r-1"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    assert [route.route_id for route in store.routes.list()] == ["p-1", "r-1", "r-10", "r-2", "r1"]
    assert [route.route_id for route in store.routes.list(track="pinned")] == ["p-1"]


def test_a_scope_has_the_routes_with_a_machine(store):
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


def test_a_sample_of_each_region_prefers_serving_routes(store, store_url):
    for route_id in ("r-1", "r-2", "r-3", "w-1", "w-2"):
        serve(store, route_id)
    serve(store, "p-1", track="pinned")
    execute(store_url, "UPDATE routes SET region = 'west' WHERE route_id LIKE 'w-%'")
    for route_id in ("r-1", "w-1"):
        store.routes.record_fault(failing(route_id), run_on(route_id).activity())

    def sample(scope: str, per_region: int) -> list[str]:
        return [route.route_id for route in store.routes.sample_by_region(scope, per_region)]

    assert sample("fleet", 1) == ["r-2", "w-2"]
    assert sample("fleet", 2) == ["r-2", "r-3", "w-1", "w-2"]
    assert sample("track:pinned", 2) == ["p-1"]


def test_the_releases_of_a_scope_have_the_architectures_of_their_machines(store):
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


def test_an_invalid_route_is_named_when_a_scope_is_read(store, store_url):
    serve(store)
    execute(store_url, "UPDATE routes SET status = 'unknown'")
    with naming("route r-1: status is 'unknown'"):
        assert store.routes.in_scope("fleet") == []


def test_an_invalid_route_is_named(store, store_url):
    serve(store)
    execute(store_url, "UPDATE routes SET current_release_tag = 'newest'")
    with pytest.raises(BadValueError, match="route r-1: current_release_tag is 'newest'"):
        store.routes.get("r-1")
    with naming("route r-1"):
        assert store.routes.list() == []


def test_the_releases_of_many_routes_are_read_in_pages(store, monkeypatch):
    monkeypatch.setattr("relight.store.release_histories.PAGE", 2)
    for route_id in ("r-1", "r-2", "r-3"):
        serve(store, route_id)
    for tag in ("v0.0.74", "v0.0.75"):
        store.routes.record_proof(proving("r-2", tag), run_on("r-2").activity())
    histories = dict(store.release_histories.list(["r-1", "r-2", "r-3", "r-4"]))
    assert {route_id: history.proven for route_id, history in histories.items()} == {
        "r-1": ("v0.0.73",),
        "r-2": ("v0.0.73", "v0.0.74", "v0.0.75"),
        "r-3": ("v0.0.73",),
        "r-4": (),
    }


def test_a_later_attempt_goes_on_as_the_first_has_begun(store):
    serve(store)
    activity = run_on().activity()
    begun = begin_swap(store, operation=activity, may_downgrade=True)
    assert (begun.machine, begun.previous_release_tag) == (machine("r-1-g1"), "v0.0.73")
    store.routes.record_proof(proving(tag="v0.0.72"), run_on().activity())
    assert begin_swap(store, operation=activity, may_downgrade=False) == begun
    assert begun.allow_downgrade
    store.routes.record_proof(proving(tag="v0.0.74"), activity)
    again = begin_swap(store, operation=activity)
    assert again == begun.model_copy(update={"proof": proving(tag="v0.0.74").proof})


def test_the_attempt_and_the_proof_are_written_together_and_once(store):
    serve(store)
    activity = run_on().activity()
    begin_swap(store, operation=activity)
    record = proving(tag="v0.0.74").model_copy(update={"swap_attempt": {"attempt": 2}})
    for _ in range(2):
        store.routes.record_proof(record, activity)
    kinds = [event.kind for event in store.events.list(route_id="r-1")]
    assert kinds[-3:] == ["target-set", "swap-attempted", "route-proven"]
    [attempted] = store.events.list(kind="swap-attempted")
    assert (attempted.machine_key, attempted.release_tag) == ("r-1-g1", "v0.0.74")
    assert attempted.detail == {"attempt": 2}


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE routes SET status = 'unknown'", "route r-1: status is 'unknown'"),
        ("UPDATE machines SET provider_id = NULL", "machine r-1-g1: provider_id is None"),
    ],
)
def test_a_swap_of_what_was_made_invalid_by_hand_is_refused(store, store_url, statement, named):
    serve(store)
    execute(store_url, statement)
    before = store.events.list()
    with pytest.raises(BadValueError, match=named):
        begin_swap(store)
    assert (store.disruptions.list(), store.events.list()) == ([], before)


def test_each_write_of_a_swap_is_six_statements_and_a_commit(store):
    serve(store)
    swap = run_on().activity()
    record = proving(tag="v0.0.74").model_copy(update={"swap_attempt": {"attempt": 1}})
    sent: list[str] = []
    engine = store._database._engine

    def note(*call: Any) -> None:
        sent.append(call[2].split()[0])

    listen(engine, "before_cursor_execute", note)
    try:
        begin_swap(store, operation=swap)
        assert sent == ["BEGIN", "SELECT", "SELECT", "INSERT", "UPDATE", "INSERT"]
        sent.clear()
        store.routes.record_proof(record, swap)
        assert sent == ["BEGIN", "SELECT", "DELETE", "SELECT", "UPDATE", "INSERT"]
    finally:
        remove(engine, "before_cursor_execute", note)


def test_a_swap_that_has_failed_records_no_late_proof(store):
    serve(store)
    run, activity = run_on(), run_on().activity()
    begun = run.activity()
    begin_swap(store, operation=begun)
    store.routes.record_fault(failing(key="r-1-g1"), run.activity())
    begin_swap(store, tag="v0.0.75", operation=activity)
    before = store.routes.list(), store.events.list()
    record = proving(tag="v0.0.74").model_copy(update={"swap_attempt": {"attempt": 1}})
    store.routes.record_proof(record, begun)
    assert (store.routes.list(), store.events.list()) == before


def test_a_swap_that_was_terminated_records_no_proof_once_another_has_begun(store):
    serve(store)
    terminated, next_one = run_on().activity(), run_on().activity()
    begin_swap(store, operation=terminated)
    begin_swap(store, tag="v0.0.75", operation=next_one)
    store.routes.record_proof(proving(tag="v0.0.75"), next_one)
    before = store.routes.list(), store.events.list()
    record = proving(tag="v0.0.74").model_copy(update={"swap_attempt": {"attempt": 1}})
    store.routes.record_proof(record, terminated)
    assert (store.routes.list(), store.events.list()) == before


def test_a_swap_whose_claim_was_given_up_still_records_its_proof(store):
    serve(store)
    swap = run_on().activity()
    begin_swap(store, operation=swap)
    [held] = store.disruptions.list()
    store.disruptions.abandon(held, run_on().activity())
    record = proving(tag="v0.0.74").model_copy(update={"swap_attempt": {"attempt": 1}})
    store.routes.record_proof(record, swap)
    assert route_of(store).current_release_tag == "v0.0.74"


def test_the_refusal_of_a_swap_before_it_has_begun_is_not_recorded(store):
    serve(store)
    store.routes.record_fault(failing(key="r-1-g1"), run_on().activity())
    before = route_of(store), store.events.list()
    refusal = failing(fault=REFUSAL).model_copy(update={"of_swap": True})
    store.routes.record_fault(refusal, run_on().activity())
    assert (route_of(store), store.events.list()) == before


def test_the_fault_of_a_swap_is_of_the_machine_that_it_began_with(store):
    serve(store)
    run = run_on()
    begin_swap(store, operation=run.activity())
    store.routes.record_fault(failing().model_copy(update={"of_swap": True}), run.activity())
    assert route_of(store).status is RouteStatus.FAULTED
    [event] = store.events.list(kind="fault-recorded")
    assert event.machine_key == "r-1-g1"
    assert store.routes.swapped_machine(run.activity()) == machine("r-1-g1")
    assert store.routes.swapped_machine(run_on().activity()) is None


def test_the_fault_of_a_swap_that_never_began_is_of_the_machine_of_its_route(store):
    serve(store)
    run = run_on()
    store.routes.record_fault(failing().model_copy(update={"of_swap": True}), run.activity())
    assert route_of(store).status is RouteStatus.FAULTED
    [event] = store.events.list(kind="fault-recorded")
    assert event.machine_key == "r-1-g1"
