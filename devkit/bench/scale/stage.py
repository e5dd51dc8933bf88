"""The stage: a Temporal server and a worker as `relight up` starts them, and hosts that are played.

The release lies in a signed repository, which the worker reads; the hosts that are played do not.
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

from devkit.bench.home import fresh_home
from devkit.bench.meter import Group
from devkit.bench.publishing import (
    AFTER,
    BEFORE,
    deb_of,
)
from devkit.bench.scale import fleet
from devkit.bench.stage import running_worker
from lab import cgroups, image, repository
from relight.engine.connection import connect
from relight.engine.errors import StarterError
from relight.settings import Settings, load_settings
from starter.local.children import Child, running
from starter.local.home import (
    SshSecrets,
    prepare_home,
    prepare_service_secrets,
    write_env,
    write_temporal_profile,
)
from starter.local.temporal import embedded_temporal

READY_WITHIN = timedelta(seconds=30)
WORKER, SERVER, HOSTS = "worker", "server", "hosts"

_SERVES_AT = re.compile(r"Serving HTTP on \S+ port (\d+)")


class Ports(BaseModel):
    """Where the hosts that are played listen, each at its own address."""

    ssh_port: int
    probe_port: int


@dataclass(frozen=True)
class Stage:
    """All that stands.

    Attributes:
        routes: how many there are.
        settings: what the worker was started with.
        client: of Temporal.
        group: the cgroup with a part for the worker, the server and the hosts.
        children: what must not end before the rollout does.
    """

    routes: int
    settings: Settings
    client: Client
    group: Group
    children: tuple[Child, ...]


@asynccontextmanager
async def stage(routes: int, change_seconds: float) -> AsyncIterator[Stage]:
    """Set up a fleet at the release before, and remove all of it at the end.

    Args:
        routes: how many.
        change_seconds: how long a host takes to change.

    Raises:
        StarterError: this computer has no cgroup v2, or a child does not start.
        CommandError: a package could not be built, or the repository not be signed.
    """
    with fresh_home() as home:
        async with AsyncExitStack() as stack:
            yield await _set_up(home, routes, change_seconds, stack)


async def _set_up(home: Path, routes: int, change_seconds: float, stack: AsyncExitStack) -> Stage:
    ssh = prepare_home(home)
    group = Group(_cgroup(home))
    stack.callback(group.remove)
    hosts, ports = await _start_hosts(home, ssh, routes, change_seconds, stack)
    repository_url, signing_key = await _serve_releases(home, stack)
    temporal = await stack.enter_async_context(embedded_temporal(home))
    write_temporal_profile(home / "temporal.toml", temporal.address, "default")
    told = {
        # The hosts have nothing to show in a longer one.
        "RELIGHT_STABILITY_WINDOW": "PT0S",
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
        "RELIGHT_SSH__PORT": str(ports.ssh_port),
        "RELIGHT_SERVICE__PROBE_PORT": str(ports.probe_port),
        "RELIGHT_SERVICE__SECRETS_FILE": str(prepare_service_secrets(home)),
        "RELIGHT_REPOSITORY__URL": repository_url,
        "RELIGHT_REPOSITORY__SIGNING_KEY": str(signing_key),
    }
    write_env(home, told)
    settings = load_settings()
    fleet.fill(settings.database_url, routes, BEFORE, image.architecture())
    client = await connect(settings)
    worker = await stack.enter_async_context(running_worker(client, settings))
    group.take({WORKER: worker.pid, SERVER: temporal.pid, HOSTS: hosts.pid})
    return Stage(routes, settings, client, group, (worker, temporal.child, hosts))


def _cgroup(home: Path) -> Path:
    root = cgroups.root()
    if root is None:
        msg = "cgroup v2 is not mounted here, without which nothing can be measured"
        raise StarterError(msg)
    return root / f"relight-bench-{home.name}"


async def _start_hosts(
    home: Path, ssh: SshSecrets, routes: int, change_seconds: float, stack: AsyncExitStack
) -> tuple[Child, Ports]:
    argv = [sys.executable, "-m", "devkit.bench.scale.hosts"]
    argv += ["--routes", str(routes), "--change-seconds", str(change_seconds)]
    argv += ["--client-key", str(ssh.client_key), "--host-key-secret", str(ssh.host_key_secret)]
    argv += ["--version", BEFORE, "--architecture", image.architecture()]
    hosts = await stack.enter_async_context(
        running("the hosts", argv, log=home / "logs" / "hosts.log")
    )

    async def listen() -> bool:
        return hosts.said().startswith("{") and "\n" in hosts.said()

    await hosts.until(listen, READY_WITHIN)
    return hosts, Ports.model_validate_json(hosts.said().partition("\n")[0])


async def _serve_releases(home: Path, stack: AsyncExitStack) -> tuple[str, Path]:
    """Publish both releases, and return the repository's address and its signing key."""
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

    async def serves() -> bool:
        return _SERVES_AT.search(child.said()) is not None

    await child.until(serves, READY_WITHIN)
    found = _SERVES_AT.search(child.said())
    assert found is not None
    return f"http://127.0.0.1:{found[1]}", key.public
