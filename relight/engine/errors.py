"""What can go wrong when things are started or reached."""

from pathlib import Path


class StarterError(Exception):
    """Something could not be started or reached; the text says what, and what to do."""


class TemporalUnreachableError(StarterError):
    """Nothing that speaks Temporal answers at the address, or it does not know us."""


class TemporalNotPreparedError(StarterError):
    """The Temporal server lacks what workflows need of it."""


class ChildFailedError(StarterError):
    """A process that was started ended by itself, or did not get ready in time.

    Attributes:
        name: which one.
        log: the file that holds all it wrote.
        tail: the last lines of it.
    """

    def __init__(self, name: str, what: str, log: Path, tail: str) -> None:
        end = f"; its last words ({log}):\n{tail}" if tail else f"; it wrote nothing to {log}"
        super().__init__(f"{name} {what}{end}")
        self.name = name
        self.log = log
        self.tail = tail
