"""`relight events`, `relight rollout list` and `history`."""

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from tests.starter.stores import refused
from tests.store.fleets import (
    MANUAL,
    closing_rollout,
    failing,
    opening_rollout,
    plan_rollout,
    rollout_run,
    run_on,
    serve,
)


async def test_each_event_is_one_line_of_json_and_the_newest_are_last(relight, one_faulted):
    shown = await relight("events", "--json")
    assert shown.code == 0
    assert shown.json_lines == [
        event.model_dump(mode="json") for event in one_faulted.events.list()
    ]


async def test_events_are_filtered(relight, one_faulted):
    shown = await relight("events", "--route", "east-2", "--kind", "unit-failed", "--json")
    [event] = shown.json_lines
    assert (event["route_id"], event["fault_kind"]) == ("east-2", "unit-failed")
    by_who = await relight("events", "--who", "tester", "--json")
    assert len(by_who.json_lines) == len(one_faulted.events.list())
    assert (await relight("events", "--who", "nobody", "--json")).out == ""


async def test_a_route_that_was_never_there_is_bad_input(relight, store):
    refused(await relight("events", "--route", "nowhere-1"), 2, "nowhere-1")


@pytest.mark.parametrize(
    ("since", "shown"),
    [("2h", True), ("PAST", True), ("FUTURE", False)],
)
async def test_since_is_a_duration_or_a_time(relight, one_faulted, since, shown):
    now = datetime.now(UTC)
    times = {"PAST": now - timedelta(days=1), "FUTURE": now + timedelta(days=1)}
    text = times[since].isoformat() if since in times else since
    listed = await relight("events", "--since", text, "--json")
    assert (listed.code, bool(listed.out)) == (0, shown)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "9999999999d", ""])
async def test_a_malformed_since_is_bad_input(relight, store, since):
    refused(await relight("events", "--since", since), 2, repr(since))


async def test_pages_are_bounded_and_name_the_next_one(relight, one_faulted):
    first = await relight("events", "--limit", "2", "--json")
    assert len(first.json_lines) == 2
    before = first.json_lines[0]["event_id"]
    assert f"add --before {before}" in first.said
    older = await relight("events", "--limit", "2", "--before", str(before), "--json")
    assert older.json_lines[-1]["event_id"] < before


async def test_the_table_has_time_kind_route_and_requester(relight, one_faulted):
    shown = await relight("events", "--route", "east-2", "-n", "1")
    for text in ("fault: unit-failed", "east-2", "tester: a test", "v0.0.74"):
        assert text in shown.out


async def test_follow_prints_what_happens_from_then_on_until_it_is_interrupted(
    relight, one_faulted
):
    words = ("events", "--follow", "--json", "--route", "east-1", "-n", "1")
    async with relight.running(*words) as following, asyncio.timeout(60):
        first = json.loads(await following.stdout.readline())
        assert first["route_id"] == "east-1"
        one_faulted.events.append("other-thing", MANUAL, route_id="east-2")
        one_faulted.events.append("new-thing", MANUAL, route_id="east-1")
        assert json.loads(await following.stdout.readline())["kind"] == "new-thing"
        following.send_signal(signal.SIGINT)
        _, err = await following.communicate()
    assert following.returncode == 130
    assert b"Traceback" not in err


async def test_events_of_a_rollout_are_its_own_and_those_of_its_routes(relight, one_faulted):
    plan_rollout(one_faulted, ["east-1"])
    one_faulted.routes.record_fault(failing("east-1", key="east-1-g1"), run_on("east-1").activity())
    shown = await relight("events", "--rollout", "v0.0.74", "--json")
    assert shown.json_lines[0]["kind"] == "rollout-opened"
    assert {event["route_id"] for event in shown.json_lines} == {None, "east-1"}
    refused(await relight("events", "--rollout", "v0.9.9"), 2, "no rollout of v0.9.9")


async def test_rollouts_are_listed_with_their_end_the_newest_first(relight, store):
    assert "no rollouts yet" in (await relight("rollout", "list")).out
    serve(store, "east-1")
    for tag in ("v0.0.74", "v0.0.75"):
        run = rollout_run(tag)
        store.rollouts.open(opening_rollout(tag), run.activity())
        store.rollout_routes.plan(run.run_id, [["east-1"]])
        store.rollouts.close(closing_rollout(tag, promote=False), run.activity())
    listed = await relight("rollout", "list", "--json")
    assert [each["release_tag"] for each in listed.json["rollouts"]] == ["v0.0.75", "v0.0.74"]
    assert listed.json["older_before"] is None
    newest = await relight("rollout", "list", "--limit", "1")
    assert "v0.0.75" in newest.out
    assert "v0.0.74" not in newest.out
    assert "add --before " in newest.said


async def test_the_history_of_a_rollout_has_its_decisions_controls_and_end(relight, store):
    serve(store, "east-1")
    run = plan_rollout(store, ["east-1"])
    detail = {"decision": "hold", "reason": "too few routes", "wave": 1, "scope": "fleet"}
    store.events.append("rollout-decided", run.activity(), detail=detail)
    store.events.append("rollout-pause", run.activity(), detail={"scope": "fleet"})
    # As an earlier version wrote it.
    store.events.append("rollout-set-concurrency-50", run.activity(), detail={"scope": "fleet"})
    store.rollouts.close(closing_rollout(promote=False), run.activity())
    shown = await relight("rollout", "history")
    for text in (
        *("wave 1: hold: too few routes", "rollout-pause", "50 at once", "converged: it ended"),
    ):
        assert text in " ".join(shown.out.split())
    events = await relight("rollout", "history", "v0.0.74", "--json")
    assert [event["kind"] for event in events.json] == [
        "rollout-opened",
        "rollout-decided",
        "rollout-pause",
        "rollout-set-concurrency",
        "rollout-closed",
    ]
    set_to = await relight("events", "--kind", "rollout-set-concurrency", "--json")
    assert [event["detail"]["max_concurrent"] for event in set_to.json_lines] == [50]
    assert "50 at once" in (await relight("events", "--rollout", "v0.0.74")).out
    refused(await relight("rollout", "history", "v0.9.9"), 2, "no rollout of v0.9.9")
