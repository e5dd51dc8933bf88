"""Pages of the event log, and of the rollouts."""

from datetime import UTC, datetime, timedelta

import pytest

from relight.domain.base import Origin
from relight.domain.event import Event, EventFilter
from relight.store.events import Operation
from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    failing,
    opening_rollout,
    plan_rollout,
    proving,
    rollout_run,
    run_on,
    serve,
)

ALL = EventFilter()


def kinds(found):
    return [event.kind for event in found]


def test_pages_together_are_the_log_and_the_last_one_has_no_older(store):
    serve(store)
    found: list[Event] = []
    pages, before = 0, None
    while True:
        page, before = store.events.page(ALL, 2, before=before)
        assert len(page) <= 2
        found, pages = page + found, pages + 1
        if before is None:
            break
    assert pages > 1
    assert found == store.events.list()


def test_what_follows_an_event_is_returned_once_and_in_order(store):
    serve(store)
    last = store.events.settled_id()
    assert store.events.following(ALL, last, last, 10) == []
    store.events.append("first", MANUAL)
    store.events.append("second", MANUAL)
    newest = store.events.settled_id()
    assert kinds(store.events.following(ALL, last, newest, 10)) == ["first", "second"]
    assert kinds(store.events.following(ALL, last, newest, 1)) == ["first"]
    assert kinds(store.events.following(ALL, last, newest - 1, 10)) == ["first"]


@pytest.mark.parametrize(
    ("who", "found"),
    [
        ("alice", ["by-alice", "by-alice-elsewhere"]),
        ("alice@desk", ["by-alice"]),
        ("al", []),
        ("%", []),
    ],
)
def test_a_requester_is_found_on_any_host_and_only_by_the_whole_name(store, who, found):
    for kind, requester in (
        ("by-alice", "alice@desk"),
        ("by-alice-elsewhere", "alice@laptop"),
        ("by-alicia", "alicia@desk"),
    ):
        store.events.append(kind, Operation(Origin(requested_by=requester, reason="a test")))
    assert kinds(store.events.page(EventFilter(who=who), 10)[0]) == found


def test_events_are_found_by_their_kind_their_fault_their_route_and_time(store):
    serve(store, "r-1")
    serve(store, "r-2")
    store.routes.record_fault(failing("r-2", key="r-2-g1"), run_on("r-2").activity())
    only = store.events.page(EventFilter(kind="unit-failed"), 10)[0]
    assert [event.route_id for event in only] == ["r-2"]
    proven = store.events.page(EventFilter(kind="route-proven", route_id="r-1"), 10)[0]
    assert [(event.kind, event.route_id) for event in proven] == [("route-proven", "r-1")]
    now = datetime.now(UTC)
    assert store.events.page(EventFilter(since=now + timedelta(hours=1)), 10)[0] == []
    assert store.events.page(EventFilter(since=now - timedelta(hours=1)), 99)[0]


def test_events_of_a_rollout_are_its_own_and_those_of_its_routes_while_it_ran(store):
    for route_id in ("r-1", "r-2"):
        serve(store, route_id)
    run = plan_rollout(store, ["r-1"])
    for route_id in ("r-1", "r-2"):
        store.routes.record_proof(proving(route_id, "v0.0.74"), run_on(route_id).activity())
    store.rollouts.close(closing_rollout(promote=False), run.activity())
    store.events.append("route-later", MANUAL, route_id="r-1")
    found = store.events.page(EventFilter(rollout_run_id=run.run_id), 99)[0]
    assert [(event.kind, event.route_id) for event in found] == [
        ("rollout-opened", None),
        ("route-proven", "r-1"),
        ("rollout-closed", None),
    ]
    own = store.events.page(EventFilter(run_id=run.run_id), 99)[0]
    assert kinds(own) == ["rollout-opened", "rollout-closed"]


def test_rollouts_are_listed_newest_first_in_pages_and_by_scope(store):
    store.tracks.set("beta", None, MANUAL)
    for number, scope in enumerate(("fleet", "track:beta", "fleet")):
        run = rollout_run(f"v0.0.{number}", scope)
        store.rollouts.open(opening_rollout(f"v0.0.{number}", scope), run.activity())
        store.rollouts.close(
            closing_rollout(f"v0.0.{number}", scope, promote=False), run.activity()
        )
    newest, before = store.rollouts.page(2)
    assert [each.release_tag for each in newest] == ["v0.0.2", "v0.0.1"]
    oldest, none = store.rollouts.page(2, before=before)
    assert ([each.release_tag for each in oldest], none) == (["v0.0.0"], None)
    [beta] = store.rollouts.page(9, scope="track:beta")[0]
    assert beta.release_tag == "v0.0.1"
