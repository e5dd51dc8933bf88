"""Concurrent writes: the outcome is that of a serial order, the order of their events."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relight.domain.base import Origin
from relight.domain.event import Event
from relight.store.errors import StoreError
from relight.store.events import Operation
from relight.store.rollout_choice import Chosen
from relight.store.store import Store
from tests.store.concurrency import run_concurrently
from tests.store.databases import MigratedStore
from tests.store.fleets import (
    REFUSAL,
    declare_tracks,
    failing,
    proving,
    run_on,
    serve,
)

ROUTES = ("r-1", "r-2", "r-3")
TAGS = ("v0.0.74", "v0.0.75", "v0.0.76")
THREADS = 4


def begin_swap(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.routes.begin_swap(route_id, tag, run, lambda _: True)


def record_proof(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.routes.record_proof(proving(route_id, tag), run)


def record_fault(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.routes.record_fault(failing(route_id, tag=tag), run)


def record_refusal(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.routes.record_fault(failing(route_id, REFUSAL, tag=tag), run)


def quarantine(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.remediations.quarantine(route_id, tag, run)


def end_quarantine(store: Store, route_id: str, _tag: str, run: Operation) -> None:
    store.remediations.end_quarantine(route_id, run)


def move(store: Store, route_id: str, tag: str, run: Operation) -> None:
    store.routes.move(route_id, "pinned" if tag == TAGS[0] else "stable", run)


def take(store: Store, route_id: str, tag: str, run: Operation) -> None:
    """Claim a route unless another one is out: a decision about the whole fleet."""
    store.disruptions.take(route_id, tag, run, lambda ids, fleet: Chosen(() if fleet.out else ids))


def release(store: Store, route_id: str, _tag: str, run: Operation) -> None:
    store.disruptions.release(route_id, run)


METHODS = (
    *(begin_swap, record_proof, record_fault, record_refusal, quarantine, end_quarantine),
    *(move, take, release),
)


@dataclass(frozen=True)
class Call:
    """A call of the store by an activity. Several attempts of it may run at once."""

    method: Callable[[Store, str, str, Operation], None]
    route_id: str
    tag: str
    operation: Operation

    def run(self, store: Store) -> None:
        """Make the call. It may be refused, which changes nothing."""
        with suppress(StoreError):
            self.method(store, self.route_id, self.tag, self.operation)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Call]]:
    """Return the calls of each thread. A route has two runs, so that a call finds what it holds."""
    runs = {route_id: (run_on(route_id), run_on(route_id)) for route_id in ROUTES}
    step = st.tuples(
        st.sampled_from(METHODS),
        st.sampled_from(ROUTES),
        st.sampled_from(TAGS),
        st.integers(0, 1),
        st.sets(st.integers(0, THREADS - 1), min_size=1, max_size=2),
    )
    threads: list[list[Call]] = [[] for _ in range(THREADS)]
    for number, drawn in enumerate(draw(st.lists(step, min_size=10, max_size=30))):
        method, route_id, tag, run, attempts = drawn
        named = Origin(requested_by="tester", reason=f"call {number}")
        operation = replace(runs[route_id][run].activity(), origin=named)
        for thread in attempts:
            threads[thread].append(Call(method, route_id, tag, operation))
    return threads


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(threads=histories())
def test_a_concurrent_history_equals_the_serial_one_in_the_order_of_its_events(migrated, threads):
    begin(migrated)
    # A second store, as in another process: nothing but the database is shared.
    with Store.open(migrated.url) as other:
        stores = [migrated.store, other] * (THREADS // 2)
        pairs = zip(stores, threads, strict=True)
        run_concurrently([partial(run_all, store, calls) for store, calls in pairs])
    concurrent = outcome(migrated.store)
    calls = {call.operation.origin.reason: call for thread in threads for call in thread}
    order = [event.reason for event in written(migrated.store)]
    assert len(order) == len({*order}), "an activity wrote twice"
    begin(migrated)
    run_all(migrated.store, [calls[reason] for reason in order])
    assert outcome(migrated.store) == concurrent


def begin(migrated: MigratedStore) -> None:
    migrated.reset()
    declare_tracks(migrated.store)
    for route_id in ROUTES:
        serve(migrated.store, route_id)


def run_all(store: Store, calls: Sequence[Call]) -> None:
    for call in calls:
        call.run(store)


def written(store: Store) -> list[Event]:
    """Return the events of calls, in their order."""
    return [event for event in store.events.list() if event.reason.startswith("call ")]


def outcome(store: Store) -> object:
    """Return all that calls change and what each of their events says, but no time of a write."""
    return (
        store.routes.list(),
        [(record.key, record.status) for record in store.machines.list()],
        [(each.route_id, each.run_id, each.reason) for each in store.disruptions.list()],
        [store.remediations.quarantine_of(route_id) is None for route_id in ROUTES],
        [(each.reason, each.kind, without_time(each.detail)) for each in written(store)],
    )


def without_time(detail: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in detail.items() if name != "since"}
