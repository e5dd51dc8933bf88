"""Which writes wait for which on PostgreSQL, and what a reader of the event log sees meanwhile."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from relight.domain.event import EventFilter
from relight.store import database
from relight.store.events import write
from relight.store.store import Store, open_upgraded_store
from relight.store.unreachable import is_unreachable
from tests.store.concurrency import run_concurrently
from tests.store.databases import MigratedPostgres
from tests.store.fleets import MANUAL, declare_tracks, failing, proving, run_on, serve

ALL = EventFilter()
ROUTES = ("r-1", "r-2", "r-3", "r-4")


@pytest.fixture
def fleet(migrated_postgresql: MigratedPostgres) -> Store:
    """A store on PostgreSQL with some routes that serve."""
    migrated_postgresql.reset()
    declare_tracks(migrated_postgresql.store)
    for route_id in ROUTES:
        serve(migrated_postgresql.store, route_id)
    return migrated_postgresql.store


@contextmanager
def open_write(store: Store, route_id: str | None) -> Iterator[None]:
    """Hold a write open that has already appended its event `held`."""
    with write(store._database, MANUAL, "held", route_id) as w:
        w.log(route_id=route_id)
        yield


def prove(store: Store, route_id: str) -> None:
    store.routes.record_proof(proving(route_id, "v0.0.74"), run_on(route_id).activity())


def declare(store: Store) -> None:
    store.tracks.set("stable", "v0.0.74", MANUAL)


@contextmanager
def running(call: Callable[[], None]) -> Iterator[Future[None]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


def await_waiting(url: str) -> None:
    """Return when a write waits for a lock."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(query).fetchall() == [(0,)]:
            pass


def test_writes_of_different_routes_do_not_wait_for_each_other(fleet):
    with open_write(fleet, "r-1"):
        prove(fleet, "r-2")
        fleet.routes.record_fault(failing("r-3"), run_on("r-3").activity())
        assert fleet.routes.get("r-2").current_release_tag == "v0.0.74"


@pytest.mark.parametrize(
    ("held", "call"),
    [
        ("r-1", partial(prove, route_id="r-1")),
        ("r-1", declare),
        (None, partial(prove, route_id="r-1")),
        (None, declare),
    ],
    ids=["route-route", "route-fleet", "fleet-route", "fleet-fleet"],
)
def test_a_write_waits_for_one_that_may_change_what_it_reads(
    fleet, migrated_postgresql, held, call
):
    before = len(fleet.events.list())
    holding = open_write(fleet, held)
    with holding:
        thread = running(partial(call, fleet))
        future = thread.__enter__()
        await_waiting(migrated_postgresql.url)
        assert not future.done()
        # This thread reads within the write that it holds open, and sees its event.
        assert len(fleet.events.list()) == before + 1
    thread.__exit__(None, None, None)
    future.result()
    kinds = [event.kind for event in fleet.events.list()[before:]]
    assert kinds[0] == "held"
    assert len(kinds) == 2


def test_an_event_of_a_write_that_is_still_open_is_not_passed_over(fleet):
    last = fleet.events.settled_id()
    with open_write(fleet, "r-1"):
        prove(fleet, "r-2")
        later = fleet.events.list()[-1].event_id
        assert later == last + 2
        assert fleet.events.settled_id() == last
        assert fleet.events.following(ALL, last, fleet.events.settled_id(), 10) == []
    assert fleet.events.settled_id() == later
    found = fleet.events.following(ALL, last, later, 10)
    assert [event.kind for event in found] == ["held", "route-proven"]


def test_what_ended_before_an_open_write_began_is_read_at_once(fleet):
    with open_write(fleet, "r-1"):
        pass
    ended = fleet.events.list()[-1]
    assert ended.kind == "held"
    with open_write(fleet, "r-1"):
        assert fleet.events.settled_id() == ended.event_id


def test_a_follower_reads_each_event_of_concurrent_writes_once(fleet):
    first = last = fleet.events.settled_id()
    ended = threading.Event()
    found: list[int] = []

    def follow() -> None:
        nonlocal last
        is_last = False
        while not is_last:
            is_last = ended.is_set()
            newest = fleet.events.settled_id()
            events = fleet.events.following(ALL, last, newest, 1000)
            found.extend(event.event_id for event in events)
            last = newest

    def append(route_id: str) -> None:
        for _ in range(25):
            fleet.events.append("noted", MANUAL, route_id=route_id)

    with running(follow) as future:
        try:
            run_concurrently([partial(append, route_id) for route_id in ROUTES * 2])
        finally:
            ended.set()
        future.result()
    written = [event.event_id for event in fleet.events.list() if event.event_id > first]
    assert len(written) == 25 * 2 * len(ROUTES)
    assert found == written


def test_a_connection_that_was_lost_while_unused_is_replaced(postgres_url, monkeypatch):
    monkeypatch.setattr(database, "TRUSTED_FOR", timedelta(0))
    terminate = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with open_upgraded_store(postgres_url) as store:
        declare(store)
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute(terminate).fetchall()
        declare(store)
        assert len(store.events.list()) == 2


def test_a_call_that_gets_no_connection_finds_the_store_unreachable(postgres_url, monkeypatch):
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    with open_upgraded_store(postgres_url) as store, store._database.reading() as session:
        session.connection()
        monkeypatch.setattr(store._database._engine.pool, "_timeout", 0.1)
        with pytest.raises(SQLAlchemyError) as refused:
            store.routes.list()
    assert is_unreachable(refused.value)


@pytest.mark.parametrize("held", ["r-1", None])
def test_a_write_that_gets_no_lock_leaves_no_transaction_open(
    fleet, migrated_postgresql, monkeypatch, held
):
    monkeypatch.setattr(database, "WRITE_LOCK_TIMEOUT", timedelta(milliseconds=50))
    with open_write(fleet, held):
        for call in (partial(prove, route_id="r-1"), declare):
            with pytest.raises(OperationalError, match="lock timeout"):
                call(fleet)
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        )
        with psycopg.connect(migrated_postgresql.url, autocommit=True) as connection:
            assert connection.execute(query).fetchall() == [(1,)]
    prove(fleet, "r-1")
