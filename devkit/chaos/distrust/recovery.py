"""The way back: reconcile runs, and the commands that the messages name, until all is whole."""

import asyncio
import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from temporalio.service import RPCError

from devkit.chaos.distrust.fleet import POOL_SIZE, TAGS, DistrustFleet, healthy_labels
from devkit.walk.named import advice, named_commands, unwrapped
from relight.domain.pool.pool import PoolStatus
from relight.domain.route import Route, RouteStatus
from starter.cli.operations import current_details

WHOLE_WITHIN = timedelta(minutes=8)
BY_ITSELF = 3
"""So many reconcile runs come before a person types what a message names."""

_ADOPT, _REMOVE = ("store", "adopt-current"), ("machine", "remove")
_PLACEHOLDER = re.compile(r"[A-Z]{2,}")


async def become_whole(fleet: DistrustFleet, rng: random.Random) -> list[str]:
    """Bring the fleet back by what Relight does and names. Returns what is not whole at the end."""
    problems, tries = ["nothing was tried"], 0
    run: dict[str, Any] = {}
    refused: dict[str, str] = {}
    try:
        async with asyncio.timeout(WHOLE_WITHIN.total_seconds()):
            while problems := await _problems(fleet, run):
                fleet.note(f"# not whole: {'; '.join(problems)}")
                run = await _reconcile(fleet)
                if not _is_stale(fleet) and tries < BY_ITSELF:
                    tries += 1
                else:
                    refused = await _type_what_is_named(fleet, rng, run, refused)
    except TimeoutError:
        return [*problems, f"not whole after {WHOLE_WITHIN}"]
    return []


async def _reconcile(fleet: DistrustFleet) -> dict[str, Any]:
    """Return the result of a reconcile run; empty if it failed."""
    ran = await fleet.type("reconcile", "--json")
    return json.loads(ran.out) if ran.code == 0 else {}


def _is_stale(fleet: DistrustFleet) -> bool:
    return any(each.kind == "records-outdated" for each in fleet.environment.store.incidents.list())


async def _problems(fleet: DistrustFleet, run: dict[str, Any]) -> list[str]:
    """Return in what the fleet is not whole, by the store, the provider and the hosts.

    Args:
        fleet: the fleet.
        run: the result of the last reconcile run.
    """
    store = fleet.environment.store
    routes, pool, declared = store.routes.list(), store.pool.list(), fleet.declared()
    problems = [
        f"{each.route_id} is {each.status} at {each.current_release_tag}, {_kind(each)}"
        for each in routes
        if (each.status, each.current_release_tag, each.fault)
        != (RouteStatus.SERVING, declared, None)
    ]
    if (proven := run.get("proven", 0)) != len(routes) or run["observed"]["unobserved"]:
        problems.append(f"{proven} of {len(routes)} routes were proven by the last run")
    problems += [f"incident {each.kind}" for each in store.incidents.list()]
    if store.breaker.get().incident is not None:
        problems.append("the breaker is open")
    ready = [each.key for each in pool if each.status is PoolStatus.READY]
    if len(ready) != POOL_SIZE or len(pool) != POOL_SIZE:
        problems.append(f"pool machines {[f'{each.key} {each.status}' for each in pool]}")
    problems += [f"{each} runs" for each in await fleet.workflows()]
    problems += [f"{each.route_id} is out: {each.reason}" for each in store.disruptions.list()]
    return problems or await _untrue(fleet, routes, ready)


async def _untrue(fleet: DistrustFleet, routes: Sequence[Route], ready: Sequence[str]) -> list[str]:
    """Return what the provider and the hosts do not agree with."""
    there = await fleet.environment.machines()
    on_record = {each.machine.key: each for each in routes if each.machine is not None}
    problems = [
        f"{each} is an orphan" for each in sorted(there.keys() - on_record.keys() - {*ready})
    ]
    problems += [f"{each} is on record, and no machine" for each in sorted({*on_record} - {*there})]
    addresses = {key: each.machine.address for key, each in on_record.items() if each.machine}
    healthy = await healthy_labels(
        {key: there[key] for key in on_record if key in there}, lambda key: addresses[key] or ""
    )
    return problems + [f"{key} does not answer" for key in sorted({*on_record} - healthy)]


def _kind(route: Route) -> str:
    return route.fault.kind if route.fault else "without a fault"


async def _type_what_is_named(
    fleet: DistrustFleet, rng: random.Random, run: dict[str, Any], refused: Mapping[str, str]
) -> dict[str, str]:
    """Type, for each subject, one of the commands that its messages name.

    Args:
        fleet: the fleet.
        rng: chooses among the commands.
        run: the result of the last reconcile run.
        refused: what the commands said that failed the last time, by their subjects.

    Returns:
        The same of these commands.
    """
    texts = await _texts(fleet, rng, run)
    declared = fleet.declared()
    commands: dict[tuple[str, ...], str] = {}
    for about, text in sorted(texts.items()):
        if about.startswith("scope ") and "decide what the scope runs" in text:
            # The one thing that a person has to decide.
            commands["rollout", "start", TAGS[1], "--wait"] = about
            continue
        subject = about.partition(" ")[2]
        route_id = subject if subject in fleet.routes else fleet.routes[0]
        said = unwrapped(f"{text} {refused.get(about, '')}")
        named = [
            command
            for command in named_commands(said, fleet.record(route_id), declared)
            if not any(_PLACEHOLDER.fullmatch(word) for word in command)
            # As an operator knows, who removes no machine that serves.
            and not (command[:2] == _REMOVE and command[2] in fleet.served_by.values())
        ]
        if named:
            commands[rng.choice(named)] = about
        else:
            fleet.note(f"# {about}: {unwrapped(text)}")
    ran = await asyncio.gather(*(fleet.type(*command) for command in commands))
    return {
        about: each.err for about, each in zip(commands.values(), ran, strict=True) if each.code
    }


async def _texts(
    fleet: DistrustFleet, rng: random.Random, run: dict[str, Any]
) -> Mapping[str, str]:
    """Return what the messages say, by what they are about."""
    plan = (run.get("observed") or {}).get("plan") or {}
    left = [*plan.get("left_alone", ()), *run.get("not_started", ())]
    texts = {each["about"]: each["reason"] for each in left}
    if _is_stale(fleet):
        texts = await _adopt(fleet, rng, texts.values())
    for route in fleet.environment.store.routes.list():
        if route.fault is not None:
            about = f"route {route.route_id}"
            texts[about] = f"{texts.get(about, '')} {advice(route.fault.kind)}"
    for workflow_id in await fleet.workflows():
        if workflow_id.startswith("machine/"):
            texts[workflow_id] = await _details(fleet, workflow_id)
    return texts


async def _adopt(fleet: DistrustFleet, rng: random.Random, told: Iterable[str]) -> dict[str, str]:
    """Take what is proven now into the store, as its incident's advice says.

    Where a message asks which machine serves a route, that is told: its operator knows.

    Args:
        fleet: the fleet.
        rng: chooses.
        told: what the last reconcile run left alone, and why.

    Returns:
        What could not be taken, and why, by what it is about.
    """
    older = ("--older",) if rng.random() < 0.3 else ()
    left = await _left_by_adoption(fleet, *older)
    asking = [f"{about}: {why}" for about, why in left.items() if "--serves" in why]
    asking += [each for each in told if "--serves" in each]
    serves = [
        f"--serves={route_id}={key}"
        for route_id, key in fleet.served_by.items()
        if any(re.search(rf"\broute {route_id}\b", each) for each in asking)
    ]
    return await _left_by_adoption(fleet, *older, *serves) if serves else left


async def _left_by_adoption(fleet: DistrustFleet, *options: str) -> dict[str, str]:
    ran = await fleet.type(*_ADOPT, "--yes", "--json", *options)
    compared = json.loads(ran.out)["comparisons"] if ran.out else []
    return {each["about"]: each["reason"] for each in compared if each["verdict"] != "adopted"}


async def _details(fleet: DistrustFleet, workflow_id: str) -> str:
    try:
        details = await current_details(fleet.client.get_workflow_handle(workflow_id))
    except RPCError:  # it has ended
        return ""
    return details.replace("\\", "")  # they are Markdown
