"""The command line in this process: parsed, run and ended as by `relight`.

A new process costs a second or more, most of it imports. Commands may run in several threads.
"""

import io
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TextIO
from unittest import mock

from starter import cli

# typer sets and deletes it while it parses: two threads that do so fail. Left set, it stays.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

_PREFIXES = ("RELIGHT_", "TEMPORAL_")

_out: ContextVar[io.StringIO | None] = ContextVar("out", default=None)
_err: ContextVar[io.StringIO | None] = ContextVar("err", default=None)


class Ran(NamedTuple):
    """The exit code of a command, and what it printed on standard output and error."""

    code: int
    out: str
    err: str


def run_command(words: Sequence[str], variables: Mapping[str, str]) -> Ran:
    """Run a command in this thread, and return how it ended.

    Args:
        words: after `relight`.
        variables: those of Relight and of Temporal, all others of these are unset. Commands that
            run at the same time must have the same.
    """
    out, err = io.StringIO(), io.StringIO()
    _out.set(out)
    _err.set(err)
    with _process.of_commands(variables):
        code = cli.run(words)
    return Ran(code, out.getvalue(), err.getvalue())


class _Router(io.TextIOBase):
    """Standard output or error, where each command writes to its own buffer."""

    def __init__(self, buffer: ContextVar[io.StringIO | None], original: TextIO) -> None:
        self._buffer = buffer
        self._original = original

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        return (self._buffer.get() or self._original).write(text)

    def flush(self) -> None:
        (self._buffer.get() or self._original).flush()


class _Process:
    """What all commands of a process share: its environment and its standard streams."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._variables: Mapping[str, str] = {}
        self._undo = ExitStack()
        self._streams: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)

    @contextmanager
    def of_commands(self, variables: Mapping[str, str]) -> Iterator[None]:
        with self._lock:
            if self._running == 0:
                self._enter(variables)
            assert variables == self._variables, "another command runs in another environment"
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    self._leave()

    def _enter(self, variables: Mapping[str, str]) -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_PREFIXES)}
        self._variables = variables
        # Only Python's view of it: threads of Temporal's SDK read the environment of the C library,
        # and end the process with a segmentation fault if it changes at that moment.
        self._undo.enter_context(mock.patch("os.environ", {**kept, **variables}))
        self._streams = (sys.stdout, sys.stderr)
        sys.stdout = _Router(_out, sys.stdout)
        sys.stderr = _Router(_err, sys.stderr)

    def _leave(self) -> None:
        sys.stdout, sys.stderr = self._streams
        self._undo.close()


_process = _Process()
