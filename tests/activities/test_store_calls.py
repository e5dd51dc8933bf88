"""A store that makes its callers wait: the event loop of the worker goes on, heartbeats with it."""

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
)

import activities.execution
from activities.execution import HeartbeatInterceptor, StoreGuardInterceptor
from activities.fleet import remediation
from activities.fleet.remediation import RemediationActivities
from relight.domain.reconcile.run import CloseOperationInput
from relight.domain.sweep.sweep import OpenOperation, SweepAction, SweepStep
from relight.store.database import WRITE_LOCK_KEY
from relight.store.rollout_choice import Chosen
from relight.store.store import Store, open_upgraded_store
from relight.store.threads import BlockingStoreCallError, in_thread, in_thread_to_end
from starter.local.children import wait_until
from tests.store.fleets import MANUAL, ORIGIN, declare_tracks, run_on, serve

SOON = timedelta(seconds=10)


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    with open_upgraded_store(postgres_url) as store:
        declare_tracks(store)
        serve(store, "r-1")
        yield store


@contextmanager
def held_lock(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold the write lock, as a writer does that is slow or was cut off."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SELECT pg_advisory_xact_lock({WRITE_LOCK_KEY})".encode())
        yield connection


def waits_for_the_lock(holder: psycopg.Connection[Any]) -> bool:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    [(waiting,)] = holder.execute(query).fetchall()
    return bool(waiting)


async def test_a_lock_wait_of_postgresql_freezes_no_heartbeat(
    store: Store, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activities.execution, "HEARTBEAT_INTERVAL", timedelta(milliseconds=10))

    async def is_running(*_: object) -> bool:
        return False

    monkeypatch.setattr(remediation, "is_running", is_running)
    run = run_on("r-1").activity()
    assert store.disruptions.take("r-1", "a swap", run, lambda all_, _: Chosen(all_)) is None
    ended = closing(run.workflow_id, run.run_id)
    steps = RemediationActivities(store, cast("Client", None))
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, heartbeat_timeout=SOON)
    beats: list[None] = []
    environment.on_heartbeat = lambda *_: beats.append(None)

    with held_lock(postgres_url) as holder:
        running = asyncio.create_task(environment.run(beating, steps.close_operation, ended))

        async def is_waiting() -> bool:
            return waits_for_the_lock(holder)

        await wait_until(is_waiting, SOON)
        seen = len(beats)

        async def has_beaten() -> bool:
            return len(beats) > seen + 2

        await wait_until(has_beaten, SOON)
        assert not running.done()
    await running
    assert store.disruptions.list() == []


async def test_a_lock_wait_leaves_the_threads_of_the_event_loop_free(
    store: Store, postgres_url: str
) -> None:
    """They resolve host names, for instance."""
    with held_lock(postgres_url) as holder:
        writes = [
            asyncio.create_task(in_thread(store.tracks.set, f"t-{number}", None, MANUAL))
            for number in range(100)
        ]

        async def is_waiting() -> bool:
            return waits_for_the_lock(holder)

        await wait_until(is_waiting, SOON)
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert not any(write.done() for write in writes)
    await asyncio.gather(*writes)


async def test_a_call_that_is_made_to_its_end_outlasts_several_cancellations(
    store: Store, postgres_url: str
) -> None:
    with held_lock(postgres_url) as holder:
        call = in_thread_to_end(store.tracks.set, "new", None, MANUAL)
        writing = asyncio.create_task(call)

        async def is_waiting() -> bool:
            return waits_for_the_lock(holder)

        await wait_until(is_waiting, SOON)
        for _ in range(2):
            writing.cancel()
            await asyncio.sleep(0)
        assert not writing.done()
    await writing
    assert store.tracks.get("new") is not None


async def test_an_activity_that_calls_the_store_on_the_event_loop_is_refused(store: Store) -> None:
    async def on_the_loop(input: CloseOperationInput) -> None:
        store.routes.list()

    async def in_a_thread(input: CloseOperationInput) -> int:
        return len(await in_thread(store.routes.list))

    ended = closing("a workflow", "a run")
    with pytest.raises(BlockingStoreCallError):
        await asyncio.create_task(guarded(on_the_loop, ended))
    assert await asyncio.create_task(guarded(in_a_thread, ended)) == 1
    assert len(store.routes.list()) == 1  # Outside of activities nothing is refused.


def closing(workflow_id: str, run_id: str) -> CloseOperationInput:
    ended = OpenOperation(
        workflow_id=workflow_id, run_id=run_id, opened_at=datetime.now(UTC), route_id="r-1"
    )
    step = SweepAction(step=SweepStep.CLOSE, reason="it has ended", operation=ended)
    return CloseOperationInput(step=step, origin=ORIGIN)


class _Outbound(ActivityOutboundInterceptor):
    def __init__(self) -> None:
        """Last in the chain: sends heartbeats."""

    def info(self) -> activity.Info:
        return activity.info()

    def heartbeat(self, *details: Any) -> None:
        activity.heartbeat(*details)


class _Last(ActivityInboundInterceptor):
    def __init__(self) -> None:
        """Last in the chain: calls the activity."""

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        pass

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        return await input.fn(*input.args)


async def guarded(fn: Any, input: CloseOperationInput) -> Any:
    """Run an activity as a worker does."""
    chain = StoreGuardInterceptor().intercept_activity(_Last())
    return await chain.execute_activity(ExecuteActivityInput(fn, [input], None, {}))


async def beating(fn: Any, input: CloseOperationInput) -> Any:
    """Run an activity as a worker does, with heartbeats."""
    guard = StoreGuardInterceptor().intercept_activity(_Last())
    chain = HeartbeatInterceptor().intercept_activity(guard)
    chain.init(_Outbound())
    return await chain.execute_activity(ExecuteActivityInput(fn, [input], None, {}))
