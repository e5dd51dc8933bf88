"""Fleets for tests of what happens between two of them: a store, a Temporal server, a home."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from relight.engine.fleet import join
from relight.home import home_profile
from relight.store.store import Store, open_upgraded_store
from starter.local.children import Child
from starter.local.home import prepare_home, write_env, write_temporal_profile
from starter.local.temporal import embedded_temporal
from tests.store.fleets import MANUAL, serve


@dataclass(frozen=True)
class OwnFleet:
    """A fleet as `relight up --no-worker` leaves it.

    Attributes:
        home: its home folder.
        store: the store in it.
        fleet_id: its id.
        client: of its Temporal server.
        server: that server's process.
    """

    home: Path
    store: Store
    fleet_id: str
    client: Client
    server: Child

    @property
    def address(self) -> str:
        """`host:port` of its Temporal server."""
        return self.client.service_client.config.target_host

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.home / 'fleet.db'}"

    async def workflows(self) -> int:
        """Return how many workflows its Temporal server has."""
        return (await self.client.count_workflows()).count


@asynccontextmanager
async def own_fleet(home: Path, port: int | None = None) -> AsyncIterator[OwnFleet]:
    """Run a Temporal server in a home folder, joined with a store there, until the block ends.

    Args:
        home: the home folder, which may have been one before.
        port: of the server, if it is free; by default the home folder's own.
    """
    ssh = prepare_home(home)
    keys = {
        "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
        "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
        "RELIGHT_GITHUB__REPOSITORY": "owner/name",
    }
    write_env(home, keys)
    url = f"sqlite:///{home / 'fleet.db'}"
    async with embedded_temporal(home, port, durable=False) as server:
        write_temporal_profile(home_profile(home), server.address, "default")
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        with await asyncio.to_thread(open_upgraded_store, url) as store:
            identity = await join(client, store, own_server=True)
            yield OwnFleet(home, store, identity.fleet_id, client, server.child)


def serve_one(store: Store) -> None:
    """Let a store have one route, which serves."""
    store.tracks.set("stable", None, MANUAL)
    serve(store, "east-1")
