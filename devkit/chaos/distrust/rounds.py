"""The rounds: each distrusts one source of truth for a while, and must leave the fleet whole."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum

from devkit.chaos.distrust.clocks import clock_jumps
from devkit.chaos.distrust.fleet import POOL_REGION, PROVIDER, TAGS, DistrustFleet
from devkit.chaos.distrust.hostile_hosts import hostile_hosts
from devkit.chaos.distrust.judge import Why
from devkit.chaos.distrust.listings import lying_listings
from devkit.chaos.distrust.lockouts import revoked_key, wrong_secret
from devkit.chaos.distrust.old_store import stale_store
from devkit.chaos.distrust.recovery import become_whole
from devkit.chaos.injections import KILLS
from lab import network


class Source(StrEnum):
    """What is wrong in a round."""

    STALE_STORE = "stale store"
    REVOKED_KEY = "revoked key"
    WRONG_SECRET = "wrong secret"  # noqa: S105 - no secret
    LYING_LISTINGS = "lying listings"
    CLOCK_JUMPS = "clock jumps"
    HOSTILE_HOSTS = "hostile hosts"


Wrong = Callable[[DistrustFleet, random.Random], AbstractAsyncContextManager[str]]

WRONG: Mapping[Source, Wrong] = {
    Source.STALE_STORE: stale_store,
    Source.REVOKED_KEY: revoked_key,
    Source.WRONG_SECRET: wrong_secret,
    Source.LYING_LISTINGS: lying_listings,
    Source.CLOCK_JUMPS: clock_jumps,
    Source.HOSTILE_HOSTS: hostile_hosts,
}

RUNS = (2, 4)
"""Fewest and most reconcile runs while a source is wrong: one fault needs two to be acted on."""

_KILL_CHANCE, _COMMAND_CHANCE, _LOST_CHANCE = 0.4, 0.4, 0.15
_ROLLOUTS = (("rollout", "start", TAGS[1]), ("rollout", "undo", TAGS[1]))
_KILL_WITHIN_SECONDS = 5.0


@dataclass
class Round:
    """What happened in a round.

    Attributes:
        what: is wrong in it, exactly.
        kill: the process that was killed; None if none was.
        incidents: how many were raised, openings of the breaker included.
        destroyed: the machines that were destroyed, by the reason.
        violations: what must never happen, one line each.
        log: what was done, in order.
    """

    number: int
    source: Source
    what: str = ""
    kill: str | None = None
    incidents: int = 0
    destroyed: Counter[Why] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0
    log: list[str] = field(default_factory=list)


def source_of(seed: int, number: int) -> Source:
    """Return what is wrong in a round."""
    return random.Random(f"{seed}/{number}/source").choice(list(Source))  # noqa: S311 - no secret


async def play_round(fleet: DistrustFleet, seed: int, number: int) -> Round:
    """Play one round, from a whole fleet to a whole fleet.

    Args:
        fleet: the fleet, which is whole.
        seed: of all rounds. It and the number decide what happens, whatever came before.
        number: of this round.
    """
    rng, began = random.Random(f"{seed}/{number}"), time.monotonic()  # noqa: S311 - no secret
    source = source_of(seed, number)
    played = Round(number, source)
    played.log, known = fleet.begin(), len(fleet.judge.incidents)
    before = set(await fleet.labels())
    async with WRONG[source](fleet, rng) as played.what:
        fleet.note(f"# {source}: {played.what}")
        async with asyncio.TaskGroup() as tasks:
            killing = tasks.create_task(_kill(fleet, random.Random(rng.random())))  # noqa: S311 - no secret
            await _live_on(fleet, rng, rollouts=source is not Source.HOSTILE_HOSTS)
        played.kill = killing.result()
    fleet.note("# it is right again")
    played.violations += await become_whole(fleet, rng)
    verdicts = fleet.judge.verdicts()
    played.destroyed.update(why for _, why in verdicts)
    for each, why in verdicts:
        fleet.note(f"# destroyed {each.label}: {why}")
    played.violations += [
        f"{each.label} was destroyed, and it was healthy"
        for each, why in verdicts
        if why is Why.HEALTHY
    ]
    gone = before - set(await fleet.labels()) - {each.label for each, _ in verdicts}
    played.violations += [f"{label} is gone, and nobody asked for that" for label in sorted(gone)]
    played.incidents = len(fleet.judge.incidents) - known
    played.seconds = time.monotonic() - began
    return played


async def _live_on(fleet: DistrustFleet, rng: random.Random, *, rollouts: bool) -> None:
    """Let reconcile runs go on, operators type and a machine fail, as on any day.

    Args:
        fleet: the fleet.
        rng: chooses.
        rollouts: whether operators start rollouts. On hosts that do not answer these take minutes.
    """
    if is_lost := rng.random() < _LOST_CHANCE:
        await _lose(fleet, rng)
    for _ in range(rng.randint(*RUNS)):
        await fleet.type("reconcile")
        if rng.random() < _COMMAND_CHANCE:
            await _operate(fleet, rng, rollouts=rollouts and not is_lost)


async def _lose(fleet: DistrustFleet, rng: random.Random) -> None:
    """Cut one machine off for good: this one is to be replaced."""
    keys, ids = fleet.some(rng, 1, 1), await fleet.environment.machines()
    for key in keys:
        if key in ids:
            fleet.judge.broke([key])
            network.plug(ids[key], on=False)
            fleet.note(f"# {key} has lost its network")


async def _operate(fleet: DistrustFleet, rng: random.Random, *, rollouts: bool) -> None:
    route, whole_fleet = rng.choice(fleet.routes), _ROLLOUTS if rollouts else ()
    await fleet.type(
        *rng.choice(
            [
                *whole_fleet,
                ("route", "verify", route),
                ("route", "swap", route, rng.choice(TAGS), "--allow-downgrade"),
                ("route", "rollback", route),
                ("route", "replace", route),
                ("route", "replace", route, "--unreachable"),
                ("pool", "retry", PROVIDER, POOL_REGION),
                ("store", "check"),
                ("reconcile", "--dry-run"),
            ]
        )
    )


async def _kill(fleet: DistrustFleet, rng: random.Random) -> str | None:
    """Kill a process at a random moment, or none; return which."""
    if rng.random() >= _KILL_CHANCE:
        return None
    (kill,) = rng.choices(KILLS, [each.weight for each in KILLS])
    await asyncio.sleep(rng.uniform(0, _KILL_WITHIN_SECONDS))
    ids = await fleet.environment.machines()
    machine = fleet.machine(rng.choice(fleet.routes))
    if machine is None or machine.key not in ids:
        return None
    await kill.inject(fleet.environment, ids[machine.key])
    fleet.note(f"# {kill.name}")
    return kill.name
