"""What is killed: a Temporal server on its database file, a worker, and the hosts of a lab.

The lab is reached through a proxy, on which a provider's answers can be lost.

All of it in a home folder of its own, of which nothing is left.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
from temporalio.client import Client

from devkit.chaos.troubled_proxy import troubled_proxy
from devkit.chaos.troubles import Troubles
from lab import inside
from relight.engine.connection import connect
from relight.engine.executions import worker_identities
from relight.settings import Settings
from relight.store.store import Store, open_store
from starter.local.children import Child, running
from starter.local.home import (
    prepare_home,
    prepare_service_secrets,
    write_env,
    write_temporal_profile,
)
from starter.local.lab import (
    LabAddresses,
    lab_state,
    local_lab,
)
from starter.local.temporal import PREFERRED_PORT, embedded_temporal

READY_WITHIN = timedelta(seconds=60)
WINDOW = "PT2S"
"""For how long a unit is watched; in life it is longer, and says so in each proof."""


@dataclass
class World:
    """All that stands, for as long as it does.

    Attributes:
        home: the home folder.
        lab: the lab's addresses.
        troubles: what becomes of the next calls of the lab's API.
        store: what the fleet is said to be.
    """

    home: Path
    lab: LabAddresses
    troubles: Troubles
    store: Store
    settings: Settings
    client: Client | None = None
    _server: AsyncExitStack = field(default_factory=AsyncExitStack)
    _worker: AsyncExitStack = field(default_factory=AsyncExitStack)
    _server_child: Child | None = None
    _worker_child: Child | None = None
    _address: str = ""

    async def start(self) -> None:
        """Start the server and the worker."""
        await self._start_server()
        await self._start_worker()

    async def kill_worker(self) -> None:
        """Kill the worker as the kernel would for want of memory, and start another."""
        assert self._worker_child is not None
        self._worker_child.process.kill()
        await self._worker.aclose()
        await self._start_worker()

    async def kill_temporal(self) -> None:
        """Kill the server, and start it again on the same database file."""
        assert self._server_child is not None
        self._server_child.process.kill()
        await self._server.aclose()
        before = self._address
        await self._start_server()
        if self._address != before:  # somebody took its port: the worker looks for it there
            await self.kill_worker()

    async def close(self) -> None:
        """Stop both."""
        await self._worker.aclose()
        await self._server.aclose()

    async def machines(self) -> dict[str, str]:
        """Return the lab's id of every machine, by its label."""
        token = self.lab.token_file.read_text().strip()
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(
                f"{self.lab.url}/v1/machines", headers={"Authorization": f"Bearer {token}"}
            )
        return {machine["label"]: machine["id"] for machine in answer.raise_for_status().json()}

    async def on_host(self, machine_id: str, script: str) -> str:
        """Run a shell script inside a machine, past its network and its sshd."""
        process = await asyncio.create_subprocess_exec(
            *inside.inside(lab_state(self.home), machine_id, ["sh", "-c", script]),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode()

    async def _start_server(self) -> None:
        self._server = AsyncExitStack()
        before = int(self._address.rpartition(":")[2] or PREFERRED_PORT)
        server = await self._server.enter_async_context(embedded_temporal(self.home, before))
        self._server_child, self._address = server.child, server.address
        write_temporal_profile(self.home / "temporal.toml", server.address, "default")
        self.client = await connect(self.settings)

    async def _start_worker(self) -> None:
        self._worker = AsyncExitStack()
        child = await self._worker.enter_async_context(
            running(
                "the worker",
                [sys.executable, "-m", "worker"],
                log=self.home / "logs" / "worker.log",
                env={"RELIGHT_HOME": str(self.home)},
            )
        )
        self._worker_child = child

        async def polls() -> bool:
            assert self.client is not None
            identities = await worker_identities(self.client, self.settings.task_queue)
            return any(identity.startswith(f"{child.pid}@") for identity in identities)

        await child.until(polls, READY_WITHIN)


@asynccontextmanager
async def world(
    stability_window: str = WINDOW, further: Mapping[str, str] | None = None
) -> AsyncIterator[World]:
    """Set all of it up, and remove it at the end.

    Args:
        stability_window: for how long a unit is watched.
        further: settings of the installation, by their variables.
    """
    home = Path(tempfile.mkdtemp(prefix="rlc-"))  # short: gpg's agent has a socket below it
    try:
        async with local_lab(home) as lab, AsyncExitStack() as stack:
            ssh, addresses = prepare_home(home), lab.addresses
            proxy = stack.enter_context(troubled_proxy(addresses.url))
            write_env(
                home,
                {
                    "RELIGHT_STABILITY_WINDOW": stability_window,
                    "RELIGHT_SSH__CLIENT_KEY": str(ssh.client_key),
                    "RELIGHT_SSH__HOST_KEY_SECRET": str(ssh.host_key_secret),
                    "RELIGHT_LAB__URL": proxy.url,
                    "RELIGHT_LAB__TOKEN_FILE": str(addresses.token_file),
                    "RELIGHT_REPOSITORY__URL": addresses.repository_url,
                    "RELIGHT_REPOSITORY__SIGNING_KEY": str(addresses.signing_key),
                    "RELIGHT_SERVICE__SECRETS_FILE": str(prepare_service_secrets(home)),
                    **(further or {}),
                },
            )
            settings = Settings(home=home, _env_file=home / "env")
            with open_store(settings.database_url) as store:
                made = World(home, addresses, proxy.troubles, store, settings)
                try:
                    await made.start()
                    yield made
                finally:
                    await made.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)
