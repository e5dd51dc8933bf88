"""What can go wrong in the lab. Each error says what was attempted, in words for people."""

import shlex
from collections.abc import Sequence


class LabError(Exception):
    """The lab cannot do what it was asked for."""


class CommandError(LabError):
    """A program failed.

    Attributes:
        argv: what was run.
        code: its exit code.
        stderr: what it said.
    """

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        said = stderr.strip() or "it said nothing"
        super().__init__(f"`{shlex.join(argv)}` ended with {code}: {said}")
        self.argv = tuple(argv)
        self.code = code
        self.stderr = stderr
