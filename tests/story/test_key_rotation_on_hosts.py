"""Both keys are rotated on real hosts, while the worker is killed and a host does not answer.

Twelve routes in two regions, and a machine in the pool. Meanwhile a route is provisioned, one is
swapped, and a reconcile run verifies all. Logins are those of OpenSSH, with one key each.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from lab.names import LabNames
from relight.domain.key_rotation import KeyKind, KeyStanding, RotationPhase
from relight.domain.machine import Machine
from relight.domain.pool.pool import PoolStatus
from relight.domain.route import RouteStatus
from relight.hosts.keys import derive_host_key, load_secret
from relight.store.events import Operation
from starter.local.children import wait_until
from starter.local.lab import lab_name
from tests.lab.traces import traces
from tests.support.command_line import Ended
from tests.support.lab_fleet import FIRST, LabFleet, lab_fleet
from tests.workflows.harness import ORIGIN

pytestmark = pytest.mark.lab

WITHIN = timedelta(seconds=90)
SILENT, SWAPPED = "west-beta-3", "east-beta-1"
FILES = {KeyKind.CLIENT: "ssh_client_key", KeyKind.HOST_SECRET: "host_key_secret"}

_DROP = """\
nft add table inet hole
nft add chain inet hole in '{ type filter hook input priority 0; policy drop; }'
"""
_ADMIT = "nft delete table inet hole"


@dataclass(frozen=True)
class Rotated:
    """A fleet whose keys are rotated, and copies of the files that it had before.

    Attributes:
        fleet: the fleet.
        machines: the lab's id of each machine, by key, as at the beginning.
    """

    fleet: LabFleet
    machines: dict[str, str]

    def file(self, kind: KeyKind) -> Path:
        return self.fleet.environment.home / FILES[kind]

    def old_file(self, kind: KeyKind) -> Path:
        return self.file(kind).with_suffix(".kept")

    def standing(self, kind: KeyKind) -> KeyStanding | None:
        return self.fleet.environment.store.key_rotations.standing(kind)

    def serving(self) -> list[Machine]:
        """Return the machines of all routes and of the pool, as on record."""
        store = self.fleet.environment.store
        found = [store.machines.last_observed(each.key) for each in store.machines.list()]
        return [each for each in found if each is not None]


@pytest.fixture(scope="module")
async def rotated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rotated]:
    settings = {
        "RELIGHT_SSH__CONNECT_TIMEOUT": "PT3S",
        "RELIGHT_RECONCILE__PROOF_LASTS": "PT0.001S",
    }
    kept = tmp_path_factory.mktemp("keys")
    async with lab_fleet(kept, further=settings) as fleet:
        store = fleet.environment.store
        store.pool_sizes.set("lab", "lab-east", 1, Operation(origin=ORIGIN))

        async def filled() -> bool:
            await fleet.ask("reconcile")
            return [each.status for each in store.pool.list()] == [PoolStatus.READY]

        await wait_until(filled, WITHIN)
        yield Rotated(fleet, await fleet.environment.machines())
        home = fleet.environment.home
    assert traces(LabNames(lab_name(home)).tag) == []


async def ssh(machine: Machine, key: Path, known_hosts: Path) -> tuple[int, str]:
    """Log in with one key, where the host must show the one host key that is known."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "ConnectTimeout": "10",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        *(
            "ssh",
            "-F",
            "/dev/null",
            *words,
            "-i",
            str(key),
            f"relight@{machine.address}",
            "echo in",
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def assert_hosts_have_the_new_key_only(rotated: Rotated, tmp_path: Path) -> None:
    """Check by logins that each host accepts and shows the keys in use, and not those before."""
    files = {kind: (rotated.file(kind), rotated.old_file(kind)) for kind in KeyKind}
    secrets = [load_secret(each) for each in files[KeyKind.HOST_SECRET] if each.exists()]

    async def check(machine: Machine) -> None:
        known = []
        for number, secret in enumerate(secrets):
            public = derive_host_key(secret, machine.key).public
            file = tmp_path / f"{machine.key}.{number}"
            file.write_text(f"{machine.address} {public}\n")
            known.append(file)
        key, old_key = files[KeyKind.CLIENT]
        assert await ssh(machine, key, known[0]) == (0, "in\n"), machine.key
        if old_key.exists():
            code, printed = await ssh(machine, old_key, known[0])
            assert (code, "Permission denied (publickey)" in printed) == (255, True), printed
        if len(known) == 2:
            code, printed = await ssh(machine, key, known[1])
            assert (code, "Host key verification failed" in printed) == (255, True), printed

    machines = rotated.serving()
    assert len(machines) >= 13
    await asyncio.gather(*map(check, machines))


async def kill_the_worker_in_the_middle(rotated: Rotated, kind: KeyKind) -> None:
    """Kill the worker once some machines have the new key, and before all have it."""

    async def some() -> bool:
        standing = rotated.standing(kind)
        return standing is not None and standing.added + standing.done > 0

    await wait_until(some, WITHIN)
    standing = rotated.standing(kind)
    await rotated.fleet.environment.kill_worker()
    assert standing is not None
    assert standing.rotation.phase is RotationPhase.ADDING
    assert standing.added + standing.done < standing.machines


async def work_goes_on(rotated: Rotated, kind: KeyKind) -> None:
    """Provision a route, swap one, and verify all, while the rotation waits for a machine."""
    fleet = rotated.fleet
    provision = ("route", "provision", f"later-{kind}", "--track", "beta", "--region", "lab-east")
    swap = ("route", "swap", SWAPPED)

    async def swap_there_and_back() -> Ended:
        there = await fleet.relight(*swap, "v0.0.74")
        assert there.code == 0, there
        return await fleet.relight(*swap, FIRST, "--allow-downgrade")

    done = await asyncio.gather(fleet.relight(*provision), swap_there_and_back())
    assert [each.code for each in done] == [0, 0], done
    run = await fleet.ask("reconcile")
    assert run["started"].keys() <= {"verify", "pool"}
    faulted = [
        each.route_id
        for each in fleet.environment.store.routes.list()
        if each.status is not RouteStatus.SERVING
    ]
    assert faulted in ([], [SILENT])


@pytest.mark.parametrize("kind", KeyKind)
async def test_no_host_is_lost(rotated: Rotated, tmp_path: Path, kind: KeyKind) -> None:
    fleet, store = rotated.fleet, rotated.fleet.environment.store
    shutil.copy2(rotated.file(kind), rotated.old_file(kind))
    await fleet.on_host(SILENT, _DROP)
    rotation: asyncio.Task[Ended] = asyncio.create_task(fleet.relight("keys", "rotate", kind))
    await kill_the_worker_in_the_middle(rotated, kind)

    async def waits_for_one() -> bool:
        standing = rotated.standing(kind)
        assert standing is not None
        return [each.machine_key for each in standing.waiting] == [f"{SILENT}-g1"]

    await wait_until(waits_for_one, WITHIN)
    assert not rotation.done()
    await work_goes_on(rotated, kind)
    standing = rotated.standing(kind)
    assert standing is not None
    assert standing.rotation.phase is RotationPhase.ADDING
    await fleet.on_host(SILENT, _ADMIT)
    again = await fleet.relight("keys", "rotate", kind, "--json")
    ended = await rotation
    assert (ended.code, again.code) == (0, 0), (ended, again)
    assert again.json["rotation"]["phase"] == RotationPhase.FINISHED
    assert rotated.file(kind).read_bytes() != rotated.old_file(kind).read_bytes()

    await assert_hosts_have_the_new_key_only(rotated, tmp_path)
    # A reconcile run would do it too, a while after the fault.
    verified = await fleet.relight("route", "verify", SILENT)
    assert verified.code == 0, verified
    run = await fleet.ask("reconcile")
    assert run["started"].keys() <= {"verify"}
    assert {each.status for each in store.routes.list()} == {RouteStatus.SERVING}
    assert len(store.routes.list()) == (13 if kind is KeyKind.CLIENT else 14)
    assert [each.status for each in store.pool.list()] == [PoolStatus.READY]
    machines = await fleet.environment.machines()
    assert rotated.machines.items() <= machines.items()
    kinds = {event.kind for event in store.events.list()}
    assert not kinds & {
        *("machine-destroyed", "breaker-opened", "incident-opened", "replacement-begun")
    }
    assert (await fleet.ask("breaker", "status"))["breaker"]["incident"] is None
