"""A .deb that a host fetches by itself, and believes only by its digest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DebFile:
    """Where a .deb lies, and how it is known.

    Attributes:
        url: its address.
        sha256: in lower-case hexadecimal.
        size_bytes: no more than this is fetched.
        architecture: that it was resolved for; a file for `all` serves each.
    """

    url: str
    sha256: str
    size_bytes: int
    architecture: str
