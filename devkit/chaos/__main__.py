"""`python -m chaos`: so many kills over operations on real hosts, and a report."""

import asyncio
import json
import random
import sys
from collections import Counter
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from temporalio.runtime import Runtime, TelemetryConfig

from devkit.chaos.boundaries import kill_at_each
from devkit.chaos.injections import AT_THE_PROVIDER, ON_HOSTS
from devkit.chaos.kills import kill
from devkit.chaos.replacements import (
    IMPATIENCE,
    judge_the_end,
    keep_a_pool,
    provision_input,
    replace_until,
    runs_until,
)
from devkit.chaos.swaps import (
    BEFORE,
    ORIGIN,
    swap_until,
)
from devkit.chaos.verdicts import Verdicts
from devkit.chaos.world import World, world
from relight.domain.names import route_workflow_id
from relight.store.write import Operation
from workflows.route.provision import ProvisionRoute

app = typer.Typer(add_completion=False)


class Work(StrEnum):
    """What is under way while the kills come."""

    SWAPS = "swaps"
    HEALING = "healing"
    BOUNDARIES = "boundaries"
    ALL = "all"


@app.command()
def chaos(
    kills: Annotated[int, typer.Option(min=1, help="How many kills over each work.")] = 200,
    hosts: Annotated[int, typer.Option(min=1, max=50, help="How many routes there are.")] = 6,
    seed: Annotated[int | None, typer.Option(help="To draw the same kills again.")] = None,
    work: Annotated[
        Work,
        typer.Option(
            help="swaps: one release after the other on each host. healing: one machine after the "
            "other for each route, from a pool, beside passes of reconciliation, and a provider "
            "that loses answers. boundaries: the worker dies once at each activity of a route's "
            "making and of its replacement, which takes no count of kills."
        ),
    ] = Work.ALL,
) -> None:
    """Kill what carries operations at random, and see that none is lost, doubled or lied about.

    [bold]Examples:[/]

      python -m chaos --kills 200
      python -m chaos --kills 50 --work healing --seed 7
      python -m chaos --work boundaries
    """
    # The SDK would tell on standard output of every connection that a kill breaks.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    if work is Work.BOUNDARIES:
        raise typer.Exit(asyncio.run(_boundaries()))
    drawn = seed if seed is not None else random.SystemRandom().randrange(2**32)
    wrong = []
    for each in [Work.SWAPS, Work.HEALING] if work is Work.ALL else [work]:
        text = f"chaos: {each}: seed {drawn}, {kills} kills over {hosts} routes"
        print(text, file=sys.stderr)  # noqa: T201
        brought, verdicts = asyncio.run(_run(each, kills, hosts, random.Random(drawn)))  # noqa: S311
        report = {
            "work": each,
            "seed": drawn,
            "kills": dict(brought),
            "done": dict(verdicts.done),
            "faulted": dict(verdicts.faulted),
            "wrong": verdicts.wrong,
        }
        print(json.dumps(report, indent=2), flush=True)  # noqa: T201
        wrong += verdicts.wrong
    raise typer.Exit(1 if wrong else 0)


async def _boundaries() -> int:
    verdicts = Verdicts()
    async with world(further=IMPATIENCE) as made:
        _declare(made)
        rows = await kill_at_each(made, verdicts)
        await judge_the_end(made, verdicts)
    table = Table("operation", "the worker is killed at", "how it ends", title="Boundaries")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for wrong in verdicts.wrong:
        console.print(f"wrong: {wrong}", highlight=False)
    return 1 if verdicts.wrong else 0


async def _run(
    work: Work, kills: int, hosts: int, chance: random.Random
) -> tuple[Counter[str], Verdicts]:
    verdicts = Verdicts()
    healing = work is Work.HEALING
    injections = [*ON_HOSTS, *(AT_THE_PROVIDER if healing else ())]
    async with world(further=IMPATIENCE if healing else None) as made:
        routes = [f"chaos-{number}" for number in range(1, hosts + 1)]
        await _provision(made, routes)
        machines = await made.machines()
        if healing:
            keep_a_pool(made)

        async def victim(chance: random.Random) -> str:
            """Return the machine that serves a route by now."""
            route = made.store.routes.get(chance.choice(routes))
            assert route is not None
            assert route.machine is not None
            return route.machine.provider_id

        def say(number: int) -> None:
            done = ", ".join(f"{count} {what}" for what, count in verdicts.done.items())
            faulted = sum(verdicts.faulted.values())
            text = f"{number} of {kills} kills; {done}, {faulted} faulted"
            print(f"chaos: {text}, {len(verdicts.wrong)} wrong", file=sys.stderr, flush=True)  # noqa: T201

        done = asyncio.Event()
        async with asyncio.TaskGroup() as under_way:
            for route in routes:
                under_way.create_task(
                    replace_until(made, route, done, verdicts)
                    if healing
                    else swap_until(made, route, machines[f"{route}-g1"], done, verdicts)
                )
            if healing:
                under_way.create_task(runs_until(made, done, verdicts))
            brought = await kill(made, kills, injections, chance, victim, say)
            done.set()
        if healing:
            made.troubles.clear()
            await judge_the_end(made, verdicts)
    return brought, verdicts


async def _provision(made: World, routes: list[str]) -> None:
    _declare(made)
    client = made.client
    assert client is not None
    await asyncio.gather(
        *(
            client.execute_workflow(
                ProvisionRoute.run,
                provision_input(route),
                id=route_workflow_id(route),
                task_queue=made.settings.task_queue,
            )
            for route in routes
        )
    )


def _declare(made: World) -> None:
    made.store.tracks.set("chaos", None, Operation(origin=ORIGIN))
    made.store.settings.set("default_release_tag", BEFORE, Operation(origin=ORIGIN))


if __name__ == "__main__":
    app()
