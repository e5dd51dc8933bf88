"""The stage: a lab, an embedded Temporal and a worker as `relight up` starts them, and the hosts.

All in a home folder of its own, of which nothing is left; the routes are provisioned by the very
commands that an operator types.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncssh
import httpx
from temporalio.client import Client

from devkit.bench.home import fresh_home
from devkit.bench.hosts import Host, on_all
from devkit.bench.meter import Group
from devkit.bench.mirror import mirror
from devkit.bench.publishing import BEFORE, Publisher
from lab import cgroups
from lab.names import LabNames
from relight.engine.connection import connect
from relight.engine.executions import worker_identities
from relight.hosts.keys import (
    derive_host_key,
    load_client_key,
    load_secret,
)
from relight.settings import Settings, load_settings
from starter.local.children import Child, running
from starter.local.home import (
    SshSecrets,
    prepare_home,
    prepare_service_secrets,
    write_env,
    write_temporal_profile,
)
from starter.local.lab import (
    LabAddresses,
    lab_name,
    lab_state,
    local_lab,
)
from starter.local.temporal import embedded_temporal

ROOT = Path(__file__).parents[2]
WORKER_READY_WITHIN = timedelta(seconds=60)

_TOLD_APT = """\
# An index of security fixes is valid for a week; the lab's image may be older.
Acquire::Check-Valid-Until "false";
# As in most images of clouds. The index is of packages' English descriptions already.
Acquire::Languages "none";
Acquire::http::Proxy "%s";
Acquire::http::Proxy::%s "DIRECT";
"""

# General tools run whatever they like as root, so they are let to; Relight runs its one program.
_PREPARE = """\
printf %s "$1" >/etc/apt/apt.conf.d/90bench
echo "$2 ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/99-bench
"""


@dataclass(frozen=True)
class Stage:
    """All that stands.

    Attributes:
        home: Relight's home folder; other files of the bench lie in it, too.
        settings: what the worker was started with.
        client: of Temporal.
        publisher: of the lab's repository.
        hosts: the machines, by name.
        fleet_file: what the other contestants know of them, see `devkit.bench.tools`.
        controller: the cgroup of the worker and the Temporal server.
        groups: the folder for other cgroups.
    """

    home: Path
    settings: Settings
    client: Client
    publisher: Publisher
    hosts: tuple[Host, ...]
    fleet_file: Path
    controller: Group
    groups: Path


@asynccontextmanager
async def stage(count: int) -> AsyncIterator[Stage]:
    """Set up so many hosts at the release before, and remove all of it at the end."""
    with fresh_home() as home:
        async with AsyncExitStack() as stack:
            yield await _set_up(home, count, stack)


async def _set_up(home: Path, count: int, stack: AsyncExitStack) -> Stage:
    ssh = prepare_home(home)
    groups = _groups(home)
    stack.callback(cgroups.remove, groups)
    lab = await stack.enter_async_context(local_lab(home))
    temporal = await stack.enter_async_context(embedded_temporal(home))
    write_temporal_profile(home / "temporal.toml", temporal.address, "default")
    write_env(home, _told(home, ssh, lab.addresses))
    settings = load_settings()
    client = await connect(settings)
    controller = Group(groups / "controller")
    worker = await stack.enter_async_context(running_worker(client, settings))
    controller.take({"worker": worker.pid, "temporal": temporal.pid})
    publisher = Publisher(lab_state(home))
    await publisher.publish(BEFORE)
    await _provision(home, count)
    hosts = await _hosts(home, lab.addresses)
    gateway = urlsplit(lab.addresses.repository_url).hostname
    assert gateway is not None
    proxy = await stack.enter_async_context(mirror(gateway))
    await on_all(hosts, _PREPARE, _TOLD_APT % (proxy, gateway), settings.ssh.user)
    return Stage(
        home=home,
        settings=settings,
        client=client,
        publisher=publisher,
        hosts=hosts,
        fleet_file=_write_fleet(home, settings, ssh, hosts),
        controller=controller,
        groups=groups,
    )


@asynccontextmanager
async def running_worker(client: Client, settings: Settings) -> AsyncIterator[Child]:
    """Run a worker as `relight up` does, from when it asks for work until the block ends.

    Raises:
        ChildFailedError: it ended by itself or does not get ready.
    """
    argv, log = [sys.executable, "-m", "worker"], settings.home / "logs" / "worker.log"
    async with running("the worker", argv, log=log) as worker:

        async def polls() -> bool:
            return bool(await worker_identities(client, settings.task_queue))

        await worker.until(polls, WORKER_READY_WITHIN)
        yield worker


def _told(home: Path, ssh: SshSecrets, addresses: LabAddresses) -> dict[str, str]:
    return {
        # One look, as all others have one.
        "RELIGHT_STABILITY_WINDOW": "PT0S",
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
        "RELIGHT_LAB__URL": addresses.url,
        "RELIGHT_LAB__TOKEN_FILE": str(addresses.token_file),
        "RELIGHT_REPOSITORY__URL": addresses.repository_url,
        "RELIGHT_REPOSITORY__SIGNING_KEY": str(addresses.signing_key),
        "RELIGHT_SERVICE__SECRETS_FILE": str(prepare_service_secrets(home)),
    }


def _groups(home: Path) -> Path:
    root = cgroups.root()
    assert root is not None  # the lab runs
    return root / f"relight-bench-{home.name}"


async def _provision(home: Path, count: int) -> None:
    why = ("--reason", "the bench")
    routes = [f"bench-{number:02}" for number in range(1, count + 1)]
    await _relight(home, "settings", "set", "default_release_tag", f"v{BEFORE}", *why)
    await _relight(home, "track", "set", "stable", *why)
    placed = ("--track", "stable", "--region", "lab-east", *why)
    await _relight(home, "route", "provision", *routes, *placed)


async def _relight(home: Path, *words: str) -> None:
    argv = [sys.executable, "-m", "starter.cli", *words]
    log = home / "logs" / "cli.log"
    async with running(f"relight {words[0]} {words[1]}", argv, log=log) as child:
        if await child.process.wait() != 0:
            raise child.failure("failed")


async def _hosts(home: Path, addresses: LabAddresses) -> tuple[Host, ...]:
    bearer = {"Authorization": f"Bearer {addresses.token_file.read_text().strip()}"}
    async with httpx.AsyncClient(trust_env=False, headers=bearer) as http:
        machines = (await http.get(f"{addresses.url}/v1/machines")).raise_for_status().json()
    tag = LabNames(lab_name(home)).tag
    found = [
        Host(
            key=machine["label"],
            machine_id=machine["id"],
            address=machine["address"],
            lab_state=lab_state(home),
            cgroup=cgroups.folder(tag, machine["id"]),
        )
        for machine in machines
    ]
    return tuple(sorted(found, key=lambda host: host.key))


def _write_fleet(home: Path, settings: Settings, ssh: SshSecrets, hosts: tuple[Host, ...]) -> Path:
    """Tell the others who the hosts are: they, too, trust the derived host keys and no others."""
    secret = load_secret(ssh.host_key_secret)
    assert isinstance(load_client_key(ssh.client_key), asyncssh.SSHKey)
    known = home / "known_hosts"
    lines = [f"{host.address} {derive_host_key(secret, host.key).public}\n" for host in hosts]
    known.write_text("".join(lines))
    fleet = {
        "user": settings.ssh.user,
        "client_key": str(ssh.client_key),
        "known_hosts": str(known),
        "port": settings.service.probe_port,
        "path": settings.service.probe_path,
        "hosts": [{"name": host.key, "address": host.address} for host in hosts],
    }
    file = home / "fleet.json"
    file.write_text(json.dumps(fleet))
    return file
