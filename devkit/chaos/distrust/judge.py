"""The judge: who serves, who was named or broken, and whether what was destroyed was healthy.

It judges by the requests that the provider received and by what the machine's service answered just
before (`devkit/chaos/deletions.py`), not by what Relight says about them.
"""

import asyncio
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from devkit.chaos.deletions import Deletion, Deletions
from relight.domain.pool.pool import PoolStatus
from relight.store.store import Store

WATCH_SECONDS = 0.2


class Why(StrEnum):
    """Why a machine was destroyed; the first that applies."""

    SILENT = "its service did not answer"
    BROKEN = "it was broken by a round"
    NAMED = "an operator named it"
    UNUSED = "it never served nor was ready"
    SPARE = "its pool had enough without it"
    HEALTHY = "NONE: IT WAS HEALTHY"


@dataclass
class Judge:
    """What is known about machines, by their keys.

    Attributes:
        in_use: those that serve routes or are ready in the pool, by the store.
        hidden: those that serve although an old store does not know them.
        incidents: each incident of the control plane: its kind, and since when.
    """

    store: Store
    deletions: Deletions
    in_use: Set[str] = frozenset()
    hidden: Set[str] = frozenset()
    incidents: set[tuple[str, datetime]] = field(default_factory=set)
    _used: set[str] = field(default_factory=set)
    _broken: set[str] = field(default_factory=set)
    _named: set[str] = field(default_factory=set)
    _judged: int = 0

    async def watch(self) -> None:
        """Read the store again and again."""
        while True:
            self.read()
            await asyncio.sleep(WATCH_SECONDS)

    def read(self) -> None:
        """Read the store once."""
        machines = (route.machine for route in self.store.routes.list())
        serving = frozenset(machine.key for machine in machines if machine is not None)
        ready = {each.key for each in self.store.pool.list() if each.status is PoolStatus.READY}
        self.in_use = serving | ready
        self._used |= self.in_use
        self.deletions.serving = serving | self.hidden
        self.incidents |= {(each.kind, each.since) for each in self.store.incidents.list()}
        if (incident := self.store.breaker.get().incident) is not None:
            self.incidents.add(("breaker", incident.opened_at))

    def name(self, key: str) -> None:
        """Note that an operator named a machine: by that word it may be destroyed."""
        self._named.add(key)

    def broke(self, keys: Collection[str]) -> None:
        """Note that a round broke machines: they are not healthy any more."""
        self._broken |= set(keys)

    def forget(self) -> None:
        """Let the machines that are in use count as healthy, whatever was before."""
        self.read()
        self._broken -= self.in_use
        self._named -= self.in_use
        self.hidden = frozenset()

    def verdicts(self) -> Sequence[tuple[Deletion, Why]]:
        """Return the destructions since the last call, each with its reason."""
        self.read()
        found = self.deletions.all()
        new, self._judged = found[self._judged :], len(found)
        return [(each, self._why(each)) for each in new]

    def _why(self, deletion: Deletion) -> Why:
        key = deletion.label
        if not deletion.answered:
            return Why.SILENT
        if key in self._broken:
            return Why.BROKEN
        if key in self._named:
            return Why.NAMED
        if key not in self._used:
            return Why.UNUSED
        pools = {(each.provider, each.region): each.size for each in self.store.pool_sizes.list()}
        for (provider, region), size in pools.items():
            is_of_pool = key.startswith(f"pool-{provider}-{region}-")
            if is_of_pool and key not in self.hidden and len(deletion.spare) >= size:
                return Why.SPARE
        return Why.HEALTHY
