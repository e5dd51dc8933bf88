"""A day without the store, on the Temporal server that skips time.

Operations wait for it, go on once it is back, and their histories stay short.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities import policies
from relight.domain.names import route_workflow_id
from relight.domain.replacement import AutoreplaceRouteInput
from relight.domain.rollout.rollout import RolloutPhase
from relight.store.database import Database
from tests.workflows.harness import ORIGIN, Harness
from workflows.route.replace import AutoreplaceRoute
from workflows.shield import MAX_PAUSE

DAY, LONGEST_WAIT = timedelta(days=1), timedelta(minutes=10)
MAX_EVENTS = 5000


class Outage:
    """The store is away for a day, from the first call of an activity on.

    The time is that of the server, when it scheduled the attempt. A local attempt is not scheduled.

    Attributes:
        refused: how many calls were refused.
    """

    def __init__(self, begins_with: str) -> None:
        self._begins_with = begins_with
        self._lock = threading.Lock()
        self._local_refused = False
        self._ends_at: datetime | None = None
        self._is_over = False
        self.refused = 0

    def check(self) -> None:
        if not activity.in_activity():
            return
        info = activity.info()
        with self._lock:
            begun = self._local_refused or self._ends_at is not None
            if self._is_over or not (begun or info.activity_type == self._begins_with):
                return
            if info.is_local:
                self._local_refused = True
            else:
                at = info.current_attempt_scheduled_time
                self._ends_at = self._ends_at or at + DAY
                self._is_over = at >= self._ends_at
            if not self._is_over:
                self.refused += 1
                raise OperationalError("a call of the store", None, OSError("no route to host"))


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outage]:
    # Rarer than usual: the waits are skipped, but each attempt takes its time.
    monkeypatch.setattr(policies.STORE.retry, "maximum_interval", LONGEST_WAIT)
    outage = Outage("swap_route")
    for name in ("reading", "writing"):
        original = getattr(Database, name)

        @contextmanager
        def checked(database: Database, *route_id: Any, original: Any = original) -> Iterator[Any]:
            outage.check()
            with original(database, *route_id) as session:
                yield session

        monkeypatch.setattr(Database, name, checked)
    yield outage
    assert outage.refused >= DAY / LONGEST_WAIT


async def history_length(client: Client, workflow_id: str) -> int:
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.history_length


async def test_a_swap_waits_a_day_for_the_store(skipping_harness: Harness, request) -> None:
    harness = skipping_harness
    route_id = await harness.serving_route()
    request.getfixturevalue("outage")
    swap = await harness.start_swap(route_id, "v0.0.74")
    await swap.result()
    assert harness.current_tags([route_id]) == ["v0.0.74"]
    assert len(harness.store.events.list(route_id=route_id, kind="route-proven")) == 2
    assert await history_length(harness.client, swap.id) < 100


async def test_a_rollout_waits_a_day_for_the_store(skipping_harness: Harness, request) -> None:
    harness = skipping_harness
    route_id = await harness.serving_route()
    request.getfixturevalue("outage")
    rollout = await harness.start_rollout("v0.0.74", waves=("100%",))
    assert (await rollout.result()).phase is RolloutPhase.CONVERGED
    assert harness.current_tags([route_id]) == ["v0.0.74"]
    assert await history_length(harness.client, rollout.id) < MAX_EVENTS
    assert await history_length(harness.client, route_workflow_id(route_id)) < 100


async def test_a_day_of_failed_bookkeeping_stays_below_the_limit(
    skipping_harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, but each attempt fails for good, as with a store that refuses the record."""
    harness = skipping_harness
    route_id = await harness.serving_route()
    release = harness.store.disruptions.release
    failures: list[object] = []

    def fails_for_a_day(*args: Any) -> bool:
        if len(failures) < DAY / MAX_PAUSE:
            failures.append(args)
            raise ApplicationError("it is refused", type="refused", non_retryable=True)
        return release(*args)

    monkeypatch.setattr(harness.store.disruptions, "release", fails_for_a_day)
    replaced = await harness.client.start_workflow(
        AutoreplaceRoute.run,
        AutoreplaceRouteInput(
            route_id=route_id, reason="it is faulty", requested=True, origin=ORIGIN
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )
    await replaced.result()
    assert len(failures) >= DAY / MAX_PAUSE
    assert harness.store.disruptions.list() == []
    assert await history_length(harness.client, replaced.id) < MAX_EVENTS
