"""The liveness probe: whether the sshd of a machine answers. It costs no login.

It opens a connection, reads the identification line of RFC 4253, answers it, and hangs up. An open
port alone would not do: the kernel of a machine that hangs still accepts connections. It is no
proof of identity, since anything at that address can send such a line.
"""

import asyncio
import errno
import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from relight.domain.liveness import ProbeResult

MAX_BYTES = 4096
"""A server may send other lines before its identification, but no more than this is read."""

IDENTIFICATION = b"SSH-2.0-relight_liveness\r\n"
"""Sent in return: sshd logs a client that hangs up without it as an error, and names this one."""

OUR_ERRORS = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
        *(errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT, errno.EINVAL),
    }
)
"""Errors of this computer: no socket, memory or port is left, or its own firewall refuses."""


class LivenessProbe(Protocol):
    """Tells whether a machine answers."""

    async def __call__(self, machine_key: str, address: str) -> ProbeResult:
        """Probe a machine once. Raises nothing."""


@dataclass(frozen=True)
class SshLivenessProbe:
    """Reads the identification line of a machine's sshd.

    Attributes:
        port: of sshd.
        timeout: for connection and line together.
    """

    port: int
    timeout: timedelta

    async def __call__(self, machine_key: str, address: str) -> ProbeResult:  # noqa: ARG002
        """Connect, read the line, and hang up."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_STREAM) as connection:
                connection.setblocking(False)
                async with asyncio.timeout(self.timeout.total_seconds()):
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(connection, (address, self.port))
                    return await _identify(connection)
        except (socket.gaierror, ValueError):  # A name that cannot be resolved, or is none.
            return ProbeResult.NOT_PROBED
        except OSError as error:  # A timeout is one, too.
            return ProbeResult.NOT_PROBED if error.errno in OUR_ERRORS else ProbeResult.SILENT


async def _identify(connection: socket.socket) -> ProbeResult:
    loop, received = asyncio.get_running_loop(), b""
    while len(received) < MAX_BYTES:
        part = await loop.sock_recv(connection, MAX_BYTES - len(received))
        if not part:
            break
        received += part
        if received.startswith(b"SSH-") or b"\nSSH-" in received:
            await loop.sock_sendall(connection, IDENTIFICATION)
            return ProbeResult.ANSWERED
    return ProbeResult.SILENT
