"""One sequence of a walk: random actions, the way out, and what must hold then."""

import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from devkit.walk import checks, recovery
from devkit.walk.actions import act
from devkit.walk.fleet import Fleet
from devkit.walk.setting import Ground

MIN_ACTIONS, MAX_ACTIONS = 4, 8


@dataclass(frozen=True)
class Played:
    """The result of a sequence.

    Attributes:
        seed: plays it again.
        problems: what is stuck; empty if nothing is.
        log: the actions, in order.
    """

    seed: int
    problems: tuple[str, ...]
    log: tuple[str, ...]


async def play(
    ground: Ground,
    seed: int,
    plant: Callable[[Fleet], Awaitable[None]] | None = None,
) -> Played:
    """Play the sequence of a seed on a fleet of its own.

    Args:
        ground: of all walks.
        seed: the same seed gives the same actions. How they interleave with what runs may differ.
        plant: is called with the fleet instead of the random actions.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret
    async with ground.fleet(f"walk-{seed}-{uuid.uuid4().hex[:8]}") as fleet:
        if plant is None:
            for _ in range(rng.randint(MIN_ACTIONS, MAX_ACTIONS)):
                await act(fleet, rng)
        else:
            await plant(fleet)
        problems = await leave(fleet, rng)
        return Played(seed, tuple(problems), tuple(fleet.log))


async def leave(fleet: Fleet, rng: random.Random) -> list[str]:
    """Leave whatever state the fleet is in; return what is stuck."""
    problems = await checks.unnamed_waits(fleet)
    await recovery.lift_and_repair(fleet)
    try:
        await recovery.end_rollouts(fleet, rng)
        await recovery.bring_all(fleet, rng)
    except recovery.StuckError as stuck:
        problems.append(str(stuck))
    problems += await checks.all_ended(fleet)
    for command in list(fleet.running):
        await fleet.pass_time_until_ended(command, recovery.PAUSE)
    problems += await checks.permits_held(fleet)
    return problems + checks.held_for_nobody(fleet)
