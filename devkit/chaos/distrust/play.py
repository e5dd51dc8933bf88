"""Rounds one after another on one fleet, and what must be free at the end.

`python -m devkit.chaos.distrust.play SEED HOSTS NUMBER...` plays the rounds of these numbers in a
process of its own, and prints their results as JSON.
"""

import asyncio
import logging
import random
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta

from pydantic import BaseModel
from temporalio.runtime import Runtime, TelemetryConfig

from devkit.chaos.distrust.fleet import PROVIDER, DistrustFleet, distrust_fleet
from devkit.chaos.distrust.recovery import become_whole
from devkit.chaos.distrust.rounds import Round, play_round
from starter.local.children import wait_until

PERMITS_FREE_WITHIN = timedelta(minutes=3)
"""Permits of a killed worker are free after two minutes."""


class Played(BaseModel):
    """The results of one fleet.

    Attributes:
        rounds: that were played, in order.
        violations: what must never happen, one line each, those of rounds included.
    """

    rounds: list[Round] = []
    violations: list[str] = []


async def play(
    seed: int, hosts: int, numbers: Sequence[int], report: Callable[[Round], None]
) -> Played:
    """Play rounds on a fleet; stop at the first that leaves a violation.

    Args:
        seed: of all rounds.
        hosts: the number of routes.
        numbers: of the rounds.
        report: is called after each round.
    """
    played = Played()
    async with distrust_fleet(hosts) as fleet:
        played.violations += await become_whole(fleet, random.Random(seed))  # noqa: S311 - no secret
        for number in numbers:
            if played.violations:
                break
            each = await play_round(fleet, seed, number)
            played.rounds.append(each)
            played.violations += [f"round {number}: {what}" for what in each.violations]
            report(each)
        played.violations += await _held(fleet)
    return played


async def _held(fleet: DistrustFleet) -> list[str]:
    """Return the limits of the fleet that do not get all their permits back."""
    settings, permits = fleet.environment.settings, fleet.environment.store.permits
    limits = {
        "logins": settings.limits.logins,
        f"creations at {PROVIDER}": settings.limits.creations,
    }

    async def all_free() -> bool:
        for name, limit in list(limits.items()):
            lasts = timedelta(minutes=2)
            granted = permits.lease(name, "end", limit=limit, wanted=limit, used=0, lasts=lasts)
            permits.lease(name, "end", limit=limit, wanted=0, used=0, lasts=lasts)
            if granted.allowed == limit:
                del limits[name]
        return not limits

    try:
        await wait_until(all_free, PERMITS_FREE_WITHIN)
    except TimeoutError:
        return [f"permits are held: {name}" for name in limits]
    return []


def _report(played: Round) -> None:
    destroyed = ", ".join(f"{count} x {why}" for why, count in played.destroyed.items())
    print(  # noqa: T201
        f"chaos: round {played.number}, {played.source}: {played.what}; {played.kill or 'no kill'};"
        f" {played.incidents} incidents; destroyed: {destroyed or 'none'}; {played.seconds:.0f} s",
        *([*played.log, *played.violations] if played.violations else ()),
        sep="\n",
        file=sys.stderr,
        flush=True,
    )


def _main(seed: str, hosts: str, *numbers: str) -> None:
    logging.disable(logging.CRITICAL)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    played = asyncio.run(play(int(seed), int(hosts), [int(each) for each in numbers], _report))
    print(played.model_dump_json())  # noqa: T201


if __name__ == "__main__":
    _main(*sys.argv[1:])
