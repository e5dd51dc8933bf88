"""One invalid row in any table: a reconcile run and a rollout name it, and the rest goes on."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relight.domain.disruption import DisruptionBudget
from relight.domain.hold import Hold, HoldKind, Selector
from tests.starter.in_process import InProcess

pytestmark = pytest.mark.attack("an invalid row in the store")

TARGET = "v0.0.74"

# Statements that make a row invalid, or insert one, by table. {route} is one of four routes.
BROKEN = {
    "routes": "UPDATE routes SET status = 'servign' WHERE route_id = '{route}'",
    "routes, junk": "UPDATE routes SET proven_at = 'soon' WHERE route_id = '{route}'",
    "machines": (
        "UPDATE machines SET provider_id = NULL, created_at = 'x' WHERE route_id = '{route}'"
    ),
    "tracks": "INSERT INTO tracks VALUES ('other', 'newest')",
    "settings": "INSERT INTO settings VALUES ('colour', 'blue')",
    "pool_sizes": (
        "INSERT INTO pool_sizes (provider, region, size, failed_tries)"
        " VALUES ('fake', 'fake-east', -1, 0)"
    ),
    "releases": "INSERT INTO releases VALUES ('newest', '1-', 'x', 'y', 'z')",
    "rollouts": (
        "INSERT INTO rollouts (workflow_id, run_id, release_tag, scope, phase, detail, opened_at,"
        " closed_at, wave, waves, since, to_do, blocked_by) VALUES ('rollout/x', 'r', 'newest',"
        " 'track:other', 'ended', '', 'x', 'y', 0, 0, 'z', '', '')"
    ),
    "rollout_routes": (
        "INSERT INTO rollout_routes (rollout_run_id, route_id, wave, position, requeued, progress,"
        " fault) VALUES ('r', '{route}', 1, 1, 0, 'odd', '{{oops')"
    ),
    "route_remediations": (
        "INSERT INTO route_remediations (route_id, gone_since) VALUES ('{route}', 'never')"
    ),
    "disruptions": "INSERT INTO disruptions VALUES ('{route}', 'w', 'r', 'odd', 'never')",
    "holds": (
        "INSERT INTO holds (kind, starts_at, ends_at, owner, reason, route_id, added_at) VALUES"
        " ('exclusion', 'x', 'y', '', '', '{route}', 'z')"
    ),
    "connectivity_checks": "INSERT INTO connectivity_checks VALUES ('x', 'y', 'z', '')",
    "permits": "INSERT INTO permits VALUES ('logins', 'x', 'many', 'all', 'never')",
    "events": (
        "INSERT INTO events (at, kind, requested_by, reason, workflow_id, run_id, activity_id,"
        " route_id, fault_kind, detail) VALUES ('z', 'odd', '', '', '', '', '', '{route}',"
        " 'no-such', '{{oops')"
    ),
    "retention": "INSERT INTO retention VALUES (1, 'never')",
    "repository_indexes": "INSERT INTO repository_indexes VALUES ('x', 'never')",
}
HELD = {"routes", "routes, junk", "machines", "route_remediations", "disruptions", "holds"}
"""Cases in which the row is about a route, which is then left alone."""
UNREAD = {"releases", "rollout_routes", "permits", "retention", "repository_indexes", "settings"}
"""Cases in which a reconcile run does not need the row, or the row means nothing to it."""


def recorded_release(home: Path, route_id: str) -> str:
    """Return a route's current release as it is in its row, whatever else is there."""
    query = f"SELECT current_release_tag FROM routes WHERE route_id = '{route_id}'"
    with closing(sqlite3.connect(home / "fleet.db")) as file:
        [[tag]] = file.execute(query).fetchall()
    return str(tag)


@pytest.mark.parametrize("case", BROKEN)
async def test_the_other_routes_are_reconciled_and_nothing_is_destroyed(
    harness, reconciler, route_ids, tmp_path, case
):
    bad, *others = route_ids
    # A route that may be out counts as out: no budget of this small fleet shall depend on it.
    strategy = reconciler.policy.strategy.model_copy(
        update={"disruption_budget": DisruptionBudget(), "max_concurrent": 4}
    )
    reconciler.policy = reconciler.policy.model_copy(update={"strategy": strategy})
    for number in range(2):  # a rollout would change them all: these two are alone
        await (await harness.start_swap(others[number], TARGET)).result()
    await harness.until_idle()
    harness.store.fleet_settings.set("default_release_tag", TARGET, harness.operation())
    reconciler.execute_sql(BROKEN[case].format(route=bad))
    machines = await harness.machine_keys()
    done = await reconciler.run()
    await reconciler.run()
    # The claim may be of a host that is out, and then this small fleet's budgets are used up.
    if case != "disruptions":
        assert set(harness.current_tags(others)) == {TARGET}
    if case in HELD:
        assert recorded_release(tmp_path, bad) == "v0.0.73"
    if case not in UNREAD:
        table = case.partition(",")[0]
        assert any(f"{table} " in text or "event " in text for text in done.observed.unobserved)
    # Its machine is no machine without a record either.
    assert await harness.machine_keys() == machines


@pytest.mark.parametrize("case", BROKEN)
async def test_the_fleets_status_names_the_row_and_shows_the_rest(
    harness, reconciler, route_ids, tmp_path, case
):
    reconciler.execute_sql(BROKEN[case].format(route=route_ids[0]))
    relight = InProcess(tmp_path)
    ended = await relight("fleet", "status", "--json")
    assert ended.code == 0, ended.said
    shown = {route["route_id"] for route in ended.json["routes"]}
    assert shown >= {*route_ids[1:]}
    listed = await relight("store", "bad-rows", "--json")
    tables = {each["table"] for each in listed.json}
    assert tables == {case.partition(",")[0]}
    if case.partition(",")[0] in {"routes", "machines"}:
        assert shown == {*route_ids[1:]}
        assert "relight store repair-row" in ended.said


@pytest.mark.parametrize("case", ["routes", "routes, junk", "machines"])
async def test_a_rollout_goes_over_the_other_routes(harness, reconciler, route_ids, tmp_path, case):
    bad, *others = route_ids
    reconciler.execute_sql(BROKEN[case].format(route=bad))
    rollout = await harness.start_rollout(TARGET)
    await rollout.result()
    assert set(harness.current_tags(others)) == {TARGET}
    assert recorded_release(tmp_path, bad) == "v0.0.73"


async def test_a_freeze_that_was_made_invalid_still_holds(harness, reconciler, route_ids):
    now = datetime.now(UTC)
    hold = Hold(
        kind=HoldKind.FREEZE,
        covers=Selector(region="fake-east"),
        starts_at=now - timedelta(hours=1),
        ends_at=now + timedelta(hours=1),
        owner="me",
        reason="a feast",
    )
    harness.store.freezes.add(hold, harness.operation())
    for route_id in route_ids[2:]:
        await (await harness.start_swap(route_id, TARGET)).result()
    await harness.until_idle()
    harness.store.fleet_settings.set("default_release_tag", TARGET, harness.operation())
    reconciler.execute_sql("UPDATE holds SET owner = '', region = NULL, track = '?'")
    done = await reconciler.run()
    assert harness.current_tags(route_ids) == ["v0.0.73", "v0.0.73", TARGET, TARGET]
    assert "holds" in json.dumps(done.observed.unobserved)
