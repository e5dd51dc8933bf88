"""Whatever befalls a route, in whatever order: what is on record stays true."""

import shutil
import tempfile
from pathlib import Path
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
from relight.domain.route import RouteStatus, SetTargetInput
from relight.store.errors import FleetError, RouteOccupiedError
from relight.store.store import Store
from tests.store.fleets import (
    ORIGIN,
    REFUSAL,
    by_hand,
    failing,
    machine,
    opening,
    proving,
    recording,
    route_of,
    run_on,
)

HOLDS_A_MACHINE = (RouteStatus.SERVING, RouteStatus.FAULTED)


class RouteLives(RuleBasedStateMachine):
    """One route, one run at a time, as its workflow id sees to, and a cloud that is only a set.

    A run may end without a word after any of its steps; what it wrote may be written again.
    """

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="relight-route-lives-"))
        shutil.copy(self.template, self.folder / "fleet.db")
        self.store = Store.open(f"sqlite:///{self.folder / 'fleet.db'}")
        self.cloud: set[str] = set()
        self.planned: set[str] = set()
        self.run: Any = None
        self.key: Any = None
        self.written: list[tuple[Any, ...]] = []

    @initialize()
    def declare(self) -> None:
        by_hand(self.store)

    def write(self, method, input):
        """Write as the run's next activity; a refusal is an answer like any other."""
        activity = self.run.activity()
        try:
            answer = method(input, activity)
        except FleetError as refused:
            return refused
        self.written.append((method, input, activity, answer))
        return answer

    @rule()
    def a_run_begins(self) -> None:
        """The last one, if it had not ended, was terminated."""
        self.run, self.key = run_on(), None

    @precondition(lambda self: self.run and not self.key)
    @rule(heard=st.booleans())
    def it_opens_the_route(self, heard: bool) -> None:
        answer = self.write(self.store.routes.open, opening())
        if isinstance(answer, RouteOccupiedError):
            assert route_of(self.store).status in HOLDS_A_MACHINE
            return
        self.planned.add(answer.machine_key)
        if heard:
            self.key = answer.machine_key

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
    def it_undoes_all_and_fails(self) -> None:
        """As provisioning does: what it has heard of is destroyed, then the fault is written."""
        self.cloud.discard(self.key)
        self.write(self.store.routes.record_fault, failing(key=self.key, destroyed=True))
        self.run = self.key = None

    @precondition(lambda self: self.run and not self.key)
    @rule(refused=st.booleans())
    def it_swaps_in_vain(self, refused: bool) -> None:
        target = SetTargetInput(route_id="r-1", release_tag="v0.0.74", origin=ORIGIN)
        self.write(self.store.routes.set_target, target)
        fault = failing(fault=REFUSAL) if refused else failing()
        self.write(self.store.routes.record_fault, fault)
        self.run = None

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def an_activity_runs_again(self, data: st.DataObject) -> None:
        method, said, activity, answer = data.draw(st.sampled_from(self.written))
        before = self.state()
        assert method(said, activity) == answer
        assert self.state() == before

    def state(self) -> object:
        return self.store.routes.list(), self.store.machines.list(), self.store.events.list()

    @invariant()
    def every_machine_that_may_exist_is_on_record(self) -> None:
        alive = {m.key for m in self.store.machines.list("r-1") if m.status != "destroyed"}
        assert self.cloud <= alive
        assert {m.key for m in self.store.machines.list("r-1")} == self.planned

    @invariant()
    def generations_count_up_and_only_the_last_may_live(self) -> None:
        records = self.store.machines.list("r-1")
        assert [r.key for r in records] == [
            machine_key("r-1", number) for number in range(1, len(records) + 1)
        ]
        assert all(record.status == "destroyed" for record in records[:-1])

    @invariant()
    def a_route_says_what_it_holds(self) -> None:
        route = self.store.routes.get("r-1")
        if route is None:
            return
        holds = route.status in HOLDS_A_MACHINE
        assert (route.machine is not None) == holds
        assert (route.current_release_tag is not None) == holds
        assert (route.fault is not None) == (
            route.status in (RouteStatus.FAULTED, RouteStatus.FAILED)
        )
        if route.machine is not None:
            assert route.machine.key in self.cloud

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


@pytest.fixture
def lives(migrated_sqlite: Path) -> type[RouteLives]:
    RouteLives.template = migrated_sqlite
    return RouteLives


def test_a_route_is_never_on_record_as_what_it_is_not(lives):
    run_state_machine_as_test(
        lives, settings=settings(max_examples=40, stateful_step_count=25, deadline=None)
    )
