"""In any order of steps, a route keeps its machine until another one has replaced it.

Runs of the route's workflow follow each other and may be terminated after any step. The cloud is a
set of keys.
"""

from random import Random

import pytest

from relight.domain.machine import Machine
from relight.domain.pool.pool import PoolStatus, claimable
from relight.store.store import Store
from tests.store.fleets import (
    MANUAL,
    failing,
    machine,
    proving,
    recording,
    route_of,
    run_on,
    serve,
)
from tests.store.pools import made_ready

STEPS = 60


class Replacing:
    """A route, a pool, and the machines that exist at the provider."""

    def __init__(self, store: Store, random: Random) -> None:
        self.store, self.random = store, random
        self.cloud = {serve(store).machine.key}  # type: ignore[union-attr]
        self.begin()

    def begin(self) -> None:
        self.run = run_on()
        self.next: Machine | None = None

    def fill_the_pool(self) -> None:
        self.cloud.add(made_ready(self.store))

    def claim(self) -> None:
        claimed = self.store.pool.claim("r-1", "v0.0.73", self.run.activity(), claimable)
        self.next = claimed.machine if claimed else self.next

    def plan(self) -> None:
        key = self.store.replacements.plan("r-1", self.run.activity()).machine_key
        self.next = machine(key)

    def create(self) -> None:
        if self.next is not None:
            self.cloud.add(self.next.key)
            self.store.routes.record_machine(recording(self.next.key), self.run.activity())

    def attach(self) -> None:
        if self.next is not None and self.next.key in self.cloud:
            proof = proving().proof
            self.store.replacements.attach("r-1", self.next, proof, self.run.activity())
            self.begin()

    def undo(self) -> None:
        if self.next is not None:
            self.cloud.discard(self.next.key)
            fault = failing(key=self.next.key, destroyed=True)
            self.store.routes.record_fault(fault, self.run.activity())
            self.begin()

    def destroy_drained(self) -> None:
        for record in self.store.machines.list("r-1"):
            if record.status == "draining":
                self.cloud.discard(record.key)
                self.store.destructions.record(record.key, MANUAL, reason="replaced")

    def recycle(self) -> None:
        for member in self.store.pool.list():
            if self.store.pool.mark_leaving(member.key, MANUAL):
                self.cloud.discard(member.key)
                self.store.destructions.record(member.key, MANUAL, reason="too old")
            return

    def step(self) -> None:
        steps = [self.begin, self.fill_the_pool, self.destroy_drained, self.recycle]
        # A run mostly continues.
        steps += 3 * ([self.claim, self.plan] if self.next is None else [self.create, self.attach])
        if self.next is not None:
            steps.append(self.undo)
        self.random.choice(steps)()

    def check(self) -> None:
        records = {record.key: record for record in self.store.machines.list()}
        alive = {key for key, record in records.items() if record.status != "destroyed"}
        assert self.cloud <= alive
        serving: Machine | None = route_of(self.store).machine
        assert serving is not None
        assert serving.key in self.cloud
        assert records[serving.key].status == "running"
        of_route = [record for record in records.values() if record.route_id == "r-1"]
        beside = [
            r for r in of_route if r.status in ("planned", "running") and r.key != serving.key
        ]
        assert len(beside) <= 1
        assert sorted(r.generation or 0 for r in of_route) == list(range(1, len(of_route) + 1))
        members = self.store.pool.list()
        assert not {member.key for member in members} & {record.key for record in of_route}
        assert {m.key for m in members if m.status is PoolStatus.READY} <= self.cloud


@pytest.mark.parametrize("seed", range(5))
def test_a_route_always_has_the_machine_that_is_recorded(store, seed):
    replacing = Replacing(store, Random(seed))
    for _ in range(STEPS):
        replacing.step()
        replacing.check()
    assert len(store.events.list(kind="machine-attached")) > 1
