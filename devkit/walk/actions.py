"""The random actions of a walk: commands, faults, killed workers, jumps of the clock."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from devkit.chaos.provider_faults import PROVIDER_FAULTS
from devkit.walk.faults import KINDS
from devkit.walk.fleet import BAD, GOOD, PROVIDERS, REGION, ROUTES, TRACKS, Fleet

PATIENCE = timedelta(minutes=10)
"""How long a command is waited for before the next action. It runs on after that."""

Action = Callable[[Fleet, random.Random], Awaitable[None]]

_RELEASES = (*GOOD, *GOOD, *BAD)
_REASON = ("--reason", "a walk")


async def act(fleet: Fleet, rng: random.Random) -> None:
    """Do one random action."""
    actions, weights = zip(*_ACTIONS, strict=True)
    (action,) = rng.choices(actions, weights)
    await action(fleet, rng)


async def _type(fleet: Fleet, *words: str) -> None:
    await fleet.type(*words, *_REASON, patience=PATIENCE)


def _scope(rng: random.Random) -> Sequence[str]:
    """Return the option of a rollout's scope: mostly none, which is the fleet."""
    return () if rng.random() < 0.7 else ("--track", rng.choice(TRACKS))


# ---------------------------------------------------------------------- rollouts


async def _start_rollout(fleet: Fleet, rng: random.Random) -> None:
    options = [
        (),
        ("--keep-failed",),
        ("--approval", rng.choice(["canary", "waves"])),
        ("--soak", rng.choice(["5m", "1h"])),
        ("--failure-budget", str(rng.randint(0, 3))),
        ("--max-concurrent", str(rng.randint(1, 4))),
        ("--incident-limit", rng.choice(["5m", "2h"])),
        ("--region-budget", rng.choice(["1", "50%", "100%"])),
        ("--wave", "1", "--wave", "50%"),
    ]
    chosen = [word for option in rng.sample(options, 2) for word in option]
    await _type(fleet, "rollout", "start", rng.choice(_RELEASES), *_scope(rng), *chosen)


async def _undo(fleet: Fleet, rng: random.Random) -> None:
    tag = [rng.choice(_RELEASES), *_scope(rng)] if rng.random() < 0.5 else []
    await _type(fleet, "rollout", "undo", *tag)


async def _control(fleet: Fleet, rng: random.Random) -> None:
    control = rng.choice(["pause", "resume", "resume", "abort", "approve", "approve", "retry"])
    await _type(fleet, "rollout", control)


async def _set_concurrency(fleet: Fleet, rng: random.Random) -> None:
    await _type(fleet, "rollout", "set-concurrency", "--max-concurrent", str(rng.randint(1, 6)))


async def _skip_route(fleet: Fleet, rng: random.Random) -> None:
    await _type(fleet, "rollout", "skip", "--route", rng.choice(ROUTES))


# ---------------------------------------------------------------------- declarations and holds


async def _declare(fleet: Fleet, rng: random.Random) -> None:
    if rng.random() < 0.5:
        await _type(fleet, "settings", "set", "default_release_tag", rng.choice(_RELEASES))
    else:
        release = rng.choice([["--release", rng.choice(_RELEASES)], ["--follow-default"]])
        await _type(fleet, "track", "set", rng.choice(TRACKS), *release)


async def _hold(fleet: Fleet, rng: random.Random) -> None:
    covers = rng.choice(
        [
            ("--route", rng.choice(ROUTES)),
            ("--provider", rng.choice(PROVIDERS)),
            ("--track", rng.choice(TRACKS)),
        ]
    )
    length = ("--for", rng.choice(["30m", "4h", "2d"]))
    match rng.choice(["freeze", "exclude", "pin", "override"]):
        case "freeze":
            await _type(fleet, "freeze", "add", *covers, *length)
        case "exclude":
            await _type(fleet, "exclude", "add", *covers, *length)
        case "pin":
            pin = ("--pin", rng.choice(GOOD))
            await _type(fleet, "exclude", "add", *covers, *pin, *length)
        case _:
            group = ("--provider", rng.choice(PROVIDERS))
            await _type(fleet, "breaker", "override", "add", *group, *length)


async def _lift_hold(fleet: Fleet, rng: random.Random) -> None:
    if standing := holds_of(fleet):
        command, number = rng.choice(standing)
        await _type(fleet, *command, "remove", str(number))


def holds_of(fleet: Fleet) -> list[tuple[Sequence[str], int]]:
    """Return the holds in force or to come: the command of their kind, and their number."""
    now, store = fleet.clock.now(), fleet.store
    kinds = (
        (("freeze",), store.freezes),
        (("exclude",), store.exclusions),
        (("breaker", "override"), store.breaker_overrides),
    )
    return [(command, each.hold_id) for command, holds in kinds for each in holds.standing(now)]


# ---------------------------------------------------------------------- routes


async def _swap(fleet: Fleet, rng: random.Random) -> None:
    downgrade = ("--allow-downgrade",) if rng.random() < 0.5 else ()
    await _type(fleet, "route", "swap", rng.choice(ROUTES), rng.choice(_RELEASES), *downgrade)


async def _operate(fleet: Fleet, rng: random.Random) -> None:
    operation = rng.choice(["rollback", "cancel", "quarantine", "release", "retire"])
    await _type(fleet, "route", operation, rng.choice(ROUTES))


async def _replace(fleet: Fleet, rng: random.Random) -> None:
    options = rng.choice([(), (), ("--unreachable",), ("--cancel",), ("--release", GOOD[1])])
    await _type(fleet, "route", "replace", rng.choice(ROUTES), *options)


async def _move(fleet: Fleet, rng: random.Random) -> None:
    await _type(fleet, "route", "move", rng.choice(ROUTES), "--track", rng.choice(TRACKS))


async def _provision(fleet: Fleet, rng: random.Random) -> None:
    route = fleet.route(rng.choice(ROUTES))
    where = ("--provider", route.provider, "--region", REGION)
    await _type(fleet, "route", "provision", route.route_id, "--track", route.track, *where)


async def _reconcile(fleet: Fleet, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        await _type(fleet, "reconcile")


# ---------------------------------------------------------------------- faults


async def _break_host(fleet: Fleet, rng: random.Random) -> None:
    machine, kind = fleet.route(rng.choice(ROUTES)).machine, rng.choice(KINDS)
    if machine is not None:
        fleet.log.append(f"# fault {kind} on {machine.key}")
        fleet.hosts.set_fault(machine, kind)


async def _cure_host(fleet: Fleet, rng: random.Random) -> None:
    if fleet.hosts.faults:
        key = rng.choice(sorted(fleet.hosts.faults))
        fleet.log.append(f"# {key} is cured")
        fleet.hosts.cure(key)


async def _break_supply(fleet: Fleet, rng: random.Random) -> None:
    match rng.choice(["provider", "provider", "repository", "connectivity"]):
        case "provider":
            cloud, (call, fault) = rng.choice(PROVIDERS), rng.choice(PROVIDER_FAULTS)
            times = rng.randint(1, 12)
            fleet.log.append(f"# {cloud}: {times} times {call}: {fault}")
            fleet.clouds[cloud].provider_faults.inject(fault, call, times)
        case "repository":
            fleet.releases.available = not fleet.releases.available
            fleet.log.append(f"# the repository answers: {fleet.releases.available}")
        case _:
            fleet.connectivity.reached = not fleet.connectivity.reached
            fleet.log.append(f"# the connectivity check answers: {fleet.connectivity.reached}")


async def _kill_worker(fleet: Fleet, rng: random.Random) -> None:
    """Kill the worker in the middle of an operation, and start another."""
    route = rng.choice(ROUTES)
    words = rng.choice(
        [
            ("rollout", "start", rng.choice(_RELEASES)),
            ("route", "swap", route, rng.choice(_RELEASES), "--allow-downgrade"),
            ("route", "replace", route),
            ("reconcile",),
        ]
    )
    command = fleet.start(*words, *_REASON)
    await asyncio.wait([command.ran], timeout=rng.uniform(0.05, 0.5))
    fleet.log.append("# the worker is killed, and another one is started")
    await fleet.kill_worker()
    await fleet.start_worker()
    await fleet.pass_time_until_ended(command, PATIENCE)


async def _jump(fleet: Fleet, rng: random.Random) -> None:
    most = rng.choice([timedelta(minutes=30), timedelta(hours=6), timedelta(days=2)])
    duration = most * rng.uniform(0.1, 1)
    fleet.log.append(f"# {duration} pass")
    await fleet.skip(duration)


_ACTIONS: Sequence[tuple[Action, int]] = (
    (_start_rollout, 8),
    (_undo, 4),
    (_control, 8),
    (_set_concurrency, 2),
    (_skip_route, 1),
    (_declare, 3),
    (_hold, 4),
    (_lift_hold, 2),
    (_swap, 4),
    (_operate, 6),
    (_replace, 4),
    (_move, 2),
    (_provision, 2),
    (_reconcile, 5),
    (_break_host, 9),
    (_cure_host, 2),
    (_break_supply, 3),
    (_kill_worker, 3),
    (_jump, 6),
)
"""Each with its weight."""
