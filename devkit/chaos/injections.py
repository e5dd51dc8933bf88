"""What is done to those who carry an operation, one thing at a time."""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from devkit.chaos import troubles
from devkit.chaos.troubles import Call, Trouble
from devkit.chaos.world import World

# Whoever logged in over SSH, with all that they run there; our transactions are not among it.
_SESSIONS = "pkill -KILL -u relight; pkill -KILL -f '^sshd: relight'; true"
_SSHD = "pkill -KILL -x sshd; systemctl restart ssh"
# Whoever had systemd begin a change, and systemd itself, which goes on as another program.
_PARENTS = "pkill -KILL -x sudo; systemctl daemon-reexec"


class Injection(NamedTuple):
    """One kind of mishap.

    Attributes:
        name: what it is called in the report.
        weight: how often it comes, beside the others.
        bring: what does it to the world, on a host's machine by its id where it is about one.
    """

    name: str
    weight: int
    bring: Callable[[World, str], Awaitable[object]]


async def _kill_worker(world: World, _machine: str) -> None:
    await world.kill_worker()


async def _kill_temporal(world: World, _machine: str) -> None:
    await world.kill_temporal()


async def _cut_ssh(world: World, machine: str) -> None:
    await world.on_host(machine, _SESSIONS)


async def _kill_sshd(world: World, machine: str) -> None:
    await world.on_host(machine, _SSHD)


async def _kill_parents(world: World, machine: str) -> None:
    await world.on_host(machine, _PARENTS)


def _provider(call: Call, trouble: Trouble) -> Injection:
    """Return a trouble that the next call of one sort meets, whoever makes it."""

    async def bring(world: World, _machine: str) -> None:
        world.troubles.bring(trouble, call)

    return Injection(f"provider asked to {call}: {trouble}", 1, bring)


ON_HOSTS: Sequence[Injection] = (
    Injection("worker killed", 3, _kill_worker),
    Injection("SSH sessions killed", 4, _cut_ssh),
    Injection("sshd killed", 2, _kill_sshd),
    Injection("a change's parents killed", 2, _kill_parents),
    Injection("Temporal killed", 1, _kill_temporal),
)


AT_THE_PROVIDER: Sequence[Injection] = tuple(_provider(*each) for each in troubles.AT_THE_PROVIDER)


def draw(chance: random.Random, injections: Sequence[Injection]) -> Injection:
    """Draw the next mishap."""
    return chance.choices(injections, [injection.weight for injection in injections])[0]
