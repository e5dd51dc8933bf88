"""A hot swap that is interrupted at one of its two writes to the store, or between them."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from itertools import product
from typing import Any

import pytest
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.route.hot_swap import HotSwapActivities, ProofActivities
from activities.route.swap_route import SwapRouteActivities
from relight.domain.names import route_workflow_id
from relight.domain.release import Release
from relight.domain.route import (
    HotSwapRouteInput,
    RouteStatus,
    SwapEnded,
    SwapRouteInput,
)
from relight.hosts.errors import RemoteError
from tests.store.sql import execute
from tests.support.interference import Injection
from tests.support.results import result_within
from tests.workflows.harness import ORIGIN, Harness
from tests.workflows.matrix import run_cells
from workflows.failures import fault_of
from workflows.route.hot_swap import HotSwapRoute

WRITES = ("begin_swap", "record_proof")


class Break(StrEnum):
    """What happens at the first call of a write."""

    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"
    AWAY_BEFORE = "store away before"
    AWAY_AFTER = "store away after"
    NO_CONNECTION = "no connection free"
    READ_ONLY = "store read-only"


NOT_WRITTEN = (Break.AWAY_BEFORE, Break.NO_CONNECTION, Break.READ_ONLY)


class Breaks:
    """Breaks the first call of a write about a route."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pending: dict[tuple[str, str], Break] = {}
        for name in WRITES:
            write = getattr(harness.store.routes, name)
            monkeypatch.setattr(harness.store.routes, name, self._breaking(name, write))

    def add(self, write: str, kind: Break, route_id: str) -> None:
        self._pending[write, route_id] = kind

    def _breaking(self, name: str, write: Callable[..., Any]) -> Callable[..., Any]:
        def breaking(message: Any, *args: Any) -> Any:
            kind = self._pending.pop((name, getattr(message, "route_id", message)), None)
            if kind in {Break.DIES_BEFORE, *NOT_WRITTEN}:
                raise _error(kind)
            result = write(message, *args)
            if kind is not None:
                raise _error(kind)
            return result

        return breaking


def _error(kind: Break) -> Exception:
    if kind.startswith("dies"):
        return ApplicationError("the worker died", type="died")
    if kind is Break.NO_CONNECTION:
        return NoConnectionError("all connections are in use")
    if kind is Break.READ_ONLY:  # As after a failover, or when a disk is full.
        return InternalError("a call of the store", None, OSError("read-only transaction"))
    return OperationalError("a call of the store", None, OSError("no route to host"))


async def test_a_swap_that_breaks_at_a_write_installs_once_and_writes_once(
    roomy_harness, monkeypatch, boundaries
):
    breaks = Breaks(roomy_harness, monkeypatch)

    async def cell(harness: Harness, case: tuple[str, Break]) -> None:
        route_id = await harness.serving_route()
        breaks.add(*case, route_id)
        swapped = await harness.swap(route_id, "v0.0.74")
        assert (swapped.previous_release_tag, swapped.release_tag) == ("v0.0.73", "v0.0.74")
        assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
        assert harness.route(route_id).status is RouteStatus.SERVING
        kinds = [event.kind for event in harness.events(route_id)]
        assert kinds[-3:] == ["target-set", "swap-attempted", "route-proven"]
        assert kinds.count("target-set") == kinds.count("swap-attempted") == 1
        proven = harness.events(route_id, "route-proven")[-1].detail["proof"]
        assert swapped.proof.model_dump(mode="json") == proven
        assert route_id not in {each.route_id for each in harness.store.disruptions.list()}

    async def reported(harness: Harness, case: tuple[str, Break]) -> None:
        await cell(harness, case)
        boundaries.ended("HotSwapRoute", *case, "swapped")

    await run_cells(roomy_harness, reported, list(product(WRITES, Break)))


@pytest.mark.parametrize("kind", NOT_WRITTEN)
async def test_a_swap_waits_for_the_store_before_it_changes_the_host(harness, monkeypatch, kind):
    route_id = await harness.serving_route()
    Breaks(harness, monkeypatch).add("begin_swap", kind, route_id)
    await harness.swap(route_id, "v0.0.74")
    assert harness.interference.ran[-3:] == ["swap_route", "begin_swap", "swap_route"]


@pytest.mark.parametrize("kind", NOT_WRITTEN)
async def test_a_proof_waits_for_the_store_and_is_not_made_again(harness, monkeypatch, kind):
    route_id = await harness.serving_route()
    Breaks(harness, monkeypatch).add("record_proof", kind, route_id)
    await harness.swap(route_id, "v0.0.74")
    assert harness.interference.ran[-2:] == ["swap_route", "record_proof"]


# ---------------------------------------------------------------- refusals


async def swap_to(harness: Harness, route_id: str, release: Release) -> Any:
    """Swap a route as a rollout does, which has resolved the release."""
    handle = await harness.client.start_workflow(
        HotSwapRoute.run,
        HotSwapRouteInput(
            route_id=route_id,
            release_tag=release.tag,
            release=release,
            origin=ORIGIN,
        ),
        id=route_workflow_id(route_id),
        task_queue=harness.task_queue,
    )
    return await result_within(handle)


async def test_a_resolved_release_takes_one_activity(harness):
    route_id = await harness.serving_route()
    await swap_to(harness, route_id, harness.releases.get("v0.0.74"))
    assert harness.interference.ran == ["swap_route"]
    assert harness.route(route_id).current_release_tag == "v0.0.74"


async def refusal_of(harness: Harness, route_id: str, tag: str) -> str:
    """Return the kind of the fault of a swap that changes nothing."""
    before = harness.store.routes.get(route_id), harness.events()
    with pytest.raises(WorkflowFailureError) as failed:
        await swap_to(harness, route_id, harness.releases.get(tag))
    fault = fault_of(failed.value.cause)
    assert fault.refused
    assert (harness.store.routes.get(route_id), harness.events()) == before
    assert harness.store.disruptions.list() == []
    return fault.kind


async def test_a_refusal_changes_nothing(harness, tmp_path):
    healthy, lost = await harness.serving_route(), await harness.serving_route()
    assert await refusal_of(harness, "nobody", "v0.0.74") == "unknown-route"
    assert await refusal_of(harness, healthy, "v0.0.70") == "downgrade-refused"
    execute(
        f"sqlite:///{tmp_path / 'fleet.db'}",
        f"UPDATE routes SET machine_key = NULL, status = 'failed' WHERE route_id = '{lost}'",
    )
    assert await refusal_of(harness, lost, "v0.0.74") == "route-without-machine"


async def test_a_release_without_a_file_for_the_host_leaves_the_target_as_it_was(harness):
    route_id = await harness.serving_route()
    harness.releases.add_with_url("v0.0.79", "arm64")
    with pytest.raises(WorkflowFailureError) as failed:
        await swap_to(harness, route_id, harness.releases.get("v0.0.79"))
    assert fault_of(failed.value.cause).kind == "release-unknown"
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.SERVING, "v0.0.73")
    [event] = harness.events(route_id, "fault-recorded")
    assert event.machine_key == f"{route_id}-g1"


async def test_cancelled_while_the_store_is_away_a_swap_begins_nothing(harness, monkeypatch):
    route_id = await harness.serving_route()
    Breaks(harness, monkeypatch).add("begin_swap", Break.AWAY_BEFORE, route_id)
    harness.interference.inject(Injection.CANCELLED_AFTER, "swap_route")
    with pytest.raises(WorkflowFailureError) as failed:
        await swap_to(harness, route_id, harness.releases.get("v0.0.74"))
    assert fault_of(failed.value.cause).kind == "cancelled"
    assert harness.events(route_id, "target-set") == []
    [event] = harness.events(route_id, "fault-recorded")
    assert (event.machine_key, event.release_tag) == (f"{route_id}-g1", "v0.0.74")
    route = harness.route(route_id)
    assert (route.status, route.target_release_tag) == (RouteStatus.FAULTED, "v0.0.73")


# ---------------------------------------------------------------- attempts


class Attempts:
    """Attempts of one activity on a route, each in an environment of its own."""

    def __init__(self, harness: Harness, route_id: str) -> None:
        parts = harness.parts
        proofs = ProofActivities(parts.hosts, parts.service, parts.probe)
        swaps = HotSwapActivities(parts.hosts, proofs, parts.store)
        self._activities = SwapRouteActivities(parts.store, swaps)
        self._input = SwapRouteInput(
            route_id=route_id, release=harness.releases.get("v0.0.74"), origin=ORIGIN
        )

    def environment(self, number: int = 1) -> ActivityEnvironment:
        environment = ActivityEnvironment()
        environment.info = replace(
            environment.info,
            workflow_id=route_workflow_id(self._input.route_id),
            workflow_run_id="run",
            activity_id="activity",
            attempt=number,
        )
        return environment

    async def run(self, environment: ActivityEnvironment) -> SwapEnded:
        return await environment.run(self._activities.swap_route, self._input)


async def test_each_attempt_at_a_host_has_its_event_also_after_a_wait_for_the_store(harness):
    route_id = await harness.serving_route()
    harness.hosts.of(route_id).version = "0.0.78"  # The host refuses each of them.
    attempts = Attempts(harness, route_id)
    first = attempts.environment()
    again = attempts.environment()
    again.info = replace(again.info, scheduled_time=again.info.scheduled_time + timedelta(hours=1))
    for environment in (first, again):
        with pytest.raises(RemoteError):
            await attempts.run(environment)
    assert len(harness.events(route_id, "swap-attempted")) == 2


async def test_two_attempts_at_once_install_once_and_write_once(harness):
    route_id = await harness.serving_route()
    attempts = Attempts(harness, route_id)
    gate = harness.hosts.hold_installs()
    both = asyncio.gather(*(attempts.run(attempts.environment(number)) for number in (1, 2)))
    await gate.reached()
    gate.open()
    first, second = await both
    assert first.swapped is not None
    assert second.swapped is not None
    assert harness.hosts.of(route_id).installs == ["0.0.73", "0.0.74"]
    for kind, count in (("target-set", 1), ("swap-attempted", 1), ("route-proven", 2)):
        assert len(harness.events(route_id, kind)) == count


class Held:
    """A write that waits in its thread until a test lets it go on."""

    def __init__(self, write: Callable[..., Any]) -> None:
        self._write = write
        self._loop = asyncio.get_running_loop()
        self.reached, self._go_on = asyncio.Event(), threading.Event()

    def __call__(self, *args: Any) -> Any:
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._go_on.wait(30)
        return self._write(*args)

    def go_on(self) -> None:
        self._go_on.set()


async def cancelled_at(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, route_id: str, write: str
) -> "asyncio.Task[SwapEnded]":
    """Return an attempt that is cancelled while it writes."""
    held = Held(getattr(harness.store.routes, write))
    monkeypatch.setattr(harness.store.routes, write, held)
    attempts = Attempts(harness, route_id)
    environment = attempts.environment()
    running = asyncio.create_task(attempts.run(environment))
    await held.reached.wait()
    environment.cancel()
    await asyncio.sleep(0)
    assert not running.done()
    held.go_on()
    await asyncio.wait([running])
    return running


async def test_cancelled_while_it_begins_it_ends_after_its_write_and_changes_no_host(
    harness, monkeypatch
):
    route_id = await harness.serving_route()
    running = await cancelled_at(harness, monkeypatch, route_id, "begin_swap")
    assert running.cancelled()
    assert len(harness.events(route_id, "target-set")) == 1
    assert harness.hosts.of(route_id).installs == ["0.0.73"]


async def test_cancelled_while_it_records_the_proof_it_has_swapped(harness, monkeypatch):
    route_id = await harness.serving_route()
    running = await cancelled_at(harness, monkeypatch, route_id, "record_proof")
    assert running.result().swapped is not None
    assert harness.route(route_id).current_release_tag == "v0.0.74"
