"""One boot of one machine: systemd-nspawn, from its start to its exit."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups
from lab.commands import environment

REBOOTED = 133
"""nspawn's exit code when the machine asked for a reboot."""

# nspawn creates the container's cgroup below its own, so each machine needs a cgroup.
_ENTER_CGROUP = 'echo $$ >"$0" && exec "$@"'


@dataclass(frozen=True)
class Container:
    """The parts that a machine boots with.

    Attributes:
        name: its name for nspawn.
        root: its mounted root file system.
        namespace: its network namespace.
        cgroup: its cgroup, without processes.
        console: the file that the console's output is appended to.
        capability: what it may do besides nspawn's default. Hosts may configure a firewall.
    """

    name: str
    root: Path
    namespace: Path
    cgroup: Path
    console: Path
    capability: str = "CAP_NET_ADMIN"


async def boot(container: Container, on_started: Callable[[int], None]) -> int:
    """Boot a machine, and wait until it ends.

    Args:
        container: the parts that it boots with.
        on_started: called with the process id of its init, once that runs.

    Returns:
        nspawn's exit code: 0 if the machine was powered off from inside, `REBOOTED`, or another if
        it could not boot or was killed.
    """
    container.cgroup.mkdir(parents=True, exist_ok=True)
    async with _notifications(container.name, on_started) as address:
        with container.console.open("ab") as console:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", _ENTER_CGROUP, str(container.cgroup / "cgroup.procs")),
                *_argv(container),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # A Ctrl-C in the terminal must reach only the lab, which stops its machines itself.
                start_new_session=True,
                env=environment(
                    NOTIFY_SOCKET=address,
                    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1",
                    # No lock files in /run are needed: each root belongs to one machine.
                    SYSTEMD_NSPAWN_LOCK="0",
                    # As on a real machine, the image sets the kernel's variables of its network.
                    SYSTEMD_NSPAWN_API_VFS_WRITABLE="network",
                ),
            )
        code = await process.wait()
    # Remaining cgroups of the machine would break the next boot.
    await asyncio.to_thread(cgroups.kill, container.cgroup)
    await asyncio.to_thread(cgroups.remove, container.cgroup)
    return code


def _argv(container: Container) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--directory={container.root}",
        f"--machine={container.name}",
        f"--network-namespace-path={container.namespace}",
        f"--capability={container.capability}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        "--boot",
    ]


class _Listener(asyncio.DatagramProtocol):
    """Receives the sd_notify messages of nspawn."""

    def __init__(self, on_started: Callable[[int], None]) -> None:
        self._on_started = on_started
        self._leader: int | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        lines = dict(line.partition("=")[::2] for line in data.decode().splitlines())
        if "X_NSPAWN_LEADER_PID" in lines:
            self._leader = int(lines["X_NSPAWN_LEADER_PID"])
        if lines.get("READY") == "1" and self._leader is not None:
            self._on_started(self._leader)


@contextlib.asynccontextmanager
async def _notifications(name: str, on_started: Callable[[int], None]) -> AsyncIterator[str]:
    """Listen for messages of nspawn, at an abstract socket address, which needs no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(f"\0{name}")
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(on_started), sock=listener
        )
        try:
            yield f"@{name}"
        finally:
            transport.close()
