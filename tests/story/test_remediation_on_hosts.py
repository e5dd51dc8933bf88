"""Reconciliation of six real hosts: a new default release, drift, lost machines, outages.

All delays are as short as the settings allow. Each test ends with all routes proven at `SECOND`,
which is where the next one starts.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lab.names import LabNames
from relight.domain.names import machine_workflow_id, rollout_workflow_id, route_workflow_id
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.remediation_fleet import (
    REMEDIATED_WITHIN,
    Availability,
    RemediationFleet,
    availability,
    remediation_fleet,
)

pytestmark = pytest.mark.lab

SECOND = "v0.0.74"
EAST, WEST = "east-stable-1", "west-stable-1"

_DOWNGRADE = """\
apt-get -qq -y --allow-downgrades install lantern-box=0.0.73 >/dev/null 2>&1
systemctl restart lantern-box
"""
_EDIT_UNIT = """\
echo '# by hand' >>"$(systemctl show --value --property=FragmentPath lantern-box)"
systemctl daemon-reload
"""
_REPLACE_BINARY = """\
systemctl stop lantern-box
echo '# by hand' >>/usr/bin/lantern-box
systemctl start lantern-box
"""
DRIFT = {
    "east-stable-1": (_DOWNGRADE, "package-version-differs"),
    "east-stable-2": ("systemctl stop lantern-box", "unit-not-active"),
    "west-stable-1": (_EDIT_UNIT, "package-damaged"),
    "west-stable-2": (_REPLACE_BINARY, "package-damaged"),
}
"""Manual changes on hosts, and the fault kind that verification must report."""


@pytest.fixture(scope="module")
async def remediated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RemediationFleet]:
    async with remediation_fleet(tmp_path_factory.mktemp("remediation")) as fleet:
        yield fleet
    assert traces(LabNames(lab_name(fleet.fleet.environment.home)).tag) == []


def declare(remediated: RemediationFleet, tag: str) -> None:
    """Change the fleet's default release in the database, without any command."""
    with sqlite3.connect(remediated.fleet.environment.home / "fleet.db") as store:
        changed = store.execute(
            "UPDATE settings SET value = ? WHERE name = 'default_release_tag'", (tag,)
        )
        assert changed.rowcount == 1


async def test_a_new_default_release_in_the_database_reaches_every_host_without_a_command(
    remediated: RemediationFleet,
) -> None:
    fleet = remediated.fleet
    installs = await fleet.installs()
    assert "relight/reconcile" in (await fleet.ask("schedule", "apply"))["added"]
    schedule = remediated.client.get_schedule_handle("relight/reconcile")
    try:
        declare(remediated, SECOND)

        async def converged() -> bool:
            return remediated.serves(SECOND) and not await remediated.running_operations()

        await wait_until(converged, REMEDIATED_WITHIN)
    finally:
        await schedule.delete()
    await wait_until(remediated.no_reconcile_runs, REMEDIATED_WITHIN)
    await fleet.assert_serves(SECOND)
    assert await fleet.installed_since(installs) == {route: ["0.0.74"] for route in fleet.routes}
    # With six of six routes behind, the run starts a rollout instead of six swaps.
    rollout = fleet.environment.store.rollouts.get(rollout_workflow_id(SECOND, "fleet"))
    assert rollout is not None
    [opened] = fleet.events("rollout-opened", SECOND)
    assert opened.requested_by == "schedule relight/reconcile"


async def test_an_unknown_default_release_is_reported_and_changes_nothing(
    remediated: RemediationFleet,
) -> None:
    installs = await remediated.fleet.installs()
    declare(remediated, "v9.9.9")
    try:
        done = await remediated.reconcile()
    finally:
        declare(remediated, SECOND)
    [left] = [each for each in done["observed"]["plan"]["left_alone"] if "fleet" in each["about"]]
    assert "v9.9.9" in left["reason"]
    assert set(done["started"]) == {"verify"}
    assert await remediated.running_operations() == []
    assert await remediated.fleet.installed_since(installs) == {}
    await remediated.fleet.assert_serves(SECOND)


async def test_drift_is_found_by_one_run_and_repaired_by_the_next_as_their_dry_runs_say(
    remediated: RemediationFleet,
) -> None:
    fleet = remediated.fleet
    mark = fleet.last_event()
    await asyncio.gather(
        *(fleet.on_host(route_id, script) for route_id, (script, _) in DRIFT.items())
    )
    # No drift is known yet: the first run verifies all routes.
    verified = await run_as_its_dry_run_says(remediated)
    assert verified["started"] == {"verify": 6}
    assert (verified["proven"], verified["faulted"]) == (2, 4)
    found = {
        event.route_id: event.fault_kind for event in fleet.events("drift-found", SECOND, mark)
    }
    assert found == {route_id: kind for route_id, (_, kind) in DRIFT.items()}
    repaired = await run_as_its_dry_run_says(remediated)
    assert repaired["started"] == {"repair": 4, "verify": 2}
    await asyncio.gather(*(ended(remediated, route_workflow_id(each)) for each in DRIFT))
    await fleet.assert_serves(SECOND)
    for route_id in fleet.routes:
        assert await fleet.on_host(route_id, "dpkg --verify lantern-box") == ""
        assert await fleet.on_host(route_id, "systemctl is-active lantern-box") == "active"


async def run_as_its_dry_run_says(remediated: RemediationFleet) -> Any:
    dry = await remediated.fleet.ask("reconcile", "--dry-run")
    done = await remediated.reconcile()
    planned, executed = dry["observed"]["plan"], done["observed"]["plan"]
    assert planned["actions"] == executed["actions"]
    assert planned["left_alone"] == executed["left_alone"]
    assert done["not_started"] == []
    assert sum(done["started"].values()) == len(planned["actions"])
    return done


async def ended(remediated: RemediationFleet, workflow_id: str) -> None:
    """Wait until an operation has ended. It must succeed."""
    await remediated.client.get_workflow_handle(workflow_id).result()


async def test_a_machine_without_a_network_is_replaced_by_a_pool_machine(
    remediated: RemediationFleet,
) -> None:
    fleet = remediated.fleet
    assert (await fleet.relight("pool", "set", "lab", "lab-east", "1")).code == 0
    await remediated.reconcile_until_serving(SECOND)
    [waiting] = fleet.environment.store.pool.list()
    assert waiting.release_tag == SECOND
    before, old = await remediated.machines(), remediated.key(EAST)
    await remediated.switch_network([old], on=False)
    async with availability(remediated, EAST) as observed:
        await remediated.reconcile_until_serving(SECOND)
    assert observed == {old: Availability.LISTED, waiting.key: Availability.SERVING}
    await ended(remediated, machine_workflow_id(old))
    after = await remediated.machines()
    assert [*after.values()].count(after[waiting.key]) == 1
    assert before.keys() - after.keys() == {old}
    [refilled] = after.keys() - before.keys()
    assert [each.key for each in fleet.environment.store.pool.list()] == [refilled]
    await fleet.refresh_machines()
    await fleet.assert_serves(SECOND)
    # One command shows both machines. Of the lost one, only the console could be saved.
    shown = await fleet.ask("route", "show", EAST)
    lineage = [(each["key"], each["status"]) for each in shown["machines"]]
    assert sorted(lineage) == [(old, "destroyed"), (waiting.key, "running")]
    kept = evidence(remediated, EAST)
    assert kept["missing"].keys() == {"journal", "dpkg-log"}
    assert kept["saved"].keys() == {"console"}
    [lost] = fleet.environment.store.events.list(route_id=EAST, kind="machine-destroyed")
    assert lost.machine_key == old
    assert old in remediated.drained.read_text().split()


async def test_a_machine_that_an_operator_replaces_serves_until_the_next_one_does(
    remediated: RemediationFleet,
) -> None:
    fleet, old = remediated.fleet, remediated.key(WEST)
    async with availability(remediated, WEST) as observed:
        replaced = await fleet.ask("route", "replace", WEST, "--reason", "its disk fails")
    new = replaced["machine"]["key"]
    assert observed == {old: Availability.SERVING, new: Availability.SERVING}
    await ended(remediated, machine_workflow_id(old))
    assert not replaced["from_pool"]
    after = await remediated.machines()
    assert old not in after
    kept = evidence(remediated, WEST)
    assert kept["saved"].keys() == {"journal", "dpkg-log", "console"}, kept["missing"]
    assert "install lantern-box" in kept["saved"]["dpkg-log"]
    assert old in remediated.drained.read_text().split()
    await fleet.refresh_machines()
    await fleet.assert_serves(SECOND)


@pytest.mark.parametrize("cut_off", ["a region", "the control plane"])
async def test_nothing_is_destroyed_in_an_outage_and_all_routes_serve_after_it(
    remediated: RemediationFleet, cut_off: str
) -> None:
    fleet = remediated.fleet
    routes = [each for each in fleet.routes if cut_off != "a region" or each.startswith("west")]
    before, mark = await remediated.machines(), fleet.last_event()
    keys = [remediated.key(each) for each in routes]
    async with AsyncExitStack() as outage:
        await outage.enter_async_context(remediated.without_network(keys))
        if cut_off == "the control plane":
            await outage.enter_async_context(remediated.check.closed())
        for _ in range(3):  # one more than it takes to replace a single unreachable machine
            done = await remediated.reconcile()
            assert done["started"].keys() <= {"verify"}
        status = await fleet.ask("breaker", "status")
        summary = status["breaker"]["incident"]["summary"]
        expected = (
            "no connectivity check of the control plane succeeded"
            if cut_off == "the control plane"
            else ("region lab/lab-west: 3 of 3 machines cannot be reached")
        )
        assert expected in summary
        assert await remediated.machines() == before
    await remediated.reconcile_until_serving(SECOND)

    async def closed() -> bool:
        await remediated.reconcile()
        return fleet.environment.store.breaker.get().incident is None

    await wait_until(closed, REMEDIATED_WITHIN)
    assert (await fleet.ask("breaker", "status"))["breaker"]["incident"] is None
    assert await remediated.machines() == before
    kinds = [each.kind for each in fleet.environment.store.events.list() if each.event_id > mark]
    assert (kinds.count("breaker-opened"), kinds.count("breaker-closed")) == (1, 1)
    assert "machine-destroyed" not in kinds
    await fleet.assert_serves(SECOND)


def evidence(remediated: RemediationFleet, route_id: str) -> Any:
    """Return the saved evidence of the one machine of a route that was destroyed."""
    [kept] = remediated.fleet.environment.store.events.list(
        route_id=route_id, kind="evidence-saved"
    )
    return kept.detail
