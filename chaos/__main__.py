"""`python -m chaos`: so many kills over hot swaps on real hosts, and a report."""

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Annotated

import typer
from temporalio.runtime import Runtime, TelemetryConfig

from chaos.mishaps import draw
from chaos.swaps import BEFORE, ORIGIN, Verdicts, swap_until
from chaos.world import World, world
from fleet.operation import Operation
from messages.names import machine_key, route_workflow_id
from messages.route import ProvisionRouteInput
from workflows.provision_route import ProvisionRoute

PAUSES = (0.2, 3.0)
"""Between two kills, in seconds: shorter and longer than each step of a swap."""

app = typer.Typer(add_completion=False)


@app.command()
def chaos(
    kills: Annotated[int, typer.Option(min=1, help="How many kills.")] = 200,
    hosts: Annotated[int, typer.Option(min=1, max=50, help="How many hosts are swapped.")] = 6,
    seed: Annotated[int | None, typer.Option(help="To draw the same kills again.")] = None,
) -> None:
    """Kill what carries hot swaps at random, and see that none is lost, doubled or lied about."""
    # The SDK would tell on standard output of every connection that a kill breaks.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    drawn = seed if seed is not None else random.SystemRandom().randrange(2**32)
    print(f"chaos: seed {drawn}, {kills} kills over {hosts} hosts", file=sys.stderr)  # noqa: T201
    brought, verdicts = asyncio.run(_run(kills, hosts, random.Random(drawn)))  # noqa: S311
    report = {
        "seed": drawn,
        "kills": dict(brought),
        "swaps_proven": verdicts.swapped,
        "swaps_faulted": verdicts.faulted,
        "wrong": verdicts.wrong,
    }
    print(json.dumps(report, indent=2))  # noqa: T201
    raise typer.Exit(1 if verdicts.wrong else 0)


async def _run(kills: int, hosts: int, chance: random.Random) -> tuple[Counter[str], Verdicts]:
    brought: Counter[str] = Counter()
    verdicts = Verdicts()
    async with world() as made:
        routes = [f"chaos-{number}" for number in range(1, hosts + 1)]
        await _provision(made, routes)
        machines = await made.machines()
        ids = {route: machines[machine_key(route, 1)] for route in routes}
        done = asyncio.Event()
        async with asyncio.TaskGroup() as swaps:
            for route, machine in ids.items():
                swaps.create_task(swap_until(made, route, machine, done, verdicts))
            for number in range(1, kills + 1):
                await asyncio.sleep(chance.uniform(*PAUSES))
                mishap = draw(chance)
                await mishap.bring(made, chance.choice(list(ids.values())))
                brought[mishap.name] += 1
                if number % 10 == 0:
                    _say(number, kills, verdicts)
            done.set()
    return brought, verdicts


async def _provision(made: World, routes: list[str]) -> None:
    made.store.tracks.set("chaos", None, Operation(origin=ORIGIN))
    made.store.settings.set("default_release_tag", BEFORE, Operation(origin=ORIGIN))
    client = made.client
    assert client is not None
    await asyncio.gather(
        *(
            client.execute_workflow(
                ProvisionRoute.run,
                ProvisionRouteInput(
                    route_id=route,
                    track="chaos",
                    provider="lab",
                    region="lab-east",
                    origin=ORIGIN,
                ),
                id=route_workflow_id(route),
                task_queue=made.settings.task_queue,
            )
            for route in routes
        )
    )


def _say(number: int, kills: int, verdicts: Verdicts) -> None:
    faulted = sum(verdicts.faulted.values())
    text = f"{number} of {kills} kills; {verdicts.swapped} swaps proven, {faulted} faulted"
    print(f"chaos: {text}, {len(verdicts.wrong)} wrong", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    app()
