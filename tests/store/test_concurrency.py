"""Several processes and threads on one store: each write has its turn, and one claim wins."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from sqlmodel import select

from relight.domain.rollout.rollout import OpenRolloutInput
from relight.store.errors import RouteOccupiedError, ScopeBusyError
from relight.store.store import Store
from relight.store.tables import EventRow
from tests.store.fleets import (
    HAND,
    ORIGIN,
    opening,
    rollout_run,
    run_on,
)

ROOT = Path(__file__).parents[2]

CLAIM = """
import sys
from relight.store.errors import ScopeBusyError
from relight.store.store import Store
from tests.store.fleets import rollout_run
from tests.store.test_concurrency import claiming
with Store.open(sys.argv[1]) as store:
    store.rollouts.list()
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        store.rollouts.open(claiming(), rollout_run(sys.argv[2]).activity())
    except ScopeBusyError:
        print("busy")
    else:
        print("claimed")
"""

HOLD = """
import sys, time
from relight.store.store import Store
from relight.store.tables import TrackRow
from relight.store.write import write
from tests.store.fleets import HAND
with Store.open(sys.argv[1]) as store, write(store._database, HAND, "half-done") as w:
    w.session.add(TrackRow(name="half-done"))
    w.log()
    w.session.flush()
    print("ready", flush=True)
    time.sleep(60)
"""


def claiming() -> OpenRolloutInput:
    return OpenRolloutInput(release_tag="v0.0.74", scope="fleet", origin=ORIGIN)


def python(script: str, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *argv],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def at_once(actions: list[Callable[[], Any]]) -> list[Any]:
    """Do all at the same moment; return what each returned or raised."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return action()
        except (ScopeBusyError, RouteOccupiedError) as refused:
            return refused

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(act, actions))


def test_of_processes_that_claim_a_scope_at_once_one_wins(store, store_url):
    with ExitStack() as stack:
        processes = [
            stack.enter_context(python(CLAIM, store_url, f"v0.0.{number}")) for number in (74, 75)
        ]
        for process in processes:
            await_ready(process)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate(timeout=20)[0] for process in processes]
    assert sorted(said) == ["busy\n", "claimed\n"]
    assert len(store.rollouts.list()) == 1


def test_of_threads_that_claim_a_scope_at_once_one_wins(store):
    runs = [rollout_run(f"v0.0.{number}").activity() for number in range(8)]
    answers = at_once([partial(store.rollouts.open, claiming(), run) for run in runs])
    assert sum(isinstance(answer, ScopeBusyError) for answer in answers) == 7
    [rollout] = store.rollouts.list()
    assert rollout in answers


def test_an_activity_that_runs_twice_at_once_writes_once(store):
    activity = run_on().activity()
    answers = at_once([lambda: store.routes.open(opening(), activity) for _ in range(6)])
    assert len({answer.machine_key for answer in answers}) == 1
    assert len(store.events.list(kind="route-opened")) == 1


def test_of_strangers_that_open_a_route_at_once_one_wins(store):
    answers = at_once([lambda: store.routes.open(opening(), HAND) for _ in range(6)])
    assert sum(isinstance(answer, RouteOccupiedError) for answer in answers) == 5
    assert [record.key for record in store.machines.list()] == ["r-1-g1"]


def test_many_writers_lose_nothing_and_events_come_in_order(store, store_url):
    with Store.open(store_url) as other:
        stores = [store, other] * 4

        def note(store: Store, writer: int) -> None:
            for number in range(10):
                store.events.append("noted", HAND, detail={"writer": writer, "number": number})

        at_once([partial(note, store, writer) for writer, store in enumerate(stores)])
    noted = [event.detail for event in store.events.list(kind="noted")]
    for writer in range(len(stores)):
        mine = [detail["number"] for detail in noted if detail["writer"] == writer]
        assert mine == list(range(10))


def test_a_writer_that_is_killed_leaves_nothing_and_holds_nobody_up(store, store_url):
    with python(HOLD, store_url) as process:
        await_ready(process)
        process.send_signal(signal.SIGKILL)
    began = time.monotonic()
    store.events.append("noted", HAND)
    assert time.monotonic() - began < 5
    assert store.tracks.get("half-done") is None
    assert store.events.list(kind="half-done") == []


def test_readers_do_not_wait_for_a_writer(store, store_url):
    with python(HOLD, store_url) as process:
        await_ready(process)
        began = time.monotonic()
        assert store.tracks.get("half-done") is None
        assert time.monotonic() - began < 2
        process.kill()


def test_what_is_read_in_several_queries_fits_together(store):
    with store._database.reading() as session:
        before = len(session.exec(select(EventRow)).all())
        store.events.append("noted", HAND)
        session.expire_all()
        assert len(session.exec(select(EventRow)).all()) == before
    assert len(store.events.list()) == before + 1


def test_a_worker_full_of_threads_writes_without_a_refusal(store):
    at_once([lambda: store.tracks.set("stable", "v0.0.70", HAND) for _ in range(40)])
    assert len(store.events.list(kind="track-set")) == 42
