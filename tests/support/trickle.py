"""The body of an answer that never ends: real bytes, one at a time."""

import threading
from datetime import timedelta
from io import BufferedIOBase

INTERVAL = timedelta(milliseconds=50)
"""Between two bytes: shorter than any timeout of a single read."""


def trickle(body: bytes, to: BufferedIOBase, stopped: threading.Event) -> None:
    """Send a body byte by byte, until the client hangs up or the server stops.

    Raises:
        ConnectionError: the client hung up.
    """
    for position in range(len(body)):
        if stopped.wait(INTERVAL.total_seconds()):
            return
        to.write(body[position : position + 1])
        to.flush()
