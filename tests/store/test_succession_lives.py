"""However replacements end, and in whatever order: a route keeps its machine until it has another.

Runs of the route's workflow come one after the other and may end without a word after any step;
the cloud is only a set.
"""

import random

import pytest

from relight.domain.machine import Machine
from relight.domain.pool.pool import PoolStatus, claimable
from relight.store.store import Store
from tests.store.fleets import (
    HAND,
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
    """A route, the pool beside it, and what exists at the provider."""

    def __init__(self, store: Store, chance: random.Random) -> None:
        self.store, self.chance = store, chance
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
            gone = failing(key=self.next.key, destroyed=True)
            self.store.routes.record_fault(gone, self.run.activity())
            self.begin()

    def clear_away(self) -> None:
        for record in self.store.machines.list("r-1"):
            if record.status == "draining":
                self.cloud.discard(record.key)
                self.store.destructions.record(record.key, HAND, reason="replaced")

    def recycle(self) -> None:
        for member in self.store.pool.list():
            if self.store.pool.leaving(member.key, HAND):
                self.cloud.discard(member.key)
                self.store.destructions.record(member.key, HAND, reason="aged")
            return

    def step(self) -> None:
        deeds = [self.begin, self.fill_the_pool, self.clear_away, self.recycle]
        # A run goes on mostly.
        goes_on = [self.claim, self.plan] if self.next is None else [self.create, self.attach]
        deeds += 3 * goes_on
        if self.next is not None:
            deeds.append(self.undo)
        self.chance.choice(deeds)()

    def check(self) -> None:
        records = {record.key: record for record in self.store.machines.list()}
        alive = {key for key, record in records.items() if record.status != "destroyed"}
        assert self.cloud <= alive
        serving: Machine | None = route_of(self.store).machine
        assert serving is not None
        assert serving.key in self.cloud
        assert records[serving.key].status == "running"
        mine = [record for record in records.values() if record.route_id == "r-1"]
        beside = [r for r in mine if r.status in ("planned", "running") and r.key != serving.key]
        assert len(beside) <= 1
        assert sorted(r.generation or 0 for r in mine) == list(range(1, len(mine) + 1))
        members = {member.key for member in self.store.pool.list()}
        assert not members & {record.key for record in mine}
        ready = {m.key for m in self.store.pool.list() if m.status is PoolStatus.READY}
        assert ready <= self.cloud


@pytest.mark.parametrize("seed", range(5))
def test_a_route_is_never_without_the_machine_that_is_on_record(store, seed):
    replacing = Replacing(store, random.Random(seed))
    for _ in range(STEPS):
        replacing.step()
        replacing.check()
    assert len(store.events.list(kind="machine-attached")) > 1
