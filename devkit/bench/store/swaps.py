"""The writes of hot swaps, by the store's own methods, in a process with a worker's threads."""

import itertools
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from relight.domain.base import Origin
from relight.domain.names import route_workflow_id
from relight.domain.route import OpenRouteInput, RecordMachineInput
from relight.store.events import Operation
from relight.store.store import Store
from relight.store.threads import THREADS
from tests.store.fleets import proving

ORIGIN = Origin(requested_by="bench", reason="bench-store")
TAGS = ("v0.0.73", "v0.0.74")
TRACK = "stable"


@dataclass(frozen=True)
class Period:
    """When writes count, by the computer's monotonic clock, in seconds. Others fill it up."""

    begins: float
    ends: float


@dataclass(frozen=True)
class Written:
    """What one process wrote in a period, and the CPU time of the process for that."""

    writes: int
    cpu_seconds: float


def provision(url: str, processes: int) -> None:
    """Give each thread of each process a route of its own."""
    with Store.open(url) as store:
        store.upgrade()
        store.tracks.set(TRACK, None, Operation(ORIGIN))
        for process, thread in itertools.product(range(processes), range(THREADS)):
            _provision(store, _route_id(process, thread))


def swap_during(url: str, process: int, period: Period) -> Written:
    """Write swaps with all threads until a period ends; return what ended within it."""
    with Store.open(url) as store, ThreadPoolExecutor(THREADS) as pool:
        routes = [_route_id(process, thread) for thread in range(THREADS)]
        running = [pool.submit(_swap_during, store, route_id, period) for route_id in routes]
        time.sleep(max(0.0, period.begins - time.monotonic()))
        before = time.process_time()
        time.sleep(max(0.0, period.ends - time.monotonic()))
        cpu_seconds = time.process_time() - before
        return Written(sum(each.result() for each in running), cpu_seconds)


def _swap_during(store: Store, route_id: str, period: Period) -> int:
    counted = 0
    for tag in itertools.cycle(TAGS):
        for _ in _swap(store, route_id, tag):
            now = time.monotonic()
            if now > period.ends:
                return counted
            counted += now >= period.begins
    raise AssertionError


def _swap(store: Store, route_id: str, tag: str) -> Iterator[None]:
    """Write what one hot swap of a route writes; yield after each write."""
    swap = Operation(ORIGIN, route_workflow_id(route_id), str(uuid.uuid4()), "1")
    proof = proving(route_id, tag)
    attempt = {"attempt": 1, "seen": proof.proof.model_dump(mode="json")}
    store.routes.begin_swap(route_id, tag, swap, lambda _: False)
    yield
    store.routes.record_proof(proof.model_copy(update={"swap_attempt": attempt}), swap)
    yield


def _provision(store: Store, route_id: str) -> None:
    opening = OpenRouteInput(
        route_id=route_id,
        track=TRACK,
        provider="bench",
        region="east",
        release_tag=TAGS[1],
        origin=ORIGIN,
    )
    key = store.routes.open(opening, Operation(ORIGIN)).machine_key
    proof = proving(route_id, TAGS[1])
    assert proof.machine.key == key
    created = RecordMachineInput(machine=proof.machine, user_data_sha256="", origin=ORIGIN)
    store.routes.record_machine(created, Operation(ORIGIN))
    store.routes.record_proof(proof, Operation(ORIGIN))


def _route_id(process: int, thread: int) -> str:
    return f"bench-{process}-{thread}"
