"""`python -m devkit.walk`: random sequences of commands, faults, kills and jumps of the clock."""

import asyncio
import logging
import random
import signal
import sys
import time
from typing import Annotated

import structlog
import typer
from temporalio.runtime import Runtime, TelemetryConfig

from devkit.walk.sequence import Played, play
from devkit.walk.setting import Ground, walking_ground

HANGS_AFTER_SECONDS = 600.0
"""A sequence takes seconds. One that takes longer than this will not end."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def walk(
    sequences: Annotated[int, typer.Option(min=1, help="Number of sequences.")] = 20,
    seed: Annotated[int | None, typer.Option(help="Of the first; each later one adds 1.")] = None,
    only: Annotated[int | None, typer.Option(help="Play the sequence of this seed again.")] = None,
    seconds: Annotated[float, typer.Option(help="Start no further one after so long.")] = 1e9,
) -> None:
    """Play random sequences, and leave each by the commands that the software itself names.

    Exits with 1 if one is stuck. Its seed and its actions are printed.

    [bold]Examples:[/]

      python -m devkit.walk --sequences 500 --seed 7
      python -m devkit.walk --only 123
    """
    logging.disable(logging.CRITICAL)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    first = seed if seed is not None else random.SystemRandom().randrange(10**6)
    if only is not None:
        first, sequences = only, 1
    played = asyncio.run(_play_all(first, sequences, seconds, verbose=only is not None))
    stuck = [each.seed for each in played if each.problems]
    print(f"walk: {len(played)} sequences from seed {first}: {len(stuck)} stuck {stuck or ''}")  # noqa: T201
    sys.exit(1 if stuck else 0)


async def _play_all(first: int, count: int, seconds: float, *, verbose: bool) -> list[Played]:
    ends_at = time.monotonic() + seconds
    # Ended by a signal, it must not leave the server running.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    played = []
    async with walking_ground() as ground:
        for seed in range(first, first + count):
            if time.monotonic() > ends_at:
                break
            print(f"seed {seed}: ", end="", file=sys.stderr, flush=True)  # noqa: T201
            began = time.monotonic()
            each = await _play(ground, seed)
            played.append(each)
            took = time.monotonic() - began
            print(f"{len(each.problems)} problems, {took:.1f} s", file=sys.stderr)  # noqa: T201
            if each.problems or verbose:
                stuck = [f"STUCK: {what}" for what in each.problems]
                print(*each.log, *stuck, sep="\n", flush=True)  # noqa: T201
            if took > HANGS_AFTER_SECONDS:
                break
    return played


async def _play(ground: Ground, seed: int) -> Played:
    """Play the sequence of a seed. One that hangs is stuck, and what it awaits is printed."""
    playing = asyncio.create_task(play(ground, seed))
    await asyncio.wait({playing}, timeout=HANGS_AFTER_SECONDS)
    if playing.done():
        return playing.result()
    for task in asyncio.all_tasks():
        task.print_stack(limit=4, file=sys.stderr)
    playing.cancel()
    await asyncio.wait({playing}, timeout=HANGS_AFTER_SECONDS / 10)
    return Played(seed, (f"it did not end within {HANGS_AFTER_SECONDS:.0f} s",), ())


if __name__ == "__main__":
    app()
