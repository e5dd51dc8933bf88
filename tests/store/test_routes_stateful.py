"""In any order of operations, the record of a route stays correct."""

from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from relight.domain.names import machine_key
from relight.domain.route import RouteStatus, RouteWithoutMachineError
from relight.store.errors import RouteOccupiedError, StoreError
from tests.store.databases import MigratedSqlite
from tests.store.fleets import (
    REFUSAL,
    begin_swap,
    declare_tracks,
    failing,
    machine,
    opening,
    proving,
    recording,
    route_of,
    run_on,
)

HAS_MACHINE = (RouteStatus.SERVING, RouteStatus.FAULTED)


class RouteOperations(RuleBasedStateMachine):
    """One route, one run at a time, as its workflow id ensures. The cloud is a set of keys.

    A run may be terminated after any of its steps, and its activities may be retried.
    """

    migrated: MigratedSqlite

    def __init__(self) -> None:
        super().__init__()
        self.migrated.reset()
        self.store = self.migrated.store
        self.cloud: set[str] = set()
        self.planned: set[str] = set()
        self.run: Any = None
        self.key: Any = None
        self.written: list[tuple[Any, ...]] = []

    @initialize()
    def declare(self) -> None:
        declare_tracks(self.store)

    def write(self, method, message):
        """Write as the run's next activity; return the result or the refusal."""
        activity = self.run.activity()
        try:
            result = method(message, activity)
        except (StoreError, RouteWithoutMachineError) as refusal:
            return refusal
        self.written.append((method, message, activity, result))
        return result

    @rule()
    def a_run_begins(self) -> None:
        """The last run was terminated if it had not ended."""
        self.run, self.key = run_on(), None

    @precondition(lambda self: self.run and not self.key)
    @rule(key_received=st.booleans())
    def it_opens_the_route(self, key_received: bool) -> None:
        result = self.write(self.store.routes.open, opening())
        if isinstance(result, RouteOccupiedError):
            assert route_of(self.store).status in HAS_MACHINE
            return
        self.planned.add(result.machine_key)
        if key_received:
            self.key = result.machine_key

    @precondition(lambda self: self.key)
    @rule()
    def it_creates_its_machine(self) -> None:
        self.cloud.add(self.key)

    @precondition(lambda self: self.key in self.cloud)
    @rule()
    def it_records_its_machine(self) -> None:
        self.write(self.store.routes.record_machine, recording(self.key))

    @precondition(lambda self: self.key in self.cloud)
    @rule()
    def it_proves_its_machine(self) -> None:
        proof = proving().model_copy(update={"machine": machine(self.key)})
        self.write(self.store.routes.record_proof, proof)

    @precondition(lambda self: self.run)
    @rule()
    def it_fails_and_undoes_all(self) -> None:
        """As provisioning does: destroy the machine, then record the fault."""
        self.cloud.discard(self.key)
        self.write(self.store.routes.record_fault, failing(key=self.key, destroyed=True))
        self.run = self.key = None

    @precondition(lambda self: self.run and not self.key)
    @rule(refused=st.booleans())
    def its_swap_fails(self, refused: bool) -> None:
        self.write(partial(begin_swap, self.store, "r-1"), "v0.0.74")
        fault = failing(fault=REFUSAL) if refused else failing()
        self.write(self.store.routes.record_fault, fault)
        self.run = None

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def an_activity_is_retried(self, data: st.DataObject) -> None:
        method, message, activity, result = data.draw(st.sampled_from(self.written))
        before = self.state()
        assert method(message, activity) == result
        assert self.state() == before

    def state(self) -> object:
        return self.store.routes.list(), self.store.machines.list(), self.store.events.list()

    @invariant()
    def every_machine_that_may_exist_is_recorded(self) -> None:
        records = self.store.machines.list("r-1")
        assert self.cloud <= {record.key for record in records if record.status != "destroyed"}
        assert {record.key for record in records} == self.planned
        # Generations count up, and only the last machine may exist.
        assert [r.key for r in records] == [
            machine_key("r-1", number) for number in range(1, len(records) + 1)
        ]
        assert all(record.status == "destroyed" for record in records[:-1])

    @invariant()
    def the_status_of_a_route_matches_its_machine(self) -> None:
        route = self.store.routes.get("r-1")
        if route is None:
            return
        has_machine = route.status in HAS_MACHINE
        assert (route.machine is not None) == has_machine
        assert (route.current_release_tag is not None) == has_machine
        assert (route.fault is not None) == (
            route.status in (RouteStatus.FAULTED, RouteStatus.FAILED)
        )
        if route.machine is not None:
            assert route.machine.key in self.cloud


@pytest.fixture
def operations(migrated_sqlite: MigratedSqlite) -> type[RouteOperations]:
    RouteOperations.migrated = migrated_sqlite
    return RouteOperations


def test_the_record_of_a_route_stays_correct(operations):
    run_state_machine_as_test(
        operations, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )
