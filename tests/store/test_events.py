"""The event log only grows, and an activity's retries write once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault, FaultClass
from relight.store.database import Database, parse_url
from relight.store.errors import BadValueError
from relight.store.write import Operation, written_by
from tests.store.fleets import (
    HAND,
    failing,
    rollout_run,
    serve,
)
from tests.store.sql import DATABASE_ERRORS, execute

COLUMNS = "at, kind, requested_by, reason, workflow_id, run_id, activity_id, detail"


def test_every_write_leaves_an_event_oldest_first(store):
    serve(store)
    assert [event.kind for event in store.events.list(route_id="r-1")] == [
        "route-opened",
        "machine-recorded",
        "route-proven",
    ]
    assert store.events.list(kind="route-proven", workflow_id="route/r-1")
    assert store.events.list(kind="route-proven", workflow_id="route/r-2") == []


def test_a_limit_keeps_the_newest_and_their_order(store):
    serve(store)
    assert [event.kind for event in store.events.list(limit=2)] == [
        "machine-recorded",
        "route-proven",
    ]


def test_an_event_says_who_why_in_which_run_and_when_in_utc(store):
    run = rollout_run()
    store.events.append("rollout-pause", run.activity(), detail={"scope": "fleet"})
    [event] = store.events.list(kind="rollout-pause")
    assert (event.requested_by, event.reason) == ("tester", "to see what happens")
    assert (event.workflow_id, event.run_id) == (run.workflow_id, run.run_id)
    assert event.detail == {"scope": "fleet"}
    assert event.at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - event.at < timedelta(seconds=10)


def test_an_activity_that_runs_again_writes_one_event(store):
    activity = rollout_run().activity()
    for _ in range(3):
        store.events.append("rollout-pause", activity)
    store.events.append("rollout-pause", replace(activity, run_id="another"))
    assert len(store.events.list(kind="rollout-pause")) == 2


def test_what_an_activity_wrote_is_looked_up_and_not_searched_for(store_url):
    database = Database(parse_url(store_url))
    try:
        with database.reading() as session:
            connection, explain = session.connection(), "EXPLAIN QUERY PLAN"
            if connection.dialect.name == "postgresql":
                explain = "EXPLAIN"
                # It would read an empty table as a whole.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            query = written_by(rollout_run().activity(), "rollout-pause").compile(
                connection, compile_kwargs={"literal_binds": True}
            )
            plan = connection.exec_driver_sql(f"{explain} {query}").all()
        assert "uq_events_activity" in str(plan)
    finally:
        database.close()


def test_a_command_that_is_typed_twice_is_two_events(store):
    for _ in range(2):
        store.events.append("noted", HAND)
    assert len(store.events.list(kind="noted")) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET reason = 'nothing happened'",
        "DELETE FROM events WHERE kind = 'route-proven'",
    ],
)
def test_the_database_refuses_to_change_or_remove_an_event(store, store_url, statement):
    serve(store)
    before = store.events.list()
    with pytest.raises(DATABASE_ERRORS, match="append-only"):
        execute(store_url, statement)
    assert store.events.list() == before


def test_the_database_refuses_to_overwrite_an_event(store, store_url):
    store.events.append("noted", rollout_run().activity(), detail={"number": 1})
    before = store.events.list()
    event = before[-1]
    same_id = f"{event.event_id}, '2026-01-01 00:00:00', 'x', 'x', 'x', '', '', '', '{{}}'"
    same_activity = f"'2026-01-01 00:00:00', 'noted', 'x', 'x', '', '{event.run_id}', '1', '{{}}'"
    if store_url.startswith("sqlite"):
        replace_by = "INSERT OR REPLACE INTO events"
        statements = [
            f"{replace_by} (event_id, {COLUMNS}) VALUES ({same_id})",
            f"{replace_by} ({COLUMNS}) VALUES ({same_activity})",
        ]
    else:
        insert_by = f"INSERT INTO events (event_id, {COLUMNS}) VALUES ({same_id})"
        statements = [
            "TRUNCATE events",
            f"{insert_by} ON CONFLICT (event_id) DO UPDATE SET reason = 'nothing happened'",
        ]
    for statement in statements:
        with pytest.raises(DATABASE_ERRORS, match="append-only"):
            execute(store_url, statement)
    assert store.events.list() == before


def test_the_database_itself_refuses_a_second_event_of_an_activity(store, store_url):
    activity = rollout_run().activity()
    store.events.append("noted", activity)
    with pytest.raises(DATABASE_ERRORS):
        execute(
            store_url,
            f"INSERT INTO events ({COLUMNS}) VALUES ('2026-01-01 00:00:00', 'noted', 'x', 'x', "
            f"'', '{activity.run_id}', '{activity.activity_id}', '{{}}')",
        )
    assert len(store.events.list(kind="noted")) == 1


def test_what_could_not_be_read_back_is_not_written(store):
    with pytest.raises(BadValueError, match="the event noted: release_tag is 'latest'"):
        store.events.append("noted", HAND, release_tag="latest")
    assert store.events.list(kind="noted") == []


anything = st.text(st.characters(codec=None), max_size=40)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(who=anything, why=anything, said=anything)
def test_whatever_a_host_or_a_person_said_can_be_written_down(store, who, why, said):
    serve_once(store)
    operation = Operation(origin=Origin(requested_by=who, reason=why))
    fault = Fault(
        kind="unit-failed",
        fault_class=FaultClass.HOST,
        summary=said,
        stderr_tail=said,
        journal_tail=(said, "\x00"),
    )
    store.routes.record_fault(failing(fault=fault), operation)
    event = store.events.list(route_id="r-1")[-1]
    expected = said.replace("\x00", "\ufffd")
    assert plain(event.detail["fault"]["summary"]) == plain(expected)
    assert plain(event.requested_by) == plain(who.replace("\x00", "\ufffd"))
    assert store.routes.get("r-1").fault.journal_tail[1] == "\ufffd"


def serve_once(store):
    if store.routes.get("r-1") is None:
        serve(store)


def plain(text):
    """The text with each half of a surrogate pair replaced."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
