"""The services of Debian that are tried, with their process models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A service of Debian.

    Attributes:
        package: its name.
        model: how its processes run.
        expected: why it cannot be proven on a machine of the lab; empty if it has to be.
    """

    package: str
    model: str
    expected: str = ""


CATALOG = (
    Entry("cron", "C"),
)
