"""Errors of the lab. Each text says what was attempted."""

import shlex
from collections.abc import Sequence


class LabError(Exception):
    """The lab cannot do what was requested."""


class CommandError(LabError):
    """A program failed.

    Attributes:
        argv: the program and its arguments.
        code: its exit code.
        stderr: its standard error.
    """

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        text = stderr.strip() or "no error output"
        super().__init__(f"`{shlex.join(argv)}` failed with exit code {code}: {text}")
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr
