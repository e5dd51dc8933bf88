"""Migrations create the tables of the models, and keep the rows of earlier versions."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from relight.domain.breaker.breaker import (
    Breaker,
    BreakerIncident,
    ConnectivityResult,
    GroupReach,
)
from relight.domain.hold import Selector
from relight.store import migrate
from relight.store.database import Database, parse_url
from relight.store.errors import StoreTooNewError, StoreTooOldError
from relight.store.store import Store, open_store
from relight.store.tables import Row
from tests.store.fleets import MANUAL, serve
from tests.store.pools import made_ready
from tests.store.sql import (
    DATABASE_ERRORS,
    execute,
    insert,
)


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    with closing(Database(parse_url(empty_url))) as database:
        yield database


def test_the_models_and_the_migrations_agree(database):
    migrate.upgrade(database)
    with database.connection() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []


def test_downgrading_to_base_drops_all_tables_and_upgrading_creates_them(database):
    migrate.upgrade(database)
    migrate.downgrade(database, "base")
    with database.connection() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate.upgrade(database)
    with database.connection() as connection:
        assert "events" in inspect(connection).get_table_names()


def test_migrating_again_changes_nothing(store):
    serve(store)
    store.upgrade()
    assert [route.route_id for route in store.routes.list()] == ["r-1"]


def test_a_store_from_before_the_pool_keeps_its_rows(database, empty_url):
    migrate.upgrade(database, "0002")
    insert(empty_url, "tracks", name="stable")
    insert(
        empty_url,
        "routes",
        route_id="r-1",
        track="stable",
        provider="lab",
        region="east",
        status="serving",
        machine_key="r-1-g1",
    )
    insert(
        empty_url,
        "machines",
        key="r-1-g1",
        route_id="r-1",
        generation="1",
        provider="lab",
        provider_id="id-of-r-1-g1",
        region="east",
        architecture="amd64",
        status="running",
        created_at="2026-03-01 12:30:15.123456",
        planned_run_id="",
        held_run_id="",
    )
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        [record] = store.machines.list()
        assert (record.key, record.route_id, record.generation) == ("r-1-g1", "r-1", 1)
        assert store.routes.list()[0].machine == store.machines.last_observed("r-1-g1")
        assert made_ready(store) == "pool-lab-east-1"
    with pytest.raises(DATABASE_ERRORS):
        insert(empty_url, "machines", key="r-1-g2", route_id="r-1", generation="1")


OLD_ROWS = Path(__file__).parent / "rows_at_0003.json"
NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
REACH = GroupReach(group="region lab/east", machines=4, observed=3, unreachable=2)
CHECK = ConnectivityResult(
    name="https://deb.debian.org", observed_at=NOON, reached=False, answer="no route to host"
)
OPEN_BREAKER = Breaker(
    incident=BreakerIncident(
        opened_at=NOON,
        last_observed_at=NOON,
        groups=(REACH,),
        connectivity=(CHECK,),
        summary="2 of 4 machines are unreachable",
    ),
    unknown=(REACH,),
)


@pytest.fixture
def old_rows(database: Database, empty_url: str) -> Mapping[str, Mapping[str, Any]]:
    """The rows of a store at migration 0003, one in each table that migration 0004 changes."""
    migrate.upgrade(database, "0003")
    rows: dict[str, dict[str, Any]] = json.loads(OLD_ROWS.read_text())
    for table, row in rows.items():
        insert(
            empty_url, table, **{name: _as_text(value, empty_url) for name, value in row.items()}
        )
    return rows


def _as_text(value: Any, url: str) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    # SQLite stores times in UTC without the zone.
    return str(value).removesuffix("+00:00") if url.startswith("sqlite") else str(value)


@pytest.mark.usefixtures("old_rows")
def test_a_store_with_the_old_words_keeps_its_rows(database, empty_url):
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        release = store.releases.get("v0.0.73")
        assert release is not None
        assert [deb_file.size_bytes for deb_file in release.deb_files] == [7]
        history = store.remediations.histories(NOON)["r-1"]
        assert (history.quarantined, history.gone_since) == (True, NOON)
        assert history.replacement_requested_by == "ann"
        assert store.remediations.end_quarantine("r-1", MANUAL)
        [ended] = store.events.list(kind="quarantine-ended")
        assert ended.detail["reason"] == "three replacements failed"
        assert store.remediations.cancel_replacement_request("r-1", MANUAL)
        [cancelled] = store.events.list(kind="replacement-request-cancelled")
        assert cancelled.detail == {"requested_by": "ann", "reason": "the disk is broken"}
        assert [claim.reason for claim in store.disruptions.list()] == ["repair"]
        [outcome] = store.rollout_routes.list("run")
        assert (outcome.route_id, outcome.wave) == ("r-1", 1)
        assert store.breaker.connectivity() == [CHECK]
        assert store.breaker.get() == OPEN_BREAKER
        [event] = store.events.list(kind="noted")
        assert (event.requested_by, event.reason) == ("ann", "a test")
    with pytest.raises(DATABASE_ERRORS, match="append-only"):
        execute(empty_url, "DELETE FROM events")


def test_a_downgrade_restores_the_old_words_and_keeps_the_rows(database, old_rows):
    with database.connection() as connection:
        before = {table: read(connection, table) for table in old_rows}
        names = schema_names(connection)
    migrate.upgrade(database)
    migrate.downgrade(database, "0003")
    with database.connection() as connection:
        assert {table: read(connection, table) for table in old_rows} == before
        assert schema_names(connection) == names


def test_no_name_in_the_database_contains_an_old_table(database):
    migrate.upgrade(database)
    with database.connection() as connection:
        names = schema_names(connection)
    old_tables = json.loads(OLD_ROWS.read_text()).keys() - Row.metadata.tables.keys()
    assert len(old_tables) == 3
    assert not [name for name in names if any(table in name for table in old_tables)]
    assert {"fk_deb_files_release_tag", "pk_route_remediations"} <= names


OLD_HOLDS = {
    "freezes": {
        "freeze_id": "1",
        "starts_at": "2026-03-01 12:30:00.000000+00:00",
        "ends_at": "2026-03-02 12:30:00.000000+00:00",
        "owner": "ann",
        "reason": "elections",
        "track": "beta",
        "added_at": "2026-03-01 10:00:00.000000+00:00",
    },
    "exclusions": {
        "exclusion_id": "1",
        "owner": "bob",
        "reason": "debugged",
        "expires_at": "2026-03-03 12:30:00.000000+00:00",
        "pinned_to": "v0.0.73",
        "route_id": "r-1",
        "added_at": "2026-03-01 11:00:00.000000+00:00",
    },
    "breaker_overrides": {
        "override_id": "1",
        "group_name": "region lab/east",
        "owner": "ann",
        "reason": "it closed",
        "expires_at": "2026-03-04 12:30:00.000000+00:00",
        "added_at": "2026-03-01 12:00:00.000000+00:00",
    },
}


def test_freezes_exclusions_and_overrides_become_holds_and_back(database, empty_url):
    migrate.upgrade(database, "0007")
    for table, row in OLD_HOLDS.items():
        values = {name: _as_text(value, empty_url) for name, value in row.items()}
        insert(empty_url, table, **values)
    with database.connection() as connection:
        before = {table: read(connection, table) for table in OLD_HOLDS}
        names = schema_names(connection)
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        [freeze], [pin] = store.freezes.list(), store.exclusions.list()
        [override] = store.breaker_overrides.list()
    assert (freeze.starts_at, freeze.covers.track) == (NOON, "beta")
    assert (pin.pinned_to, pin.covers.route_id, pin.ends_at.day) == ("v0.0.73", "r-1", 3)
    assert pin.starts_at == pin.added_at
    assert override.covers == Selector(provider="lab", region="east")
    migrate.downgrade(database, "0007")
    with database.connection() as connection:
        assert {table: read(connection, table) for table in OLD_HOLDS} == before
        assert schema_names(connection) == names


def read(connection: Connection, table: str) -> list[dict[str, Any]]:
    rows = connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()
    return [dict(row) for row in rows]


def schema_names(connection: Connection) -> set[str]:
    """Return the names of all tables, columns, indexes and constraints."""
    inspector = inspect(connection)
    names: set[str | None] = set()
    for table in inspector.get_table_names():
        names.add(table)
        names.add(inspector.get_pk_constraint(table)["name"])
        for part in (
            *inspector.get_columns(table),
            *inspector.get_indexes(table),
            *inspector.get_foreign_keys(table),
            *inspector.get_unique_constraints(table),
        ):
            names.add(part["name"])
    return {name for name in names if name is not None}


def test_a_downgrade_deletes_no_machine_that_may_exist(database, empty_url):
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        key = made_ready(store)
        with pytest.raises(DBAPIError, match=r"generation|route_id"):
            migrate.downgrade(database, "0002")
        assert [member.key for member in store.pool.list()] == [key]
        store.destructions.record(key, MANUAL, reason="the pool is removed")
    migrate.downgrade(database, "0002")
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        assert store.machines.list() == []


def test_concurrent_migrations_run_once(empty_url):
    def migrate(_number: int) -> None:
        with Store.open(empty_url) as store:
            store.upgrade()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(migrate, range(8)))
    with Store.open(empty_url) as store:
        store.tracks.set("stable", None, MANUAL)
        assert len(store.events.list()) == 1


def test_a_failed_migration_leaves_nothing_behind(database, empty_url):
    execute(empty_url, "CREATE TABLE events (conflict INTEGER)")
    with pytest.raises(DBAPIError, match="events"):
        migrate.upgrade(database)
    with database.connection() as connection:
        assert inspect(connection).get_table_names() == ["events"]


def test_a_store_of_a_newer_version_is_refused(database, empty_url):
    migrate.upgrade(database)
    execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNewError, match="newer version of Relight"):
        migrate.upgrade(database)


@pytest.mark.parametrize("revision", ["0001", "0003"])
def test_a_store_of_an_older_version_is_refused_and_not_migrated(database, empty_url, revision):
    migrate.upgrade(database, revision)
    with pytest.raises(StoreTooOldError, match="type `relight store upgrade`"):
        open_store(empty_url)
    assert revision_of(database) == revision


def test_a_store_without_tables_is_refused_and_not_created(empty_url, tmp_path):
    with pytest.raises(StoreTooOldError, match=r"no tables yet.*`relight store upgrade`"):
        open_store(empty_url)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_a_newer_version_is_not_opened(database, empty_url):
    migrate.upgrade(database)
    execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNewError, match="newer version of Relight"):
        open_store(empty_url)


def test_an_upgrade_tells_the_revision_before(empty_url):
    with Store.open(empty_url) as store:
        assert store.upgrade() is None
        assert store.upgrade() == migrate.newest_revision()
    open_store(empty_url).close()


def revision_of(database: Database) -> str | None:
    with database.connection() as connection:
        return MigrationContext.configure(connection).get_current_revision()
