"""One boot of one machine: systemd-nspawn, from its start to the end of its init."""

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

# The payload gets a cgroup below the one that nspawn was started in, so each has its own.
_IN_CGROUP = 'echo $$ >"$0" && exec "$@"'


@dataclass(frozen=True)
class Vessel:
    """All that a machine boots in.

    Attributes:
        name: the machine's, for nspawn.
        root: its root file system, mounted.
        namespace: its network namespace.
        cgroup: its cgroup, empty.
        console: the file to which its console is appended.
    """

    name: str
    root: Path
    namespace: Path
    cgroup: Path
    console: Path


async def boot(vessel: Vessel, started: Callable[[int], None]) -> int:
    """Boot a machine, and wait until it ends.

    Args:
        vessel: what it boots in.
        started: told the process id of its init, when there is one.

    Returns:
        nspawn's exit code: 0 when the machine was switched off from within, `REBOOTED`, or
        another when it could not boot or was killed.
    """
    vessel.cgroup.mkdir(parents=True, exist_ok=True)
    async with _notifications(vessel.name, started) as address:
        with vessel.console.open("ab") as console:
            process = await asyncio.create_subprocess_exec(
                *("sh", "-c", _IN_CGROUP, str(vessel.cgroup / "cgroup.procs")),
                *_argv(vessel),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                # A Ctrl-C in the terminal is for the lab, which ends its machines in order.
                start_new_session=True,
                env=environment(
                    NOTIFY_SOCKET=address,
                    SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1",
                    # Each root has one machine by construction: no lock files in /run.
                    SYSTEMD_NSPAWN_LOCK="0",
                ),
            )
        code = await process.wait()
    # What the machine leaves of its cgroups would be in the way of the next boot.
    await asyncio.to_thread(cgroups.kill, vessel.cgroup)
    await asyncio.to_thread(cgroups.remove, vessel.cgroup)
    return code


def _argv(vessel: Vessel) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        "--register=no",
        "--keep-unit",
        f"--directory={vessel.root}",
        f"--machine={vessel.name}",
        f"--network-namespace-path={vessel.namespace}",
        # A host may have a firewall of its own.
        "--capability=CAP_NET_ADMIN",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        "--boot",
    ]


class _Listener(asyncio.DatagramProtocol):
    """Hears what nspawn tells by sd_notify."""

    def __init__(self, started: Callable[[int], None]) -> None:
        self._started = started
        self._leader: int | None = None

    def datagram_received(self, data: bytes, addr: object) -> None:  # noqa: ARG002
        lines = dict(line.partition("=")[::2] for line in data.decode().splitlines())
        if "X_NSPAWN_LEADER_PID" in lines:
            self._leader = int(lines["X_NSPAWN_LEADER_PID"])
        if lines.get("READY") == "1" and self._leader is not None:
            self._started(self._leader)


@contextlib.asynccontextmanager
async def _notifications(name: str, started: Callable[[int], None]) -> AsyncIterator[str]:
    """Listen for nspawn, at an address that needs no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(f"\0{name}")
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Listener(started), sock=listener
        )
        try:
            yield f"@{name}"
        finally:
            transport.close()
