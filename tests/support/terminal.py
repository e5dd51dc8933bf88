"""A command on a terminal of its own, where keys are typed."""

import asyncio
import fcntl
import os
import pty
import signal
import termios
from collections.abc import Mapping, Sequence

CTRL_C, CTRL_D = "\x03", "\x04"

_PATIENCE_SECONDS = 5


async def on_terminal(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    after: str = "",
    keys: str = "",
    again: str = "",
) -> tuple[int, str]:
    """Run a command whose input and outputs are a terminal; return its exit code and the screen.

    Ctrl-C is typed again after a while without a line, as people do: Python loses a signal that
    comes just before it waits for a key. The screen is returned without its echo.

    Args:
        argv: the command.
        environment: its variables.
        after: a text that it shows before the keys are typed.
        keys: what is typed.
        again: what is typed once a line is shown after that.
    """
    main, terminal = pty.openpty()
    loop = asyncio.get_running_loop()
    shown, left, last = bytearray(), keys.encode(), again.encode()
    closed = loop.create_future()

    def has_reacted() -> bool:
        return not left and shown.replace(b"^C", b"").endswith(b"\n")

    def receive() -> None:
        nonlocal left, last
        try:
            shown.extend(os.read(main, 65536))
        except OSError:  # EIO: the other end is closed.
            loop.remove_reader(main)
            closed.set_result(None)
            return
        if left and after.encode() in shown:
            os.write(main, left)
            left = b""
        elif last and has_reacted():
            os.write(main, last)
            last = b""

    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=dict(environment),
            preexec_fn=_take_terminal,
        )
    finally:
        os.close(terminal)
    loop.add_reader(main, receive)
    try:
        async with asyncio.timeout(60):
            ending = asyncio.ensure_future(process.wait())
            while not (await asyncio.wait([ending], timeout=_PATIENCE_SECONDS))[0]:
                if keys == CTRL_C and not (left or has_reacted()):
                    os.write(main, keys.encode())
            await closed
            code = ending.result()
    finally:
        loop.remove_reader(main)
        os.close(main)
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not left + last, shown
    return code, shown.decode().replace("\r\n", "\n").replace("^C", "")


def _take_terminal() -> None:
    """Make standard input the terminal of this process, so that Ctrl-C there interrupts it."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
