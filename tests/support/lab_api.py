"""The lab's API without a machine: what a provider answers about its regions."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import uvicorn

from lab.api import lab_api
from lab.cloud import Cloud
from lab.names import LabNames
from lab.network import LabNetwork
from starter.local.children import wait_until
from tests.support.contract_clouds import DEADLINE

TOKEN = "a-token-of-this-test"


class _Server(uvicorn.Server):
    """A server that leaves the signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def lab_api_alone(folder: Path) -> AsyncIterator[Mapping[str, str]]:
    """Serve the API of a lab whose machines cannot be created; yield a command's settings for it.

    Args:
        folder: for the file with the token.
    """
    network = LabNetwork(LabNames("alone"), IPv4Network("192.0.2.0/24"))
    api = lab_api(Cloud(network, folder, folder, "amd64"), TOKEN, "none")
    server = _Server(uvicorn.Config(api, log_config=None, lifespan="off"))
    (folder / "token").write_text(TOKEN)

    async def started() -> bool:
        return server.started

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await wait_until(started, DEADLINE)
            yield {
                "RELIGHT_LAB__URL": f"http://127.0.0.1:{port}",
                "RELIGHT_LAB__TOKEN_FILE": str(folder / "token"),
            }
        finally:
            server.should_exit = True
            await serving
