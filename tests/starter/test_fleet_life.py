"""A fleet's life: made, brought along from before, restored, and half of it lost."""

import asyncio
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from dotenv import dotenv_values

from relight.domain.base import Origin
from relight.domain.retention import PruneStoreInput
from relight.engine.fleet import NAMESPACE_KEY, namespace_identity
from relight.store import migrate
from relight.store.database import Database, parse_url
from relight.store.store import open_upgraded_store
from starter.local import processes
from starter.local.children import wait_until
from starter.local.home import (
    new_client_key,
    new_host_key_secret,
    prepare_home,
    write_env,
    write_private,
)
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.support.command_line import CommandLine, typed_in
from tests.support.fleets import OwnFleet, own_fleet, serve_one
from workflows.fleet.prune import PruneStore

pytestmark = pytest.mark.attack("a command in the wrong place")

SOON = timedelta(seconds=20)
PRUNE = PruneStoreInput(
    older_than=timedelta(days=90), origin=Origin(requested_by="ann", reason="a test")
)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[OwnFleet]:
    """A fleet whose server runs."""
    async with own_fleet(tmp_path / "real") as fleet:
        yield fleet


async def test_a_store_from_before_gets_an_id_and_up_joins_it(tmp_path: Path) -> None:
    relight = CommandLine(tmp_path / "home")
    async with own_fleet(relight.home):
        pass
    with closing(Database(parse_url(f"sqlite:///{relight.home / 'fleet.db'}"))) as database:
        migrate.downgrade(database, "0014")
    for name in ("temporal.db", "temporal.db-wal", "temporal.db-shm"):
        (relight.home / name).unlink(missing_ok=True)
    refused(await relight("fleet", "status"), 3, "type `relight store upgrade`")
    up = await relight("up", "--detach", "--json", "--no-lab", "--i-understand", "--no-worker")
    try:
        assert up.code == 0, up
        assert len(up.json["fleet"]) == 16
        assert (await relight("schedule", "list")).code == 0
    finally:
        await processes.stop(relight.home, SOON)


async def test_a_restored_backup_is_the_same_fleet(fleet: OwnFleet, tmp_path: Path) -> None:
    relight, backup = InProcess(fleet.home), tmp_path / "backup.db"
    with (
        closing(sqlite3.connect(fleet.home / "fleet.db")) as now,
        closing(sqlite3.connect(backup)) as copy,
    ):
        now.backup(copy)
    assert (await relight("track", "set", "beta")).code == 0
    fleet.store.close()
    for name in ("fleet.db-wal", "fleet.db-shm"):
        (fleet.home / name).unlink(missing_ok=True)
    shutil.copy(backup, fleet.home / "fleet.db")
    assert (await relight("schedule", "list")).code == 0
    assert fleet.store.fleet_identity.get().fleet_id == fleet.fleet_id
    assert fleet.store.tracks.get("beta") is None


async def test_up_makes_no_new_store_beside_the_temporal_of_a_lost_one(tmp_path: Path) -> None:
    relight = CommandLine(tmp_path / "home")
    async with own_fleet(relight.home) as own:
        fleet_id = own.fleet_id
    for file in relight.home.glob("fleet.db*"):
        file.unlink()
    up = await relight("up", "--no-lab", "--i-understand", "--no-worker")
    refused(up, 3, fleet_id, "Restore that file from a backup")
    assert not (relight.home / "fleet.db").exists()


async def test_a_lost_temporal_is_replaced_by_an_explicit_word(tmp_path: Path) -> None:
    relight = CommandLine(tmp_path / "home")
    async with own_fleet(relight.home) as own:
        fleet_id = own.fleet_id
    for file in relight.home.glob("temporal.db*"):
        file.unlink()
    words = ("up", "--detach", "--json", "--no-lab", "--i-understand", "--no-worker")
    refused(await relight(*words), 3, fleet_id, "`relight up --adopt-temporal`")
    up = await relight(*words, "--adopt-temporal")
    try:
        assert up.code == 0, up
        assert up.json["fleet"] == fleet_id
        assert (await relight("schedule", "list")).code == 0
    finally:
        await processes.stop(relight.home, SOON)


async def test_init_makes_a_fleet_for_a_temporal_of_ones_own(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    await _clear_mark(fleet)
    relight = InProcess(tmp_path / "new", {"TEMPORAL_ADDRESS": fleet.address})
    made = await relight("init", "--json")
    assert made.code == 0, made
    assert (await relight("init", "--json")).json == made.json
    assert (await relight("fleet", "status")).code == 0
    assert (await relight("schedule", "list")).code == 0
    assert (await namespace_identity(fleet.client)).fleet_id == made.json["fleet"]
    assert (relight.home / "host_key_secret").exists()


async def test_what_init_was_given_and_made_is_there_in_a_new_shell(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    """As README has it: with a Temporal of one's own."""
    await _clear_mark(fleet)
    folder, elsewhere, home = (tmp_path / name for name in ("here", "elsewhere", "fleet"))
    for each in (folder, elsewhere):
        each.mkdir()
    write_private(folder / "client_key", new_client_key())
    write_private(folder / "secret", new_host_key_secret())
    checks = '{\n  "smoke": {"kind": "command", "command": ["/bin/sh", "-c", "echo \'ok\'"]}\n}'
    exported = {
        "RELIGHT_HOME": str(home),
        "TEMPORAL_ADDRESS": fleet.address,
        "RELIGHT_STORE_URL": "sqlite:///fleet-store.db",
        "RELIGHT_REPOSITORY__URL": "https://packages.example/debian",
        "RELIGHT_SSH__CLIENT_KEY": "client_key",
        "RELIGHT_SSH__HOST_KEY_SECRET": "secret",
        "RELIGHT_GATE_CHECKS": checks,
    }
    for words in (("store", "upgrade"), ("init",), ("init",)):
        ended = await typed_in(folder, *words, **exported)
        assert ended.code == 0, ended
    assert (home / "env").stat().st_mode & 0o777 == 0o600
    assert not (home / "ssh_client_key").exists()
    add = ("context", "add", "prod", "--home", str(home), "--temporal-address", fleet.address)
    assert (await typed_in(folder, *add)).code == 0
    assert (await typed_in(folder, "context", "use", "prod")).code == 0
    doctor = await typed_in(elsewhere, "doctor", "--json")
    found = {each["name"]: each["status"] for each in doctor.json["checks"]}
    for name in ("context", "settings", "SSH client key", "host-key secret", "store", "Temporal"):
        assert found[name] == "ok", doctor.json
    assert found["fleet"] == found["search attributes"] == "ok"
    settings = {each["name"]: each for each in doctor.json["settings"]}
    for name in ("RELIGHT_STORE_URL", "RELIGHT_GATE_CHECKS", "RELIGHT_REPOSITORY__URL"):
        assert settings[name]["origin"] == str(home / "env")
    assert settings["RELIGHT_SSH__CLIENT_KEY"]["value"] == str(folder / "client_key")
    assert settings["RELIGHT_GATE_CHECKS"]["value"] == "smoke"
    assert (await typed_in(elsewhere, "fleet", "status")).code == 0
    assert (await typed_in(elsewhere, "schedule", "list")).code == 0


async def test_init_keeps_the_settings_of_the_keys_that_it_made(tmp_path: Path) -> None:
    relight = InProcess(tmp_path / "new")
    assert (await relight("init")).code == 0
    env = dotenv_values(relight.home / "env")
    assert env == {
        "RELIGHT_SSH__CLIENT_KEY": str(relight.home / "ssh_client_key"),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(relight.home / "host_key_secret"),
    }
    write_env(relight.home, {"RELIGHT_SSH__CLIENT_KEY": "/elsewhere/key"})
    assert (await relight("init")).code == 0
    assert dotenv_values(relight.home / "env")["RELIGHT_SSH__CLIENT_KEY"] == "/elsewhere/key"


async def test_init_does_not_give_a_home_with_a_store_another_one(tmp_path: Path) -> None:
    relight = InProcess(tmp_path / "new")
    assert (await relight("init")).code == 0
    before = (relight.home / "env").read_text()
    another = relight.where(RELIGHT_STORE_URL=f"sqlite:///{tmp_path / 'another.db'}")
    refused(await another("init"), 3, "has a store of its own", "Set RELIGHT_HOME")
    assert (relight.home / "env").read_text() == before


async def test_a_namespace_from_before_is_joined_by_an_explicit_word_only(
    fleet: OwnFleet, tmp_path: Path
) -> None:
    await fleet.client.start_workflow(PruneStore.run, PRUNE, id="prune", task_queue="relight")
    await _clear_mark(fleet)
    prepare_home(tmp_path / "old")
    url = f"sqlite:///{tmp_path / 'old' / 'fleet.db'}"
    with open_upgraded_store(url) as store:
        serve_one(store)
    relight = InProcess(tmp_path / "old", {"TEMPORAL_ADDRESS": fleet.address})
    refused(await relight("route", "list"), 3, "belongs to no fleet yet", "`relight init`")
    refused(await relight("init"), 3, "routes: 1", "`relight init --adopt-temporal`")
    assert (await relight("init", "--adopt-temporal")).code == 0
    assert (await relight("route", "list")).code == 0


async def _clear_mark(fleet: OwnFleet) -> None:
    """Let the namespace be as before fleets had ids."""
    program = Path(sys.executable).with_name("temporal")
    process = await asyncio.create_subprocess_exec(
        *(program, "operator", "namespace", "update", "--address", fleet.address),
        *("--namespace", "default", "--data", f"{NAMESPACE_KEY}="),
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0

    async def unmarked() -> bool:
        return not (await namespace_identity(fleet.client)).fleet_id

    await wait_until(unmarked, SOON)
