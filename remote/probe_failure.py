"""What is said of a connection that a probe did not get."""

import errno
import os
import socket

from remote.destination import Destination
from remote.errors import NobodyListensError, ProbeFailedError


def not_connected(error: Exception, destination: Destination, asked: str) -> ProbeFailedError:
    """Return what a probe raises for a connection that failed.

    Args:
        error: as asyncio or httpx raised it.
        destination: the host that was asked.
        asked: what it was asked, in the probe's words.

    Returns:
        The failure in the system's own words, such as `Connection refused`: httpx says less than
        those. It is a `NobodyListensError` where they are just these.
    """
    words, refused = str(error) or type(error).__name__, False
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            words = str(cause.strerror)
        elif isinstance(cause, OSError) and cause.errno:
            words = os.strerror(cause.errno)  # asyncio writes its own over it
            refused = cause.errno == errno.ECONNREFUSED
        cause = cause.__cause__ or cause.__context__
    kind = NobodyListensError if refused else ProbeFailedError
    return kind(words, destination=destination, attempted=asked)
