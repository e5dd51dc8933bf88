"""What every source of releases does."""

from collections.abc import Sequence
from typing import Protocol

from relight.domain.names import ReleaseTag
from relight.domain.release import Release


class ReleaseSource(Protocol):
    """A place that releases come from."""

    async def resolve(self, tag: ReleaseTag, architectures: Sequence[str]) -> Release:
        """Return what the tag stands for, with an artifact for each architecture at least.

        Raises:
            ReleaseUnknownError: it is not there, or not for every architecture.
            RepositoryError: the source cannot be asked, or not be trusted.
        """

    async def list_releases(self) -> list[Release]:
        """Return every release that it holds, the newest last."""

    async def close(self) -> None:
        """Stop asking, and close the connections that are its own."""
