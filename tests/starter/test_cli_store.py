"""`relight store upgrade`, and what all other commands say to a store of another version."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relight.store.database import Database, parse_url
from relight.store.migrate import newest_revision, upgrade
from relight.store.store import Store
from tests.starter.in_process import InProcess
from tests.starter.stores import refused
from tests.store.fleets import serve
from tests.store.sql import execute

READS = ("fleet", "status")
WRITES = ("settings", "set", "default_release_tag", "v0.0.74")
OLDER = "0003"


def store_at(relight: InProcess, revision: str) -> str:
    """Make the store of a command line as an older version left it; return its URL."""
    relight.home.mkdir(exist_ok=True)
    url = f"sqlite:///{relight.home / 'fleet.db'}"
    with closing(Database(parse_url(url))) as database:
        upgrade(database, revision)
    return url


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        [(found,)] = connection.execute("SELECT version_num FROM alembic_version")
    return str(found)


@pytest.mark.parametrize("words", [READS, WRITES])
async def test_an_older_store_is_left_as_it_is(relight: InProcess, words) -> None:
    store_at(relight, OLDER)
    refused(await relight(*words), 3, "tables of an older version", "type `relight store upgrade`")
    assert revision(relight.home / "fleet.db") == OLDER


@pytest.mark.parametrize("words", [READS, WRITES])
async def test_a_newer_store_is_refused(relight: InProcess, words) -> None:
    url = store_at(relight, "head")
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    refused(await relight(*words), 3, "newer version of Relight", "9999")
    refused(await relight("store", "upgrade"), 3, "newer version of Relight", "9999")


@pytest.mark.parametrize("words", [READS, WRITES])
async def test_without_a_store_none_is_created(relight: InProcess, words) -> None:
    refused(await relight(*words), 3, "there is no fleet here", "`relight up`")
    refused(await relight("store", "upgrade"), 3, "there is no fleet here", "`relight up`")
    assert not relight.home.exists()
    url = f"sqlite:///{relight.home.parent / 'fleet.db'}"
    ended = await relight.where(RELIGHT_STORE_URL=url)(*words)
    refused(ended, 3, "no tables yet", "`relight store upgrade`")
    assert not (relight.home.parent / "fleet.db").exists()


async def test_upgrade_makes_the_tables_of_a_store_that_was_set_once(
    relight: InProcess, tmp_path: Path
) -> None:
    newest = newest_revision()
    relight = relight.where(RELIGHT_STORE_URL=f"sqlite:///{tmp_path / 'fleet.db'}")
    made = await relight("store", "upgrade")
    assert (made.code, made.out.strip()) == (
        0,
        f"the store is at revision {newest} now (it had no tables)",
    )
    again = await relight("store", "upgrade", "--json")
    assert again.json == {"revision": newest, "revision_before": newest}
    assert (await relight(*READS)).code == 0


async def test_upgrade_brings_an_older_store_to_this_version(relight: InProcess) -> None:
    store_at(relight, OLDER)
    upgraded = await relight("store", "upgrade")
    assert upgraded.code == 0
    assert f"(it was at {OLDER})" in upgraded.out
    assert (await relight(*READS)).code == 0


async def test_up_upgrades_the_store_in_its_own_home_folder(relight: InProcess) -> None:
    store_at(relight, OLDER)
    try:
        up = await relight.processes("up", "--detach", "--no-lab", "--i-understand", "--no-worker")
        assert up.code == 0, up
        assert revision(relight.home / "fleet.db") == newest_revision()
    finally:
        assert (await relight("down")).code == 0


async def test_an_up_that_fails_leaves_the_store_as_it_is(relight: InProcess) -> None:
    store_at(relight, OLDER)
    down = relight.where(TEMPORAL_ADDRESS="127.0.0.1:1")
    assert (await down.processes("up", "--no-lab", "--i-understand", "--no-worker")).code == 3
    assert revision(relight.home / "fleet.db") == OLDER


async def test_up_leaves_a_store_that_was_set_as_it_is(relight: InProcess) -> None:
    other = InProcess(relight.home.with_name("other"))
    url = store_at(other, OLDER)
    ended = await relight.where(RELIGHT_STORE_URL=url).processes(
        "up", "--no-lab", "--i-understand", "--no-worker"
    )
    assert ended.code == 3
    assert "type `relight store upgrade`" in ended.said
    assert revision(other.home / "fleet.db") == OLDER


async def test_a_prune_is_shown_before_it_is_made(relight: InProcess, store: Store) -> None:
    serve(store, "east-1")
    shown = await relight("store", "prune", "--older-than", "180d", "--dry-run", "--json")
    assert (shown.json["events"], shown.json["dry_run"]) == (0, True)
    made = await relight("store", "prune", "--older-than", "26w")
    assert (made.code, "0 events, 0 rollouts, 0 machines" in made.out) == (0, True)
    assert store.retention.pruned_before() is not None


async def test_a_retention_that_is_too_short_is_refused(relight: InProcess, store: Store) -> None:
    refused(await relight("store", "prune", "--older-than", "6d"), 2, "keep 7 d or more")
    assert store.retention.pruned_before() is None
