"""The event log is append-only, and an activity's retries write once."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.base import Origin
from relight.domain.fault.fault import Fault, FaultClass
from relight.domain.text import visible
from relight.store.database import Database, parse_url
from relight.store.errors import BadValueError
from relight.store.events import WRITTEN_BY, Operation
from tests.store.fleets import (
    MANUAL,
    failing,
    rollout_run,
    serve,
)
from tests.store.sql import DATABASE_ERRORS, execute

COLUMNS = "at, kind, requested_by, reason, workflow_id, run_id, activity_id, detail"


def test_every_write_appends_an_event(store):
    serve(store)
    assert [event.kind for event in store.events.list(route_id="r-1")] == [
        "route-opened",
        "machine-recorded",
        "route-proven",
    ]
    assert store.events.list(kind="route-proven", workflow_id="route/r-1")
    assert store.events.list(kind="route-proven", workflow_id="route/r-2") == []


def test_a_limit_returns_the_newest_events_oldest_first(store):
    serve(store)
    assert [event.kind for event in store.events.list(limit=2)] == [
        "machine-recorded",
        "route-proven",
    ]


def test_an_event_has_requester_reason_run_and_time(store):
    run = rollout_run()
    store.events.append("rollout-pause", run.activity(), detail={"scope": "fleet"})
    [event] = store.events.list(kind="rollout-pause")
    assert (event.requested_by, event.reason) == ("tester", "a test")
    assert (event.workflow_id, event.run_id) == (run.workflow_id, run.run_id)
    assert event.detail == {"scope": "fleet"}
    assert event.at.utcoffset() == timedelta(0)
    assert datetime.now(UTC) - event.at < timedelta(seconds=10)


def test_retries_of_an_activity_write_one_event(store):
    activity = rollout_run().activity()
    for _ in range(3):
        store.events.append("rollout-pause", activity)
    store.events.append("rollout-pause", replace(activity, run_id="another"))
    assert len(store.events.list(kind="rollout-pause")) == 2


def test_the_event_of_an_activity_is_found_by_index(store_url):
    database = Database(parse_url(store_url))
    try:
        with database.reading() as session:
            connection, explain = session.connection(), "EXPLAIN QUERY PLAN"
            if connection.dialect.name == "postgresql":
                explain = "EXPLAIN"
                # Otherwise it would scan the empty table.
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                # On an empty table all indexes cost the same. The session brings them back.
                connection.exec_driver_sql("DROP INDEX ix_events_lately, ix_events_kind")
            written = WRITTEN_BY.params(run_id="a", activity_id="1", kind="rollout-pause")
            query = written.compile(connection, compile_kwargs={"literal_binds": True})
            plan = connection.exec_driver_sql(f"{explain} {query}").all()
        assert "uq_events_activity" in str(plan)
    finally:
        database.close()


def test_a_command_that_is_run_twice_writes_two_events(store):
    for _ in range(2):
        store.events.append("noted", MANUAL)
    assert len(store.events.list(kind="noted")) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET reason = 'changed'",
        "DELETE FROM events WHERE kind = 'route-proven'",
    ],
)
def test_the_database_refuses_to_change_or_delete_an_event(store, store_url, statement):
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
            f"{insert_by} ON CONFLICT (event_id) DO UPDATE SET reason = 'changed'",
        ]
    for statement in statements:
        with pytest.raises(DATABASE_ERRORS, match="append-only"):
            execute(store_url, statement)
    assert store.events.list() == before


def test_the_database_refuses_a_second_event_of_an_activity(store, store_url):
    activity = rollout_run().activity()
    store.events.append("noted", activity)
    with pytest.raises(DATABASE_ERRORS):
        execute(
            store_url,
            f"INSERT INTO events ({COLUMNS}) VALUES ('2026-01-01 00:00:00', 'noted', 'x', 'x', "
            f"'', '{activity.run_id}', '{activity.activity_id}', '{{}}')",
        )
    assert len(store.events.list(kind="noted")) == 1


def test_an_invalid_event_is_refused(store):
    with pytest.raises(BadValueError, match="the event noted: release_tag is 'latest'"):
        store.events.append("noted", MANUAL, release_tag="latest")
    assert store.events.list(kind="noted") == []


anything = st.text(st.characters(codec=None), max_size=40)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(requested_by=anything, reason=anything, output=anything)
def test_any_text_can_be_recorded(store, requested_by, reason, output):
    serve_once(store)
    operation = Operation(origin=Origin(requested_by=requested_by, reason=reason))
    fault = Fault(
        kind="unit-failed",
        fault_class=FaultClass.HOST,
        summary=output,
        stderr_tail=output,
        journal_tail=(output, "\x00"),
    )
    store.routes.record_fault(failing(fault=fault), operation)
    event = store.events.list(route_id="r-1")[-1]
    assert event.detail["fault"]["summary"] == visible(output)
    assert event.requested_by == visible(requested_by)
    assert store.routes.get("r-1").fault.journal_tail[1] == r"\x00"


def test_no_row_of_an_event_has_more_than_64_kib_whoever_writes_it(store):
    endless = '\x1b"\u65e5' * 1_000_000
    operation = Operation(
        origin=Origin(requested_by=endless, reason=endless), workflow_id="w" * 1000
    )
    details = [
        {"reason": endless},
        {"lines": [endless] * 100},
        {"numbers": list(range(100_000))},
        {str(number): "x" for number in range(100_000)},
        {"nested": {"deep": {"text": endless}}, "kept": "this"},
    ]
    for detail in details:
        store.events.append("noted", operation, detail=detail)
    events = store.events.list(kind="noted")
    assert len(events) == len(details)
    for event in events:
        assert len(json.dumps(event.model_dump(mode="json"))) <= 64 * 1024
    assert events[-1].detail["kept"] == "this"


def serve_once(store):
    if store.routes.get("r-1") is None:
        serve(store)
