"""The store is restored from a backup, while the fleet has moved on since."""

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from devkit.chaos.distrust.fleet import TAGS, DistrustFleet


@asynccontextmanager
async def stale_store(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Back the store up, let the fleet move on, and restore the backup.

    Nothing takes that back: the commands that the messages name do.
    """
    live, backup = fleet.environment.home / "fleet.db", fleet.others / "backup.db"
    _copy(live, backup)
    moved = [await move(fleet, rng) for move in rng.choice(_MOVES)]
    if rng.random() < 0.8:  # otherwise removals still run
        await fleet.quiet()
    fleet.judge.read()
    fleet.judge.hidden = fleet.judge.in_use
    machines = {route_id: fleet.machine(route_id) for route_id in fleet.routes}
    fleet.served_by = {route_id: each.key for route_id, each in machines.items() if each}
    async with fleet.environment.without_worker():
        _copy(backup, live)
    yield f"from before {', '.join(moved)}"


async def _roll(fleet: DistrustFleet, _rng: random.Random) -> str:
    """Roll the fleet out to the newer release, or back from it."""
    if fleet.declared() == TAGS[0]:
        await fleet.type("rollout", "start", TAGS[1], "--wait")
        return "a rollout"
    await fleet.type("rollout", "undo", TAGS[1], "--wait")
    return "an undo"


async def _replace(fleet: DistrustFleet, rng: random.Random) -> str:
    await fleet.type("route", "replace", rng.choice(fleet.routes))
    return "a replacement"


def _copy(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


_MOVES = ((_roll,), (_replace,), (_replace, _roll), (_replace, _replace))
