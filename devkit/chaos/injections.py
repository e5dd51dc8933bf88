"""Random injections: kills and provider faults, one after another, while operations run."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from devkit.chaos.environment import ChaosEnvironment
from devkit.chaos.provider_faults import PROVIDER_FAULTS, Call, ProviderFault

PAUSE_SECONDS = (0.2, 3.0)
"""Shortest and longest pause between two injections: below and above the length of each step."""

# All SSH logins of the control plane and their processes. Transactions on the host are not killed.
_KILL_SESSIONS = "pkill -KILL -u relight; pkill -KILL -f '^sshd: relight'; true"
_KILL_SSHD = "pkill -KILL -x sshd; systemctl restart ssh"
# The processes that asked systemd to start a change, and systemd itself, which re-executes.
_KILL_PARENTS = "pkill -KILL -x sudo; systemctl daemon-reexec"


class Injection(NamedTuple):
    """One kind of injection.

    Attributes:
        name: its name in the report.
        weight: its relative frequency.
        inject: called with the environment and the lab's id of the victim machine.
    """

    name: str
    weight: int
    inject: Callable[[ChaosEnvironment, str], Awaitable[object]]


async def _kill_worker(environment: ChaosEnvironment, _machine: str) -> None:
    await environment.kill_worker()


async def _kill_temporal(environment: ChaosEnvironment, _machine: str) -> None:
    await environment.kill_temporal()


def _on_host(name: str, weight: int, script: str) -> Injection:
    async def inject(environment: ChaosEnvironment, machine: str) -> None:
        await environment.on_host(machine, script)

    return Injection(name, weight, inject)


def _at_provider(call: Call, fault: ProviderFault) -> Injection:
    async def inject(environment: ChaosEnvironment, _machine: str) -> None:
        environment.provider_faults.inject(fault, call)

    return Injection(f"provider call {call}: {fault}", 1, inject)


KILLS: Sequence[Injection] = (
    Injection("worker killed", 3, _kill_worker),
    _on_host("SSH sessions killed", 4, _KILL_SESSIONS),
    _on_host("sshd killed", 2, _KILL_SSHD),
    _on_host("parents of a change killed", 2, _KILL_PARENTS),
    Injection("Temporal killed", 1, _kill_temporal),
)
PROVIDER_INJECTIONS: Sequence[Injection] = tuple(_at_provider(*each) for each in PROVIDER_FAULTS)


async def inject_at_random(
    environment: ChaosEnvironment,
    count: int,
    injections: Sequence[Injection],
    rng: random.Random,
    victim: Callable[[random.Random], Awaitable[str]],
    report: Callable[[int], None],
) -> Counter[str]:
    """Inject `count` times, and return how often each injection was used.

    Args:
        environment: the environment.
        count: the number of injections.
        injections: those to choose from.
        rng: chooses injections, pauses and victims.
        victim: returns the lab's id of the machine that the next injection is about.
        report: called with the number of injections so far, after every tenth.
    """
    used: Counter[str] = Counter()
    weights = [injection.weight for injection in injections]
    for number in range(1, count + 1):
        await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
        (injection,) = rng.choices(injections, weights)
        await injection.inject(environment, await victim(rng))
        used[injection.name] += 1
        if number % 10 == 0:
            report(number)
    return used
