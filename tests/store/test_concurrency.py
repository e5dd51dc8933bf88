"""Several processes and threads on one store: writes are serialised, and one claim wins."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

from sqlmodel import select

from relight.domain.route import Route
from relight.store.database import MAX_CONNECTIONS
from relight.store.errors import RouteOccupiedError, ScopeBusyError
from relight.store.events import write
from relight.store.store import Store
from relight.store.tables import EventRow, TrackRow
from tests.store.concurrency import run_concurrently
from tests.store.fleets import (
    MANUAL,
    opening,
    opening_rollout,
    rollout_run,
    run_on,
    serve,
)

PROCESSES = multiprocessing.get_context("forkserver")
# One process imports the store, and each process of a test is forked from it.
PROCESSES.set_forkserver_preload(["tests.store.fleets"])


@contextmanager
def process(target: Callable[..., None], *args: str) -> Iterator[Connection]:
    """Run a function in another process until it is ready; kill it at the end."""
    ours, theirs = PROCESSES.Pipe()
    child = PROCESSES.Process(target=target, args=(theirs, *args))
    child.start()
    theirs.close()
    try:
        assert received(ours) == "ready"
        yield ours
    finally:
        child.kill()
        child.join()
        ours.close()


def received(connection: Connection) -> str:
    assert connection.poll(30)
    return str(connection.recv())


def claim_scope(connection: Connection, url: str, tag: str) -> None:
    with Store.open(url) as store:
        store.rollouts.list()
        connection.send("ready")
        connection.recv()
        try:
            store.rollouts.open(opening_rollout(), rollout_run(tag).activity())
        except ScopeBusyError:
            connection.send("busy")
        else:
            connection.send("claimed")


def hold_write_lock(connection: Connection, url: str) -> None:
    with Store.open(url) as store, write(store._database, MANUAL, "unfinished") as w:
        w.session.add(TrackRow(name="unfinished"))
        w.log()
        w.session.flush()
        connection.send("ready")
        connection.recv()


def test_of_several_processes_one_claims_a_scope(store, store_url):
    with (
        process(claim_scope, store_url, "v0.0.74") as first,
        process(claim_scope, store_url, "v0.0.75") as second,
    ):
        for connection in (first, second):
            connection.send("go")
        assert sorted([received(first), received(second)]) == ["busy", "claimed"]
    assert len(store.rollouts.list()) == 1


def test_of_several_threads_one_claims_a_scope(store):
    runs = [rollout_run(f"v0.0.{number}").activity() for number in range(8)]
    results = run_concurrently(
        [partial(store.rollouts.open, opening_rollout(), run) for run in runs]
    )
    assert sum(isinstance(result, ScopeBusyError) for result in results) == 7
    [rollout] = store.rollouts.list()
    assert rollout in results


def test_concurrent_attempts_of_an_activity_write_once(store):
    activity = run_on().activity()
    results = run_concurrently([lambda: store.routes.open(opening(), activity) for _ in range(6)])
    assert len({result.machine_key for result in results}) == 1
    assert len(store.events.list(kind="route-opened")) == 1


def test_of_several_operations_one_opens_a_route(store):
    results = run_concurrently([lambda: store.routes.open(opening(), MANUAL) for _ in range(6)])
    assert sum(isinstance(result, RouteOccupiedError) for result in results) == 5
    assert [record.key for record in store.machines.list()] == ["r-1-g1"]


def test_concurrent_writers_lose_nothing_and_events_are_in_order(store, store_url):
    with Store.open(store_url) as other:
        stores = [store, other] * 4

        def note(store: Store, writer: int) -> None:
            for number in range(10):
                store.events.append("noted", MANUAL, detail={"writer": writer, "number": number})

        run_concurrently([partial(note, store, writer) for writer, store in enumerate(stores)])
    noted = [event.detail for event in store.events.list(kind="noted")]
    for writer in range(len(stores)):
        mine = [detail["number"] for detail in noted if detail["writer"] == writer]
        assert mine == list(range(10))


def test_a_killed_writer_leaves_nothing_and_blocks_no_other(store, store_url):
    with process(hold_write_lock, store_url):
        pass
    started = time.monotonic()
    store.events.append("noted", MANUAL)
    assert time.monotonic() - started < 5
    assert store.tracks.get("unfinished") is None
    assert store.events.list(kind="unfinished") == []


def test_a_writer_does_not_block_readers(store, store_url):
    with process(hold_write_lock, store_url):
        started = time.monotonic()
        assert store.tracks.get("unfinished") is None
        assert time.monotonic() - started < 2


def test_queries_of_one_session_see_the_same_state(store):
    with store._database.reading() as session:
        before = len(session.exec(select(EventRow)).all())
        store.events.append("noted", MANUAL)
        session.expire_all()
        assert len(session.exec(select(EventRow)).all()) == before
    assert len(store.events.list()) == before + 1


def test_forty_threads_write_without_a_refusal(store):
    run_concurrently([lambda: store.tracks.set("stable", "v0.0.70", MANUAL) for _ in range(40)])
    assert len(store.events.list(kind="track-set")) == 42


def test_writers_that_read_need_one_connection_each(store: Store) -> None:
    """As many writes at once as there are connections: none may wait for a second one."""
    routes = [f"r-{number}" for number in range(MAX_CONNECTIONS)]
    for route_id in routes:
        serve(store, route_id)
    all_write = threading.Barrier(1 if store._database.file else MAX_CONNECTIONS, timeout=20)

    def begin(route_id: str) -> None:
        def may_downgrade(route: Route) -> bool:
            all_write.wait()
            return not store.release_histories.get(route.route_id).tried

        store.routes.begin_swap(route_id, "v0.0.74", run_on(route_id).activity(), may_downgrade)

    run_concurrently([partial(begin, each) for each in routes])
    assert {each.target_release_tag for each in store.routes.list()} == {"v0.0.74"}


def test_a_read_within_a_write_sees_what_was_written(store: Store) -> None:
    with write(store._database, MANUAL, "a-test") as w:
        w.session.add(TrackRow(name="new"))
        assert "new" in [each.name for each in store.tracks.list()]
