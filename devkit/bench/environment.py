"""The environment of the comparison: a lab, an embedded Temporal, a worker, and routes.

All parts are started as `relight up` starts them, in a temporary home folder that is deleted at
the end. The routes are provisioned with the commands that an operator uses.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from temporalio.client import Client

from devkit.bench.machines import BenchMachine, on_all
from devkit.bench.meter import Group, bench_cgroup
from devkit.bench.mirror import mirror
from devkit.bench.publishing import BEFORE, Publisher
from devkit.installation import host_settings, isolated_home, lab_settings, running_worker
from lab import cgroups
from lab.names import LabNames
from relight.engine.connection import connect
from relight.hosts.keys import derive_host_key, load_secret
from relight.settings import Settings, load_settings
from starter.local.children import running
from starter.local.home import SshSecrets, prepare_home, write_env, write_temporal_profile
from starter.local.lab import LabAddresses, lab_name, lab_state, local_lab
from starter.local.temporal import embedded_temporal

ROOT = Path(__file__).parents[2]

_APT_CONFIGURATION = """\
# An index of security fixes is valid for a week; the lab's image may be older.
Acquire::Check-Valid-Until "false";
# As in most cloud images: no translated package descriptions.
Acquire::Languages "none";
Acquire::http::Proxy "%s";
Acquire::http::Proxy::%s "DIRECT";
"""

# General tools run any command as root, so the user may. Relight runs only its host program.
_PREPARE = """\
printf %s "$1" >/etc/apt/apt.conf.d/90bench
echo "$2 ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/99-bench
"""


@dataclass(frozen=True)
class LabEnvironment:
    """A running environment.

    Attributes:
        home: Relight's home folder; the benchmark's own files are in it as well.
        settings: of the worker.
        client: of Temporal.
        publisher: of the lab's repository.
        machines: the routes' machines, sorted by key.
        fleet_file: describes the machines to the other tools, see `devkit.bench.tools`.
        controller: the cgroup of the worker and the Temporal server.
        groups: the folder for other cgroups.
    """

    home: Path
    settings: Settings
    client: Client
    publisher: Publisher
    machines: tuple[BenchMachine, ...]
    fleet_file: Path
    controller: Group
    groups: Path


@asynccontextmanager
async def lab_environment(hosts: int) -> AsyncIterator[LabEnvironment]:
    """Set up `hosts` machines at the release before, and remove everything at the end.

    Raises:
        SetupError: this computer cannot run the lab, or a part does not start.
    """
    with isolated_home("rlb-") as home:
        async with AsyncExitStack() as stack:
            yield await _set_up(home, hosts, stack)


async def _set_up(home: Path, hosts: int, stack: AsyncExitStack) -> LabEnvironment:
    ssh = prepare_home(home)
    groups = bench_cgroup(home)
    stack.callback(cgroups.remove, groups)
    lab = await stack.enter_async_context(local_lab(home))
    temporal = await stack.enter_async_context(embedded_temporal(home))
    write_temporal_profile(home / "temporal.toml", temporal.address, "default")
    # Without a stability window the service is checked once, as by the other tools.
    write_env(home, {**host_settings(home, ssh, "PT0S"), **lab_settings(lab.addresses)})
    settings = load_settings()
    client = await connect(settings)
    controller = Group(groups / "controller")
    worker = await stack.enter_async_context(running_worker(client, settings))
    controller.take("worker", worker.pid)
    controller.take("temporal", temporal.pid)
    publisher = Publisher(lab_state(home))
    await publisher.publish(BEFORE)
    await _provision(home, hosts)
    machines = await _machines(home, lab.addresses)
    gateway = urlsplit(lab.addresses.repository_url).hostname
    assert gateway is not None
    proxy = await stack.enter_async_context(mirror(gateway))
    await on_all(machines, _PREPARE, _APT_CONFIGURATION % (proxy, gateway), settings.ssh.user)
    return LabEnvironment(
        home=home,
        settings=settings,
        client=client,
        publisher=publisher,
        machines=machines,
        fleet_file=_write_fleet(home, settings, ssh, machines),
        controller=controller,
        groups=groups,
    )


async def _provision(home: Path, hosts: int) -> None:
    reason = ("--reason", "benchmark")
    routes = [f"bench-{number:02}" for number in range(1, hosts + 1)]
    await _relight(home, "settings", "set", "default_release_tag", f"v{BEFORE}", *reason)
    await _relight(home, "track", "set", "stable", *reason)
    options = ("--track", "stable", "--region", "lab-east", *reason)
    await _relight(home, "route", "provision", *routes, *options)


async def _relight(home: Path, *words: str) -> None:
    """Run a command of the CLI."""
    argv = [sys.executable, "-m", "starter.cli", *words]
    log = home / "logs" / "cli.log"
    async with running(f"relight {words[0]} {words[1]}", argv, log=log) as child:
        if await child.process.wait() != 0:
            raise child.failure("failed")


async def _machines(home: Path, lab: LabAddresses) -> tuple[BenchMachine, ...]:
    headers = {"Authorization": f"Bearer {lab.token_file.read_text().strip()}"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        response = (await http.get(f"{lab.url}/v1/machines")).raise_for_status()
    tag = LabNames(lab_name(home)).tag
    machines = [
        BenchMachine(
            key=machine["label"],
            machine_id=machine["id"],
            address=machine["address"],
            lab_state=lab_state(home),
            cgroup=cgroups.folder(tag, machine["id"]),
        )
        for machine in response.json()
    ]
    return tuple(sorted(machines, key=lambda machine: machine.key))


def _write_fleet(
    home: Path, settings: Settings, ssh: SshSecrets, machines: tuple[BenchMachine, ...]
) -> Path:
    """Write the file that describes the machines to the other tools.

    They also accept only the derived host keys.
    """
    secret = load_secret(ssh.host_key_secret)
    known_hosts = home / "known_hosts"
    lines = [
        f"{machine.address} {derive_host_key(secret, machine.key).public}\n" for machine in machines
    ]
    known_hosts.write_text("".join(lines))
    fleet = {
        "user": settings.ssh.user,
        "client_key": str(ssh.client_key),
        "known_hosts": str(known_hosts),
        "port": settings.service.probe_port,
        "path": settings.service.probe_path,
        "hosts": [{"name": machine.key, "address": machine.address} for machine in machines],
    }
    file = home / "fleet.json"
    file.write_text(json.dumps(fleet))
    return file
