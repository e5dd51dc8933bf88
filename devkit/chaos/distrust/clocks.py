"""The clock of the workers is wrong."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from devkit.chaos.distrust.fleet import DistrustFleet

OFF = (timedelta(minutes=5), timedelta(hours=6), timedelta(days=4))
"""Up to which a clock is off, either way."""


@asynccontextmanager
async def clock_jumps(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Let the clock of the running worker jump, and jump back when the block ends."""
    off = rng.choice(OFF) * rng.uniform(0.2, 1) * rng.choice([-1, 1])
    seconds = timedelta(seconds=int(off.total_seconds()))
    fleet.clock.jump(seconds)
    try:
        yield f"{abs(seconds)} {'ahead' if seconds > timedelta() else 'behind'}"
    finally:
        fleet.clock.jump(timedelta())
