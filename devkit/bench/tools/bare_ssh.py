"""The minimum: one asyncssh connection and one script per host, all at once, without a record.

Run as `python -m devkit.bench.tools.bare_ssh FLEET VERSION`; FLEET is the file that
`devkit.bench.environment` writes.
"""

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import asyncssh

_HERE = Path(__file__).parent
_PROBE_SECONDS = 3.0


async def swap(fleet: dict[str, Any], address: str, version: str) -> None:
    """Swap one host: one connection, one command for the change and its check, one probe."""
    scripts = [(_HERE / name).read_text() for name in ("swap.sh", "check.sh")]
    command = ["sudo", "-n", "sh", "-c", "\n".join(scripts), "swap", version]
    async with asyncssh.connect(
        address,
        username=fleet["user"],
        client_keys=[fleet["client_key"]],
        known_hosts=fleet["known_hosts"],
        config=None,
        agent_path=None,
    ) as connection:
        await connection.run(shlex.join(command), check=True)
    async with asyncio.timeout(_PROBE_SECONDS):
        while not await _healthy(address, fleet["port"], fleet["path"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _healthy(address: str, port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(address, port)
    except ConnectionError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        return (await reader.readline()).split()[1:2] == [b"200"]
    finally:
        writer.close()


async def main(fleet: dict[str, Any], version: str) -> None:
    """Swap all hosts at the same time."""
    async with asyncio.TaskGroup() as group:
        for host in fleet["hosts"]:
            group.create_task(swap(fleet, host["address"], version))


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
