"""What a program answers whose output a host decides about: bounded in size and in time."""

import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import IO

import typer

from relight.domain.text import visible_tail
from starter.cli.errors import ExitCode

_MAX_SAID_BYTES = 64 * 1024
_SHOWN_BYTES = 400


class NoAnswerError(Exception):
    """A program gave no whole answer; the text says why, with the end of its standard error."""


def bounded_answer(argv: Sequence[str], stdin: bytes, max_bytes: int, seconds: float) -> str:
    """Run a program, and return its standard output. It is killed at the limit of size or of time.

    Args:
        argv: the program and its arguments.
        stdin: its input.
        max_bytes: the limit of its output.
        seconds: the limit of its time.

    Raises:
        NoAnswerError: it reached a limit, or its exit code was not 0.
        typer.Exit: it was interrupted by Ctrl-C.
    """
    late: list[bool] = []
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        with subprocess.Popen(  # noqa: S603 - the words of the caller, without a shell
            list(argv), stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:

            def head(pipe: IO[bytes] | None, limit_bytes: int) -> bytes:
                assert pipe is not None
                if len(content := pipe.read(limit_bytes + 1)) > limit_bytes:
                    process.kill()
                return content

            def end() -> None:
                late.append(True)
                process.kill()

            timer = Timer(seconds, end)
            timer.start()
            try:
                with ThreadPoolExecutor(2) as pool:
                    reading = pool.submit(head, process.stdout, max_bytes)
                    listening = pool.submit(head, process.stderr, _MAX_SAID_BYTES)
                    try:
                        code = process.wait()
                    finally:
                        # Whatever ends it: what reads its pipes ends with it.
                        process.kill()
                output, errors = reading.result(), listening.result()
            except KeyboardInterrupt:
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            finally:
                timer.cancel()
    said = visible_tail(errors.decode(errors="replace").strip(), _SHOWN_BYTES)
    if len(output) > max_bytes or len(errors) > _MAX_SAID_BYTES:
        raise NoAnswerError("it printed more than an answer can have")
    if late:
        raise NoAnswerError(f"no answer within {seconds:g} s{said and f'; it said: {said}'}")
    if code != 0:
        raise NoAnswerError(f"{argv[0]} ended with {code}{said and f'; it said: {said}'}")
    return output.decode(errors="replace")
