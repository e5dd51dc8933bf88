"""A source of releases in memory."""

from collections.abc import AsyncIterator, Sequence

from relight.domain.release import DebFile, Release
from relight.releases.errors import ReleaseUnknownError
from relight.releases.listing import ReleaseList


class FakeReleases:
    """Releases without any file behind them, for amd64 unless `add` says otherwise."""

    def __init__(self, *tags: str) -> None:
        self._releases = {tag: _release(tag, "amd64") for tag in tags}

    def add(self, tag: str, architecture: str) -> None:
        self._releases[tag] = _release(tag, architecture)

    def rebuild(self, tag: str) -> None:
        """Give a release other content under the same version."""
        release = self._releases[tag]
        files = [each.model_copy(update={"sha256": "b" * 64}) for each in release.deb_files]
        self._releases[tag] = release.model_copy(update={"deb_files": tuple(files)})

    def remove(self, tag: str) -> None:
        del self._releases[tag]

    def add_with_url(self, tag: str, architecture: str) -> None:
        """Add a release whose file has a URL of its own, as GitHub's do."""
        release = _release(tag, architecture)
        (deb_file,) = release.deb_files
        url = f"https://files.example/{deb_file.filename}"
        at_url = deb_file.model_copy(update={"filename": url})
        self._releases[tag] = release.model_copy(update={"deb_files": (at_url,)})

    def get(self, tag: str) -> Release:
        return self._releases[tag]

    async def resolve(self, tag: str, architectures: Sequence[str]) -> Release:
        release = self._releases.get(tag)
        if release is None:
            raise ReleaseUnknownError(f"there is no release {tag}")
        missing = sorted(set(architectures) - set(release.architectures))
        if missing:
            raise ReleaseUnknownError(f"{tag} has no package for {', '.join(missing)}")
        return release

    async def list_releases(self) -> ReleaseList:
        return ReleaseList(releases=tuple(self._releases.values()))

    async def download(self, release: Release, deb_file: DebFile) -> AsyncIterator[bytes]:
        yield f"{release.tag} {deb_file.filename}".encode()

    async def close(self) -> None:
        """There is no connection."""


def _release(tag: str, architecture: str) -> Release:
    version = tag.removeprefix("v")
    return Release(
        tag=tag,
        version=version,
        package="lantern-box",
        source="memory",
        deb_files=(
            DebFile(
                architecture=architecture,
                filename=f"lantern-box_{version}_{architecture}.deb",
                sha256="0" * 64,
                size_bytes=1,
            ),
        ),
    )
