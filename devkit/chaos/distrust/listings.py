"""The provider's answers about machines are not true."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devkit.chaos.distrust.fleet import DistrustFleet
from devkit.chaos.listing_lies import Lie, ListingLie


@asynccontextmanager
async def lying_listings(fleet: DistrustFleet, rng: random.Random) -> AsyncIterator[str]:
    """Let the provider lie about one machine or several, until the block ends."""
    lie, count = rng.choice(list(Lie)), len(fleet.judge.in_use)
    labels = fleet.some(rng, *rng.choice([(1, 1), (1, 2), (1, count)]))
    fleet.environment.proxy.lie = ListingLie(lie, frozenset(labels))
    about = "" if lie is Lie.EMPTY else f" ({len(labels)} of {count})"
    try:
        yield f"{lie}{about}"
    finally:
        fleet.environment.proxy.lie = None
