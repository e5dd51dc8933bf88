"""Migrations: they make what the models say, from nothing and at any time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import DBAPIError

from relight.store import migrate
from relight.store.database import Database, parse_url
from relight.store.errors import StoreTooNewError
from relight.store.store import Store
from relight.store.tables import Row
from tests.store.fleets import HAND, serve
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


def test_a_step_down_leaves_nothing_and_a_step_up_makes_it_again(database):
    migrate.upgrade(database)
    migrate.downgrade(database, "base")
    with database.connection() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    migrate.upgrade(database)
    with database.connection() as connection:
        assert "events" in inspect(connection).get_table_names()


def test_migrating_again_keeps_what_is_there(store):
    serve(store)
    store.migrate()
    assert [route.route_id for route in store.routes.list()] == ["r-1"]


def test_a_store_from_before_the_pool_keeps_what_it_has(database, empty_url):
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
        assert store.routes.list()[0].machine == store.machines.seen("r-1-g1")
        assert made_ready(store) == "pool-lab-east-1"
    with pytest.raises(DATABASE_ERRORS):
        insert(empty_url, "machines", key="r-1-g2", route_id="r-1", generation="1")


def test_a_step_down_forgets_no_machine_that_may_exist(database, empty_url):
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        key = made_ready(store)
        with pytest.raises(DBAPIError, match=r"generation|route_id"):
            migrate.downgrade(database, "0002")
        assert [member.key for member in store.pool.list()] == [key]
        store.destructions.record(key, HAND, reason="the pool ends")
    migrate.downgrade(database, "0002")
    migrate.upgrade(database)
    with Store.open(empty_url) as store:
        assert store.machines.list() == []


def test_many_may_migrate_at_once(empty_url):
    def migrate(_number: int) -> None:
        with Store.open(empty_url) as store:
            store.migrate()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(migrate, range(8)))
    with Store.open(empty_url) as store:
        store.tracks.set("stable", None, HAND)
        assert len(store.events.list()) == 1


def test_a_migration_that_fails_leaves_nothing_behind(database, empty_url):
    execute(empty_url, "CREATE TABLE events (in_the_way INTEGER)")
    with pytest.raises(DBAPIError, match="events"):
        migrate.upgrade(database)
    with database.connection() as connection:
        assert inspect(connection).get_table_names() == ["events"]


def test_a_store_of_a_newer_version_is_left_alone(store, store_url):
    execute(store_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreTooNewError, match="newer version of Relight"):
        store.migrate()
