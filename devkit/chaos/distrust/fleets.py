"""Several fleets side by side, each in a process of its own: their rounds mostly wait."""

import asyncio
import sys
from collections.abc import Sequence

from devkit.chaos.distrust.play import Played


async def play_side_by_side(seed: int, hosts: int, numbers: Sequence[int], fleets: int) -> Played:
    """Share rounds out to fleets, and return the results of all, by the rounds' numbers.

    Args:
        seed: of all rounds. It and a round's number decide what happens in it.
        hosts: the number of routes of each fleet.
        numbers: of the rounds.
        fleets: how many play at once.
    """
    shares = [numbers[first::fleets] for first in range(fleets)]
    played = await asyncio.gather(
        *(_play(number, seed, hosts, share) for number, share in enumerate(shares, 1) if share)
    )
    return Played(
        rounds=sorted((r for each in played for r in each.rounds), key=lambda r: r.number),
        violations=[what for each in played for what in each.violations],
    )


async def _play(fleet: int, seed: int, hosts: int, numbers: Sequence[int]) -> Played:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "devkit.chaos.distrust.play",
        *map(str, (seed, hosts, *numbers)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode != 0:
        return Played(violations=[f"fleet {fleet} ended with exit code {process.returncode}"])
    return Played.model_validate_json(out)
