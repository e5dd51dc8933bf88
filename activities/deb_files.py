"""How a host comes to a release: apt finds it in our source, or the host fetches its file.

The one place where that is decided, for hot swaps and first boots alike. Raises
`ReleaseUnknownError`.
"""

from messages.release import Artifact, Release
from remote.deb_file import DebFile
from repositories.errors import ReleaseUnknownError


def deb_of(release: Release, architecture: str) -> DebFile | None:
    """Return the file of a release that a host of this architecture fetches.

    None stands for apt, which knows where it lies and what its digest is.

    Raises:
        ReleaseUnknownError: its files are to be fetched, and none is for this architecture.
    """
    found = release.artifact(architecture)
    if found is None and any(artifact.url for artifact in release.artifacts):
        raise ReleaseUnknownError(
            f"{release.package} {release.version} for {release.tag} is not there for "
            f"{architecture} in {release.source}: only for {', '.join(release.architectures)}"
        )
    return deb_file(found)


def deb_file(artifact: Artifact | None) -> DebFile | None:
    """Return the file that a host fetches; None stands for apt."""
    if artifact is None or artifact.url is None:
        return None
    return DebFile(
        url=artifact.url,
        sha256=artifact.sha256,
        size_bytes=artifact.size_bytes,
        architecture=artifact.architecture,
    )
