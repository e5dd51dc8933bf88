"""The environment of a chaos run: a Temporal server on a database file, a worker, and a lab.

Calls to the lab's API go through a proxy that injects provider faults. Everything is in a
temporary home folder, and nothing remains at the end.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.client import Client

from devkit.chaos.deletions import Deletions
from devkit.chaos.faulty_proxy import FaultyProxy, faulty_proxy
from devkit.chaos.provider_faults import ProviderFaults
from devkit.installation import (
    host_settings,
    lab_settings,
    run_inside,
    running_worker,
    temporary_home,
)
from relight.engine.connection import connect
from relight.settings import Settings
from relight.store.store import Store, open_upgraded_store
from relight.store_address import store_address
from starter.local.children import Child
from starter.local.home import prepare_home, write_env, write_temporal_profile
from starter.local.lab import LabAddresses, lab_state, local_lab
from starter.local.temporal import embedded_temporal

STABILITY_WINDOW = "PT2S"
"""How long a proof observes a unit. In production it is longer; each proof records it."""


@dataclass
class ChaosEnvironment:
    """A running environment.

    Attributes:
        home: the home folder.
        lab: the lab's addresses; its API directly, not through the proxy.
        proxy: before the lab's API.
        deletions: the requests to delete the lab's machines.
        store: the fleet's records.
        settings: of the worker.
        worker_variables: further variables of the workers' processes.
        client: of Temporal; None until the server has started.
    """

    home: Path
    lab: LabAddresses
    proxy: FaultyProxy
    deletions: Deletions
    store: Store
    settings: Settings
    worker_variables: Mapping[str, str] = field(default_factory=dict)
    client: Client | None = None
    _server: AsyncExitStack = field(default_factory=AsyncExitStack)
    _worker: AsyncExitStack = field(default_factory=AsyncExitStack)
    _server_child: Child | None = None
    _worker_child: Child | None = None
    _address: str = ""

    @property
    def provider_faults(self) -> ProviderFaults:
        """The faults to inject into calls of the lab's API."""
        return self.proxy.provider_faults

    async def start(self) -> None:
        """Start the server and the worker."""
        await self._start_server()
        await self._start_worker()

    async def kill_worker(self) -> None:
        """Kill the worker with SIGKILL, as the kernel does when memory runs out; start another."""
        async with self.without_worker():
            pass

    @asynccontextmanager
    async def without_worker(self) -> AsyncIterator[None]:
        """Kill the worker with SIGKILL; start another when the block ends."""
        assert self._worker_child is not None
        self._worker_child.process.kill()
        await self._worker.aclose()
        try:
            yield
        finally:
            await self._start_worker()

    async def kill_temporal(self) -> None:
        """Kill the server with SIGKILL; start it again on the same database file."""
        assert self._server_child is not None
        self._server_child.process.kill()
        await self._server.aclose()
        before = self._address
        await self._start_server()
        if self._address != before:  # its port was taken, and the worker knows only the old one
            await self.kill_worker()

    async def close(self) -> None:
        """Stop the worker and the server."""
        await self._worker.aclose()
        await self._server.aclose()

    async def machines(self) -> dict[str, str]:
        """Return the lab's id of every machine, by label."""
        token = self.lab.token_file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
            response = await http.get(f"{self.lab.url}/v1/machines")
        return {machine["label"]: machine["id"] for machine in response.raise_for_status().json()}

    async def on_host(self, machine_id: str, script: str) -> str:
        """Run a shell script inside a machine, without its network and sshd.

        Returns its output, whatever its exit code is.
        """
        return await run_inside(lab_state(self.home), machine_id, script, check=False)

    async def _start_server(self) -> None:
        self._server = AsyncExitStack()
        port = int(self._address.rpartition(":")[2] or 0) or None
        server = await self._server.enter_async_context(embedded_temporal(self.home, port))
        self._server_child, self._address = server.child, server.address
        write_temporal_profile(self.home / "temporal.toml", server.address, "default")
        self.client = await connect(self.settings)

    async def _start_worker(self) -> None:
        assert self.client is not None
        self._worker = AsyncExitStack()
        worker = running_worker(self.client, self.settings, self.worker_variables)
        self._worker_child = await self._worker.enter_async_context(worker)


@asynccontextmanager
async def chaos_environment(
    stability_window: str = STABILITY_WINDOW,
    more_settings: Mapping[str, str] | None = None,
    worker_variables: Mapping[str, str] | None = None,
) -> AsyncIterator[ChaosEnvironment]:
    """Set up an environment, and remove it when the block ends.

    Args:
        stability_window: how long a proof observes a unit, an ISO 8601 duration.
        more_settings: further settings of the installation, by variable.
        worker_variables: further variables of the workers' processes.
    """
    with temporary_home("rlc-") as home:
        async with local_lab(home) as lab, AsyncExitStack() as stack:
            ssh, addresses = prepare_home(home), lab.addresses
            deletions = Deletions()
            proxy = stack.enter_context(faulty_proxy(addresses.url, deletions))
            write_env(
                home,
                {
                    **host_settings(home, ssh, stability_window),
                    **lab_settings(addresses),
                    "RELIGHT_LAB__URL": proxy.url,
                    **(more_settings or {}),
                },
            )
            settings = Settings(home=home, _env_file=home / "env")
            with open_upgraded_store(store_address(settings)) as store:
                variables = worker_variables or {}
                environment = ChaosEnvironment(
                    home, addresses, proxy, deletions, store, settings, variables
                )
                try:
                    await environment.start()
                    yield environment
                finally:
                    await environment.close()
