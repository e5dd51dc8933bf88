"""`python -m devkit.chaos`: random kills during operations, and a report."""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from temporalio.runtime import Runtime, TelemetryConfig

from devkit.chaos.boundaries import kill_at_each
from devkit.chaos.distrust.fleets import play_side_by_side
from devkit.chaos.distrust.judge import Why
from devkit.chaos.distrust.report import table_of
from devkit.chaos.drivers import play as drivers_play
from devkit.chaos.drivers import report as drivers_report
from devkit.chaos.environment import ChaosEnvironment, chaos_environment
from devkit.chaos.injections import KILLS, PROVIDER_INJECTIONS, inject_at_random
from devkit.chaos.operations import BEFORE, ORIGIN, Results, route_record
from devkit.chaos.replacements import (
    FAST_SETTINGS,
    check_final_state,
    declare_pool,
    provision_input,
    reconcile_until,
    replace_until,
)
from devkit.chaos.swaps import swap_until
from devkit.chaos.undos import undo_until
from relight.domain.names import route_workflow_id
from relight.store.events import Operation
from tests.providers.fakes import FAKES
from workflows.route.provision import ProvisionRoute

TABLE_WIDTH = 150

app = typer.Typer(add_completion=False)


class Work(StrEnum):
    """The operations that run during the kills."""

    SWAPS = "swaps"
    REPLACEMENTS = "replacements"
    UNDOS = "undos"
    BOUNDARIES = "boundaries"
    DISTRUST = "distrust"
    PROVIDERS = "providers"
    ALL = "all"


@app.command()
def chaos(  # noqa: PLR0913, PLR0917 - the options of one command
    kills: Annotated[
        int, typer.Option(min=1, help="Number of kills, for each work; of rounds, for distrust.")
    ] = 200,
    hosts: Annotated[int, typer.Option(min=1, max=50, help="Number of routes.")] = 6,
    seed: Annotated[int | None, typer.Option(help="Repeats the kills of an earlier run.")] = None,
    work: Annotated[
        Work,
        typer.Option(
            help="swaps: repeated hot swaps on each host. replacements: repeated replacements of "
            "each route's machine, with a pool, reconcile runs and provider faults. undos: "
            "repeated rollouts of the fleet, each undone, also half-way. boundaries: one kill of "
            "the worker at each activity of provisioning and of replacement; ignores --kills. "
            "distrust: rounds in which the store, a key, the provider's listings, the clock or "
            "hosts are wrong for a while. providers: creations and deletions by each driver over a "
            "fake vendor whose API goes wrong, by workers that are killed; ignores --kills. "
            "all: swaps, replacements, undos, then distrust, then providers."
        ),
    ] = Work.ALL,
    fleets: Annotated[
        int, typer.Option(min=1, max=8, help="Of distrust: how many fleets play side by side.")
    ] = 3,
    only: Annotated[
        int | None, typer.Option(min=1, help="Of distrust: play only the round of this number.")
    ] = None,
    calls: Annotated[
        int, typer.Option(min=1, help="Of providers: how many calls to create and to destroy.")
    ] = 1000,
    keys: Annotated[
        int, typer.Option(min=2, help="Of providers: how many keys these are about at once.")
    ] = 100,
    provider: Annotated[
        list[str] | None, typer.Option(help="Of providers: only this one. May be repeated.")
    ] = None,
) -> None:
    """Kill processes at random while operations run; check that each ends with a correct record.

    Exits with 1 if a check finds a violation.

    [bold]Examples:[/]

      python -m devkit.chaos --kills 200
      python -m devkit.chaos --kills 50 --work replacements --seed 7
      python -m devkit.chaos --work boundaries
      python -m devkit.chaos --work distrust --kills 200
      python -m devkit.chaos --work distrust --seed 7 --only 12
      python -m devkit.chaos --work providers --provider linode --calls 100
    """
    # Without this the SDK logs every connection that a kill breaks to standard output.
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)))
    if work is Work.BOUNDARIES:
        raise typer.Exit(asyncio.run(_boundaries()))
    used_seed = seed if seed is not None else random.SystemRandom().randrange(2**32)
    violations = []
    all_works = [Work.SWAPS, Work.REPLACEMENTS, Work.UNDOS, Work.DISTRUST, Work.PROVIDERS]
    for each in all_works if work is Work.ALL else [work]:
        if each is Work.DISTRUST:
            numbers = [only] if only is not None else list(range(1, kills + 1))
            violations += _distrust(numbers, hosts, used_seed, fleets)
            continue
        if each is Work.PROVIDERS:
            violations += _providers(provider or sorted(FAKES), calls, keys, used_seed)
            continue
        _log(f"{each}: seed {used_seed}, {kills} kills, {hosts} routes")
        rng = random.Random(used_seed)  # noqa: S311 - no secret
        used, results = asyncio.run(_random_kills(each, kills, hosts, rng))
        report = {
            "work": each,
            "seed": used_seed,
            "kills": dict(used),
            "done": dict(results.done),
            "faulted": dict(results.faulted),
            "violations": results.violations,
        }
        print(json.dumps(report, indent=2), flush=True)  # noqa: T201
        violations += results.violations
    raise typer.Exit(1 if violations else 0)


def _distrust(numbers: Sequence[int], hosts: int, seed: int, fleets: int) -> list[str]:
    """Play rounds, print their table and the violations, and return these."""
    _log(f"distrust: seed {seed}, {len(numbers)} rounds, {fleets} fleets of {hosts} routes")
    played = asyncio.run(play_side_by_side(seed, hosts, numbers, fleets))
    console = Console(width=TABLE_WIDTH, highlight=False)
    console.print(table_of(played.rounds))
    for violation in played.violations:
        console.print(f"violation: {violation}", markup=False)
    healthy = sum(each.destroyed[Why.HEALTHY] for each in played.rounds)
    console.print(
        f"distrust: seed {seed}: {len(played.rounds)} rounds, {healthy} healthy destroyed"
    )
    return played.violations


def _providers(names: Sequence[str], calls: int, keys: int, seed: int) -> list[str]:
    """Play each vendor, print the table and the violations, and return these."""
    _log(f"providers: seed {seed}, {calls} calls over {keys} keys at each")
    runs = []
    for name in names:
        runs.append(asyncio.run(drivers_play.play(name, calls, keys, seed)))
        _log(f"{name}: {runs[-1].calls.total()} calls, {len(runs[-1].violations)} violations")
    console = Console(width=TABLE_WIDTH, highlight=False)
    console.print(drivers_report.table_of(runs))
    violations = [f"{run.provider}: {each}" for run in runs for each in run.violations]
    for violation in violations:
        console.print(f"violation: {violation}", markup=False)
    console.print(f"providers: seed {seed}: {len(violations)} violations")
    return violations


async def _boundaries() -> int:
    """Kill the worker at each activity, print the outcomes, and return the exit code."""
    results = Results()
    async with chaos_environment(more_settings=FAST_SETTINGS) as environment:
        _declare(environment)
        rows = await kill_at_each(environment, results)
        await check_final_state(environment, results)
    table = Table("operation", "worker killed at", "outcome", title="Boundaries")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for violation in results.violations:
        console.print(f"violation: {violation}", highlight=False)
    return 1 if results.violations else 0


async def _random_kills(
    work: Work, kills: int, hosts: int, rng: random.Random
) -> tuple[Counter[str], Results]:
    """Run one kind of operation under random kills; return the used injections and the results."""
    results = Results()
    replacing = work is Work.REPLACEMENTS
    injections = [*KILLS, *(PROVIDER_INJECTIONS if replacing else ())]
    async with chaos_environment(more_settings=FAST_SETTINGS if replacing else None) as environment:
        routes = [f"chaos-{number}" for number in range(1, hosts + 1)]
        await _provision(environment, routes)
        machines = await environment.machines()
        if replacing:
            declare_pool(environment)

        async def victim(rng: random.Random) -> str:
            """Return the machine that serves a random route now."""
            machine = route_record(environment, rng.choice(routes)).machine
            assert machine is not None
            return machine.provider_id

        def report(number: int) -> None:
            done = ", ".join(f"{count} {what}" for what, count in results.done.items())
            faulted, violations = sum(results.faulted.values()), len(results.violations)
            _log(f"{number} of {kills} kills; {done}, {faulted} faulted, {violations} violations")

        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            if work is Work.UNDOS:
                ids = {route: machines[f"{route}-g1"] for route in routes}
                moments = random.Random(rng.random())  # noqa: S311 - no secret
                group.create_task(undo_until(environment, ids, done, results, moments))
            elif replacing:
                for route in routes:
                    group.create_task(replace_until(environment, route, done, results))
                group.create_task(reconcile_until(environment, done, results))
            else:
                for route in routes:
                    machine_id = machines[f"{route}-g1"]
                    group.create_task(swap_until(environment, route, machine_id, done, results))
            used = await inject_at_random(environment, kills, injections, rng, victim, report)
            done.set()
        if replacing:
            environment.provider_faults.clear()
            await check_final_state(environment, results)
    return used, results


async def _provision(environment: ChaosEnvironment, routes: list[str]) -> None:
    _declare(environment)
    client = environment.client
    assert client is not None
    await asyncio.gather(
        *(
            client.execute_workflow(
                ProvisionRoute.run,
                provision_input(route),
                id=route_workflow_id(route),
                task_queue=environment.settings.task_queue,
            )
            for route in routes
        )
    )


def _declare(environment: ChaosEnvironment) -> None:
    """Declare the track and the release of the fleet."""
    environment.store.tracks.set("chaos", None, Operation(origin=ORIGIN))
    environment.store.fleet_settings.set("default_release_tag", BEFORE, Operation(origin=ORIGIN))


def _log(text: str) -> None:
    print(f"chaos: {text}", file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    app()
