"""The way out of a walk: only by the commands that the software names, and bounded."""

import random
from collections import Counter
from datetime import timedelta

from devkit.walk.actions import holds_of
from devkit.walk.fleet import GOOD, MAX_PATIENCE, ROUTES, Fleet
from devkit.walk.named import (
    advice,
    controls_named,
    fault_kind,
    named_commands,
    unwrapped,
)
from relight.domain.fault.fault import FaultClass
from relight.domain.fault.rule import Remedy
from relight.domain.fault.table import RULES
from relight.domain.names import ReleaseTag, RouteId, scope_track
from relight.domain.rollout.rollout import Rollout
from relight.domain.route import RouteStatus

BY_HAND = frozenset(
    {
        *("dpkg-lock-held", "lists-lock-held", "disk-full", "packages-held", "clock-behind"),
        *("apt-failed", "unit-masked", "sudo-refused", "probe-not-runnable"),
    }
)
"""Kinds whose advice says what a person repairs on the host or in the settings."""

_TRIED_AGAIN = (Remedy.WAIT, Remedy.REPAIR)
"""Remedies by which the same command succeeds later."""

MAX_STEPS = 20
"""Commands for one route. Most need one or two."""

MAX_ROUNDS = 3
"""How often a route is tried: it may have to wait for another one."""

ROLLOUTS_END_WITHIN = timedelta(hours=30)
PAUSE = timedelta(hours=1)
_REASON = ("--reason", "the way out")


class StuckError(Exception):
    """A state that no named command leaves."""


async def lift_and_repair(fleet: Fleet) -> None:
    """Lift every hold, and end every fault outside of hosts."""
    for command, number in holds_of(fleet):
        await fleet.type(*command, "remove", str(number), *_REASON)
    fleet.releases.available = fleet.connectivity.reached = True
    for cloud in fleet.clouds.values():
        cloud.provider_faults.clear()
    for key, kind in list(fleet.hosts.faults.items()):
        if RULES[kind].fault_class is FaultClass.REPOSITORY:
            fleet.hosts.cure(key)
    fleet.hosts.boots_that_fail = 0
    fleet.log.append("# holds are lifted; the provider, the repository and the network answer")


async def end_rollouts(fleet: Fleet, rng: random.Random) -> None:
    """Do for each open rollout what its `why` says, until it has ended.

    Raises:
        StuckError: it does not end.
    """
    open_rollouts: list[Rollout] = []
    for _ in fleet.patience(ROLLOUTS_END_WITHIN):
        open_rollouts = [each for each in fleet.store.rollouts.list() if each.closed_at is None]
        if not open_rollouts:
            return
        for rollout in open_rollouts:
            await _advance(fleet, rng, rollout)
        await fleet.skip(PAUSE)
    ids = ", ".join(each.workflow_id for each in open_rollouts)
    raise StuckError(f"rollouts do not end: {ids}")


async def _advance(fleet: Fleet, rng: random.Random, rollout: Rollout) -> None:
    track = scope_track(rollout.scope)
    name = [rollout.release_tag, *(["--track", track] if track else [])]
    why = await fleet.type("rollout", "why", *name)
    if why is None or why.code != 0:
        return
    if controls := controls_named(why.out):
        # What continues by itself is given the time to do so.
        if "continues by itself" in why.out and rng.random() < 0.5:
            return
        await fleet.type("rollout", rng.choice(controls), *name, *_REASON)


async def bring_all(fleet: Fleet, rng: random.Random) -> None:
    """Bring each route to a random release, by the commands that its own state names.

    Raises:
        StuckError: a route does not get there.
    """
    goals = {route_id: rng.choice(GOOD) for route_id in ROUTES}
    reasons: dict[RouteId, str] = {}
    for _ in range(MAX_ROUNDS):
        reasons = {}
        for route_id, tag in goals.items():
            reason = await _bring(fleet, rng, route_id, tag)
            if reason is not None:
                reasons[route_id] = reason
        if not reasons:
            return
        await fleet.skip(MAX_PATIENCE)
    raise StuckError("; ".join(f"{route}: {reason}" for route, reason in reasons.items()))


async def _bring(
    fleet: Fleet, rng: random.Random, route_id: RouteId, tag: ReleaseTag
) -> str | None:
    """Bring a route to a release; return why it does not get there, None if it does."""
    goal: tuple[str, ...] = ("route", "swap", route_id, tag)
    options, tried = [goal], Counter[tuple[str, ...]]()
    said = ""
    for _ in range(MAX_STEPS):
        route = fleet.route(route_id)
        if (route.status, route.current_release_tag) == (RouteStatus.SERVING, tag):
            return None
        words = min(options, key=lambda each: (tried[each], rng.random()))
        tried[words] += 1
        ran = await fleet.type(*words, *_REASON)
        if ran is None:
            return f"`relight {' '.join(words)}` does not end within {MAX_PATIENCE}"
        if ran.code == 0:
            options = [goal]
            continue
        said, kind = unwrapped(ran.err), fault_kind(ran.err)
        route = fleet.route(route_id)
        named = named_commands(ran.err + advice(kind), route, tag)
        # Of two commands that a message names, one may apply.
        options = [*named, *(each for each in options if each not in (*named, words, goal))]
        if kind in BY_HAND and (tried[words] > 1 or not options):
            _cure(fleet, route_id)
            options = [goal]
        elif (rule := RULES.get(kind or "")) and rule.remedy in _TRIED_AGAIN:
            await fleet.skip(PAUSE)
            options.append(goal)
        if not options:
            return f"no command leads on from: {said}"
    return f"not at {tag} after {MAX_STEPS} commands, the last said: {said}"


def _cure(fleet: Fleet, route_id: RouteId) -> None:
    machine = fleet.route(route_id).machine
    if machine is not None:
        fleet.log.append(f"# {machine.key} is repaired, as its fault's advice says")
        fleet.hosts.cure(machine.key)
