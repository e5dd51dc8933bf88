"""A store that is restored from an old backup, over six real hosts that went on since."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.names import LabNames
from relight.domain.names import machine_workflow_id
from starter.cli.errors import ExitCode
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.remediation_fleet import RemediationFleet, remediation_fleet

pytestmark = [pytest.mark.lab, pytest.mark.attack("a store from an old backup")]

FIRST, SECOND = "v0.0.73", "v0.0.74"
REPLACED = "west-stable-1"


@pytest.fixture
async def remediated(tmp_path: Path) -> AsyncIterator[RemediationFleet]:
    async with remediation_fleet(tmp_path) as fleet:
        yield fleet
    assert traces(LabNames(lab_name(fleet.fleet.environment.home)).tag) == []


async def test_a_fleet_that_is_newer_than_its_restored_store_is_left_as_it_is_until_it_is_adopted(
    remediated: RemediationFleet, tmp_path: Path
) -> None:
    fleet, live = remediated.fleet, remediated.fleet.environment.home / "fleet.db"
    backup = tmp_path / "backup.db"
    _copy(live, backup)
    assert (await fleet.roll_out(SECOND)).code == 0
    old = remediated.key(REPLACED)
    replaced = await fleet.ask("route", "replace", REPLACED, "--reason", "its disk fails")
    new = replaced["machine"]["key"]
    await remediated.client.get_workflow_handle(machine_workflow_id(old)).result()
    await fleet.refresh_machines()
    machines, installs = await remediated.machines(), await fleet.installs()
    assert old not in machines
    _copy(backup, live)

    for _ in range(4):  # More than it takes to repair what has drifted, or to replace what is gone.
        done = await remediated.reconcile()
        assert done["started"].keys() <= {"verify"}
    incidents = (await fleet.ask("fleet", "status"))["incidents"]
    assert [each["kind"] for each in incidents] == ["records-outdated"]
    checked = await fleet.relight("store", "check", "--json")
    assert (checked.code, checked.json["count"]) == (ExitCode.FAILED, {"record behind": 6})
    # It would adopt the machine that serves, fail to prove the old release there, and destroy it.
    refused = await fleet.relight("route", "replace", REPLACED, "--reason", "by a person")
    assert refused.code == ExitCode.REFUSED, refused
    assert new in refused.err
    assert await remediated.machines() == machines
    assert await fleet.installed_since(installs) == {}

    shown = await fleet.ask("store", "adopt-current", "--dry-run")
    assert shown["count"] == {"record behind": 6}
    routes = fleet.environment.store.routes.list()
    assert {each.current_release_tag for each in routes} == {FIRST}
    adopted = await fleet.ask("store", "adopt-current", "--yes", "--reason", "an old backup")
    assert adopted["count"] == {"adopted": 7}
    assert (await fleet.relight("store", "check")).code == ExitCode.OK
    assert await fleet.default() == SECOND
    assert remediated.key(REPLACED) == new
    for _ in range(2):
        done = await remediated.reconcile()
        assert done["started"].keys() <= {"verify"}
        assert done["observed"]["plan"]["faults"] == []
    assert await remediated.machines() == machines
    assert await fleet.installed_since(installs) == {}
    await fleet.assert_serves(SECOND)


def _copy(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
