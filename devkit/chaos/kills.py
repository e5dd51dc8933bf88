"""Kills at random, one after the other, while others work."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from devkit.chaos.injections import Injection, draw
from devkit.chaos.world import World

PAUSES = (0.2, 3.0)
"""Between two kills, in seconds: shorter and longer than each step of a swap."""


async def kill(
    world: World,
    kills: int,
    injections: Sequence[Injection],
    chance: random.Random,
    victim: Callable[[random.Random], Awaitable[str]],
    say: Callable[[int], None],
) -> Counter[str]:
    """Bring so many mishaps, and return how often each came.

    Args:
        world: what they befall.
        kills: how many.
        injections: those that may come.
        chance: draws them.
        victim: returns the machine that one of a host is brought on.
        say: is told of each tenth.
    """
    brought: Counter[str] = Counter()
    for number in range(1, kills + 1):
        await asyncio.sleep(chance.uniform(*PAUSES))
        injection = draw(chance, injections)
        await injection.bring(world, await victim(chance))
        brought[injection.name] += 1
        if number % 10 == 0:
            say(number)
    return brought
