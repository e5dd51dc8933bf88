"""The environment of the scale benchmarks: an embedded Temporal, a worker, and simulated hosts.

The parts are started as `relight up` starts them. The releases are in a signed repository that the
worker reads; the simulated hosts do not read it.
"""

import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from temporalio.client import Client

from devkit.bench.meter import Group, bench_cgroup
from devkit.bench.publishing import AFTER, BEFORE, deb_of
from devkit.bench.scale import fleet
from devkit.installation import host_settings, isolated_home, running_worker
from lab import image, repository
from relight.engine.connection import connect
from relight.settings import Settings, load_settings
from relight.store_address import store_address
from starter.local.children import Child, running
from starter.local.home import (
    SshSecrets,
    prepare_home,
    write_env,
    write_temporal_profile,
)
from starter.local.temporal import embedded_temporal
from tests.support.postgres import running_server

READY_WITHIN = timedelta(seconds=30)
WORKER, SERVER, HOSTS, DATABASE = "worker", "server", "hosts", "database"
"""The measured parts. All workers are one; there is no database if the store is a file."""

_SERVER_READY = re.compile(r"Serving HTTP on \S+ port (\d+)")


class Ports(BaseModel):
    """The ports of the simulated hosts, the same at every host's address.

    Attributes:
        ssh_port: of the SSH servers.
        probe_port: of the services.
        identification_port: sends only the identification line of SSH.
    """

    ssh_port: int
    probe_port: int
    identification_port: int


@dataclass(frozen=True)
class SimulatedEnvironment:
    """A running environment.

    Attributes:
        routes: the number of routes.
        settings: of the worker.
        client: of Temporal.
        group: the cgroup, with one part for the worker, the server and the hosts each.
        children: the processes that must not end before the rollout does.
    """

    routes: int
    settings: Settings
    client: Client
    group: Group
    children: tuple[Child, ...]


@dataclass(frozen=True)
class Shape:
    """What an environment has.

    Attributes:
        routes: the number of routes.
        change_seconds: how long a change takes on a host.
        silent_every: hosts only identify themselves, for liveness checks; each such host, not even
            that. None: they are SSH servers.
        workers: the number of worker processes.
        postgresql: whether the store is on a PostgreSQL server of its own, and not a SQLite file.
    """

    routes: int
    change_seconds: float = 0.0
    silent_every: int | None = None
    workers: int = 1
    postgresql: bool = False


@asynccontextmanager
async def simulated_environment(shape: Shape) -> AsyncIterator[SimulatedEnvironment]:
    """Set up a fleet at the release before, and remove everything at the end.

    Raises:
        SetupError: this computer has no cgroup v2, or a child process does not start.
        CommandError: building a package or signing the repository failed.
    """
    with isolated_home("rlb-") as home:
        async with AsyncExitStack() as stack:
            yield await _set_up(home, shape, stack)


async def _set_up(home: Path, shape: Shape, stack: AsyncExitStack) -> SimulatedEnvironment:
    ssh = prepare_home(home)
    group = Group(bench_cgroup(home))
    stack.callback(group.remove)
    hosts, ports = await _start_hosts(home, ssh, shape, stack)
    ssh_port = ports.ssh_port if shape.silent_every is None else ports.identification_port
    repository_url, signing_key = await _serve_releases(home, stack)
    temporal = await stack.enter_async_context(embedded_temporal(home))
    write_temporal_profile(home / "temporal.toml", temporal.address, "default")
    write_env(
        home,
        {
            # Simulated hosts never change by themselves: a stability window would only add waits.
            **host_settings(home, ssh, "PT0S"),
            **(_start_database(group, stack) if shape.postgresql else {}),
            "RELIGHT_SSH__PORT": str(ssh_port),
            "RELIGHT_SERVICE__PROBE_PORT": str(ports.probe_port),
            "RELIGHT_REPOSITORY__URL": repository_url,
            "RELIGHT_REPOSITORY__SIGNING_KEY": str(signing_key),
        },
    )
    settings = load_settings()
    fleet.fill(store_address(settings), shape.routes, BEFORE, image.architecture())
    client = await connect(settings)
    running_workers = [
        await stack.enter_async_context(running_worker(client, settings))
        for _ in range(shape.workers)
    ]
    group.take(WORKER, *(worker.pid for worker in running_workers))
    group.take(SERVER, temporal.pid)
    group.take(HOSTS, hosts.pid)
    children = (*running_workers, temporal.child, hosts)
    return SimulatedEnvironment(shape.routes, settings, client, group, children)


def _start_database(group: Group, stack: AsyncExitStack) -> dict[str, str]:
    """Start a PostgreSQL server, and return the variable for a database there.

    As in the tests it does not wait for the disk: what is measured is work, not the disk.
    """
    server = stack.enter_context(running_server({}))
    group.take(DATABASE, server.process.pid)
    return {"RELIGHT_STORE_URL": server.url(server.create_database())}


async def _start_hosts(
    home: Path, ssh: SshSecrets, shape: Shape, stack: AsyncExitStack
) -> tuple[Child, Ports]:
    argv = [sys.executable, "-m", "devkit.bench.scale.host_server"]
    argv += ["--routes", str(shape.routes), "--change-seconds", str(shape.change_seconds)]
    argv += ["--client-key", str(ssh.client_key), "--host-key-secret", str(ssh.host_key_secret)]
    argv += ["--silent-every", str(shape.silent_every or 0)]
    argv += ["--version", BEFORE, "--architecture", image.architecture()]
    hosts = await stack.enter_async_context(
        running("the hosts", argv, log=home / "logs" / "hosts.log")
    )

    async def is_listening() -> bool:
        return hosts.output().startswith("{") and "\n" in hosts.output()

    await hosts.wait_until_ready(is_listening, READY_WITHIN)
    return hosts, Ports.model_validate_json(hosts.output().partition("\n")[0])


async def _serve_releases(home: Path, stack: AsyncExitStack) -> tuple[str, Path]:
    """Publish both releases; return the repository's URL and the file with its signing key."""
    root, debs = home / "repository", home / "debs"
    for folder in (root, debs):
        folder.mkdir()
    for version in (BEFORE, AFTER):
        shutil.copy(await deb_of(version), debs)
    key = repository.make_signing_key(home / "gnupg", home / "signing-key.asc")
    repository.publish(root, debs, key, image.architecture())
    argv = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1"]
    argv += ["--directory", str(root), "0"]
    child = await stack.enter_async_context(
        running("the repository", argv, log=home / "logs" / "repository.log")
    )

    async def is_serving() -> bool:
        return _SERVER_READY.search(child.output()) is not None

    await child.wait_until_ready(is_serving, READY_WITHIN)
    match = _SERVER_READY.search(child.output())
    assert match is not None
    return f"http://127.0.0.1:{match[1]}", key.public
