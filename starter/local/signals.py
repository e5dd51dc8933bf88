"""The signals that end a command which has to clean up."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def cancelled_by_signals() -> Iterator[Callable[[], bool]]:
    """Cancel this task at the first SIGINT, SIGTERM or SIGHUP; ignore all further ones.

    A second Ctrl-C must not interrupt the clean-up.

    Yields:
        A function that returns whether a signal was received.
    """
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    received: list[signal.Signals] = []

    def cancel(number: signal.Signals) -> None:
        if not received:
            task.cancel()
        received.append(number)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in signals:
        loop.add_signal_handler(each, cancel, each)
    try:
        yield lambda: bool(received)
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
