"""How an installation is made for tests: its store, its parts, its worker."""

import functools
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
from temporalio.client import Client

from activities.parts import Parts
from devkit.simulated.cloud import FakeCloud
from devkit.simulated.connectivity import FakeConnectivityCheck
from devkit.simulated.hosts import SimulatedHosts
from devkit.simulated.parts import OWNER, SERVICE, user_data_renderer
from devkit.simulated.releases import FakeReleases
from relight.providers.driver import ProviderDriver
from relight.store.store import Store, open_upgraded_store
from tests.support.interference import Interference
from tests.workflows.harness import LIMITS, TAGS, Harness


@asynccontextmanager
async def small_installation(client: Client, folder: Path, **parts: Any) -> AsyncIterator[Harness]:
    """Run an installation with its store in `folder`; v0.0.73 is the fleet's default release.

    Args:
        client: the Temporal client.
        folder: where the database is.
        parts: other parts than the usual ones.
    """
    async with (
        idle_installation(client, folder, **parts) as harness,
        harness.worker(),
    ):
        yield harness


@asynccontextmanager
async def idle_installation(client: Client, folder: Path, **parts: Any) -> AsyncIterator[Harness]:
    """Make the same installation without a worker."""
    cloud = FakeCloud()
    drivers: dict[str, ProviderDriver] = {cloud.name: cloud}
    hosts = SimulatedHosts(cloud)
    releases = FakeReleases(*TAGS)
    database = folder / "fleet.db"
    database.write_bytes(_migrated_database())
    with Store.open(f"sqlite:///{database}") as store:
        usual = usual_parts(store, hosts, releases, drivers)
        harness = Harness(
            client=client,
            parts=replace(usual, **parts),
            store=store,
            cloud=cloud,
            drivers=drivers,
            hosts=hosts,
            interference=Interference(client),
            releases=releases,
        )
        store.tracks.set(harness.track, None, harness.operation())
        store.fleet_settings.set("default_release_tag", "v0.0.73", harness.operation())
        try:
            yield harness
        finally:
            await harness.terminate_rest()


def usual_parts(
    store: Store,
    hosts: SimulatedHosts,
    releases: FakeReleases,
    drivers: dict[str, ProviderDriver],
) -> Parts:
    """Return the parts of an installation, with a task queue of its own."""
    return Parts(
        task_queue=f"workflows-{uuid.uuid4().hex[:8]}",
        fleet_owner=OWNER,
        store=store,
        drivers=drivers,
        hosts=hosts,
        keyed_hosts=hosts,
        repository=releases,
        user_data=user_data_renderer(_client_key()),
        service=SERVICE,
        probe=hosts.probe,
        liveness=hosts.answer,
        host_keys=hosts.shown_key,
        connectivity=(FakeConnectivityCheck(),),
        limits=LIMITS,
    )


@functools.cache
def _migrated_database() -> bytes:
    """Return a database file with all tables and no rows: migrating one takes much longer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fleet.db")
        with open_upgraded_store(f"sqlite:///{path}"):
            pass  # Closing it moves everything into the one file.
        return path.read_bytes()


@functools.cache
def _client_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")
