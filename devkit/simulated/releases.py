"""A source of releases in memory."""

import tarfile
from collections.abc import AsyncGenerator, Sequence
from io import BytesIO

from relight.domain.release import DebFile, Release
from relight.releases.deb_control import MAGIC
from relight.releases.errors import ReleaseUnknownError
from relight.releases.listing import ReleaseList


class FakeReleases:
    """Releases without any file behind them, for amd64 unless `add` says otherwise.

    Attributes:
        depends: the field of each release's package, by its tag.
        offered: the names of the other packages of the source.
    """

    def __init__(self, *tags: str) -> None:
        self._releases = {tag: _release(tag, "amd64") for tag in tags}
        self.depends: dict[str, str] = {}
        self.offered: frozenset[str] = frozenset()

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

    async def download(self, release: Release, deb_file: DebFile) -> AsyncGenerator[bytes, None]:
        yield _deb(release, deb_file.architecture, self.depends.get(release.tag, ""))

    async def packages(self, architecture: str) -> frozenset[str]:
        return self.offered

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


def _deb(release: Release, architecture: str, depends: str) -> bytes:
    """Return the beginning of a package: all up to its data."""
    fields = {
        "Package": release.package,
        "Version": release.version,
        "Architecture": architecture,
        **({"Depends": depends} if depends else {}),
    }
    control = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()
    tar = BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as opened:
        member = tarfile.TarInfo("./control")
        member.size = len(control)
        opened.addfile(member, BytesIO(control))
    members = (("debian-binary", b"2.0\n"), ("control.tar", tar.getvalue()))
    return MAGIC + b"".join(
        f"{name:<16}{'0':<12}{'0':<6}{'0':<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        for name, content in members
    )
