"""Six real hosts that heal themselves: what is declared by SQL, drift, a death, and two outages.

The settings are as impatient as they may be: what is tried here is what they bring about, not how
long they take. Each test ends with every route proven, so that the next can begin.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from lab.names import LabNames
from relight.domain.names import rollout_workflow_id, route_workflow_id
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.healing import (
    HEALED_WITHIN,
    HealingFleet,
    Seen,
    healing_fleet,
    watched,
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
"""What is done to a host by hand, and as what that is found."""


@pytest.fixture(scope="module")
async def healing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HealingFleet]:
    async with healing_fleet(tmp_path_factory.mktemp("healing")) as made:
        yield made
    assert traces(LabNames(lab_name(made.fleet.world.home)).tag) == []


def declare(healing: HealingFleet, tag: str) -> None:
    """Change what the fleet declares as an operator does who has the database and nothing else."""
    with sqlite3.connect(healing.fleet.world.home / "fleet.db") as store:
        changed = store.execute(
            "UPDATE settings SET value = ? WHERE name = 'default_release_tag'", (tag,)
        )
        assert changed.rowcount == 1


async def test_a_release_that_is_declared_by_sql_comes_to_every_host_with_no_further_command(
    healing: HealingFleet,
) -> None:
    fleet = healing.fleet
    installs = await fleet.installs()
    assert (await fleet.ask("schedule", "apply"))["added"] == ["relight/reconcile"]
    schedule = healing.client.get_schedule_handle("relight/reconcile")
    try:
        declare(healing, SECOND)

        async def converged() -> bool:
            return healing.serves(SECOND) and not await healing.under_way()

        await wait_until(converged, HEALED_WITHIN)
    finally:
        await schedule.delete()
    await fleet.stands(SECOND)
    assert await fleet.installed_since(installs) == {route: ["0.0.74"] for route in fleet.routes}
    # Six of six are behind: that is a rollout, wave by wave, and no stampede.
    rollout = fleet.world.store.rollouts.get(rollout_workflow_id(SECOND, "fleet"))
    assert rollout is not None
    [opened] = fleet.events("rollout-opened", SECOND)
    assert opened.requested_by == "schedule relight/reconcile"


async def test_a_release_that_nobody_knows_is_told_and_not_guessed(healing: HealingFleet) -> None:
    installs = await healing.fleet.installs()
    declare(healing, "v9.9.9")
    try:
        done = await healing.one_run()
    finally:
        declare(healing, SECOND)
    [left] = [each for each in done["observed"]["plan"]["left_alone"] if "fleet" in each["about"]]
    assert "v9.9.9" in left["reason"]
    assert set(done["begun"]) == {"prove"}
    assert await healing.under_way() == []
    assert await healing.fleet.installed_since(installs) == {}
    await healing.fleet.stands(SECOND)


async def test_drift_is_found_within_one_pass_and_mended_by_the_next_as_its_dry_run_says(
    healing: HealingFleet,
) -> None:
    fleet = healing.fleet
    mark = fleet.last_event()
    await asyncio.gather(
        *(fleet.on_host(route_id, script) for route_id, (script, _) in DRIFT.items())
    )
    # Nobody knows yet: the pass looks at all, and finds it.
    looked = await the_run_does_what_its_dry_run_says(healing)
    assert looked["begun"] == {"prove": 6}
    assert (looked["proven"], looked["faulted"]) == (2, 4)
    found = {
        event.route_id: event.fault_kind for event in fleet.events("drift-found", SECOND, mark)
    }
    assert found == {route_id: kind for route_id, (_, kind) in DRIFT.items()}
    # Now it is known.
    mended = await the_run_does_what_its_dry_run_says(healing)
    assert mended["begun"] == {"repair": 4, "prove": 2}
    await asyncio.gather(*(ended(healing, route_workflow_id(each)) for each in DRIFT))
    await fleet.stands(SECOND)
    for route_id in fleet.routes:
        assert await fleet.on_host(route_id, "dpkg --verify lantern-box") == ""
        assert await fleet.on_host(route_id, "systemctl is-active lantern-box") == "active"


async def the_run_does_what_its_dry_run_says(healing: HealingFleet) -> Any:
    dry = await healing.fleet.ask("reconcile", "--dry-run")
    done = await healing.one_run()
    planned, taken = dry["observed"]["plan"], done["observed"]["plan"]
    assert planned["actions"] == taken["actions"]
    assert planned["left_alone"] == taken["left_alone"]
    assert done["not_begun"] == []
    assert sum(done["begun"].values()) == len(planned["actions"])
    return done


async def ended(healing: HealingFleet, workflow_id: str) -> None:
    """Wait until an operation has ended, and see that it ended well."""
    await healing.client.get_workflow_handle(workflow_id).result()


async def test_a_machine_without_a_network_is_replaced_by_one_of_the_pool(
    healing: HealingFleet,
) -> None:
    fleet = healing.fleet
    assert (await fleet.relight("pool", "set", "lab", "lab-east", "1")).code == 0
    await healing.runs_until_healed(SECOND)
    [waiting] = fleet.world.store.pool.list()
    assert waiting.release_tag == SECOND
    before, old = await healing.machines(), healing.key(EAST)
    await healing.switch([old], on=False)
    async with watched(healing, EAST) as seen:
        await healing.runs_until_healed(SECOND)
    assert seen == {old: Seen.LISTED, waiting.key: Seen.SERVING}
    after = await healing.machines()
    assert [*after.values()].count(after[waiting.key]) == 1
    assert before.keys() - after.keys() == {old}
    [refilled] = after.keys() - before.keys()
    assert [each.key for each in fleet.world.store.pool.list()] == [refilled]
    await fleet.see_machines()
    await fleet.stands(SECOND)
    # Both generations, in one question; and what the dead one could still tell.
    shown = await fleet.ask("route", "show", EAST)
    lineage = [(each["key"], each["status"]) for each in shown["machines"]]
    assert sorted(lineage) == [(old, "destroyed"), (waiting.key, "running")]
    kept = evidence(healing, EAST)
    assert kept["missing"].keys() == {"journal", "dpkg-log"}
    assert kept["saved"].keys() == {"console"}
    [lost] = fleet.world.store.events.list(route_id=EAST, kind="machine-destroyed")
    assert lost.machine_key == old
    assert old in healing.drained.read_text().split()


async def test_a_machine_that_an_operator_gives_up_serves_until_the_next_one_does(
    healing: HealingFleet,
) -> None:
    fleet, old = healing.fleet, healing.key(WEST)
    async with watched(healing, WEST) as seen:
        replaced = await fleet.ask("route", "replace", WEST, "--reason", "its disk fails")
    new = replaced["machine"]["key"]
    assert seen == {old: Seen.SERVING, new: Seen.SERVING}
    assert not replaced["from_pool"]
    after = await healing.machines()
    assert old not in after
    kept = evidence(healing, WEST)
    assert kept["saved"].keys() == {"journal", "dpkg-log", "console"}, kept["missing"]
    assert "install lantern-box" in kept["saved"]["dpkg-log"]
    assert old in healing.drained.read_text().split()
    await fleet.see_machines()
    await fleet.stands(SECOND)


@pytest.mark.parametrize("cut_off", ["a region", "the control plane"])
async def test_nothing_is_destroyed_in_an_outage_and_all_is_well_after_it(
    healing: HealingFleet, cut_off: str
) -> None:
    fleet = healing.fleet
    routes = [each for each in fleet.routes if cut_off != "a region" or each.startswith("west")]
    before, mark = await healing.machines(), fleet.last_event()
    keys = [healing.key(each) for each in routes]
    async with AsyncExitStack() as outage:
        await outage.enter_async_context(healing.without_network(keys))
        if cut_off == "the control plane":
            await outage.enter_async_context(healing.check.away())
        for _ in range(4):  # twice as many as lose a machine that is alone in that
            done = await healing.one_run()
            assert done["begun"].keys() <= {"prove"}
        status = await fleet.ask("breaker", "status")
        summary = status["breaker"]["incident"]["summary"]
        said = (
            "did not reach a single witness"
            if cut_off == "the control plane"
            else ("region lab/lab-west: 3 of 3 machines cannot be reached")
        )
        assert said in summary
        assert await healing.machines() == before
    await healing.runs_until_healed(SECOND)

    async def closed() -> bool:
        await healing.one_run()
        return (await fleet.ask("breaker", "status"))["breaker"]["incident"] is None

    await wait_until(closed, HEALED_WITHIN)
    assert await healing.machines() == before
    since = [each.kind for each in fleet.world.store.events.list() if each.event_id > mark]
    assert (since.count("breaker-opened"), since.count("breaker-closed")) == (1, 1)
    assert "machine-destroyed" not in since
    await fleet.stands(SECOND)


def evidence(healing: HealingFleet, route_id: str) -> Any:
    """Return what was kept of the one machine of a route that was given up."""
    [kept] = healing.fleet.world.store.events.list(route_id=route_id, kind="evidence-saved")
    return kept.detail
