"""The files of a release on GitHub: which may be packages, and where their digests are.

Pure. Raises `RepositoryError` and `RepositoryUntrustedError`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from relight.domain.names import PackageTag, ReleaseTag
from relight.releases.errors import RepositoryError, RepositoryUntrustedError

_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) +\*?(\S.*)")
_BSD_CHECKSUM = re.compile(r"SHA256 ?\((\S.*)\) ?= ?([0-9a-fA-F]{64})")
_CHECKSUMS_NAME = re.compile(
    r"(.*[._-])?(checksums?|sha256sums?)([._-]sha256)?(\.txt)?", re.IGNORECASE
)
"""`checksums.txt` and `NAME_VERSION_checksums.txt` of GoReleaser, `SHA256SUMS`, and the like."""

_OWN_CHECKSUM = (".sha256", ".sha256sum", ".sha256.txt")
"""Suffixes of a file with the checksum of one other file."""


class _ApiModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asset(_ApiModel):
    """One file of a release.

    Attributes:
        url: of the API, where it is downloaded with a token.
        browser_download_url: where anybody downloads it, if the repository is public.
        state: not `uploaded` while the upload runs.
        digest: from GitHub, as in `sha256:...`; None for old files.
        id: another one if the file is uploaded again.
    """

    name: str
    size: int
    browser_download_url: str
    url: str = ""
    state: str = "uploaded"
    digest: str | None = None
    id: int = 0

    @property
    def is_deb(self) -> bool:
        """Whether its name is that of a Debian package."""
        return self.name.lower().endswith(".deb")

    @property
    def sha256(self) -> str | None:
        """The SHA-256 that GitHub provides; None if it provides none."""
        found = _DIGEST.fullmatch(self.digest or "")
        return found[1].lower() if found else None


class GitHubRelease(_ApiModel):
    """A release as GitHub's API returns it.

    Attributes:
        tag_name: its tag.
        is_unpublished: whether GitHub calls it a draft: it is not public yet.
        assets: its files.
    """

    tag_name: str
    is_unpublished: bool = Field(default=False, alias="draft")
    assets: tuple[Asset, ...] = ()


_Parsed = TypeVar("_Parsed")
_RELEASE: TypeAdapter[GitHubRelease] = TypeAdapter(GitHubRelease)
_RELEASES: TypeAdapter[list[GitHubRelease]] = TypeAdapter(list[GitHubRelease])
_TAG: TypeAdapter[str] = TypeAdapter(PackageTag)


def parse_release(content: object) -> GitHubRelease:
    """Parse one release.

    Raises:
        RepositoryError: it is malformed.
    """
    return _parse(_RELEASE, content)


def parse_releases(content: object) -> list[GitHubRelease]:
    """Parse a page of releases.

    Raises:
        RepositoryError: it is malformed.
    """
    return _parse(_RELEASES, content)


def tag_of_release(release: GitHubRelease) -> ReleaseTag | None:
    """Return the tag of a release; None if it has another format. A repository may have others.

    Some repositories write their tags without the `v`.
    """
    name = release.tag_name
    try:
        return _TAG.validate_python(name if name.startswith("v") else f"v{name}")
    except ValidationError:
        return None


def checksum_files(release: GitHubRelease, needed: Sequence[Asset]) -> list[Asset]:
    """Return the release's files that may contain the digests of these files."""
    own = {asset.name + suffix for asset in needed for suffix in _OWN_CHECKSUM}
    return [
        asset
        for asset in release.assets
        if asset.name in own or _CHECKSUMS_NAME.fullmatch(asset.name)
    ]


def files_named(release: GitHubRelease, names: Sequence[str]) -> list[Asset]:
    """Return the release's files with one of these names."""
    return [asset for asset in release.assets if asset.name in names]


def parse_checksums(text: str, file_name: str) -> dict[str, str]:
    """Parse lines of `HEX  NAME`; other lines, such as a signature, are ignored.

    Args:
        text: the file's content.
        file_name: a file `NAME.sha256` may contain only the digest.

    Returns:
        The digests by file name, as `listed_name` returns it.
    """
    bare = text.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", bare):
        for suffix in _OWN_CHECKSUM:
            if file_name.endswith(suffix):
                return {listed_name(file_name.removesuffix(suffix)): bare.lower()}
    found: dict[str, str] = {}
    for line in map(str.rstrip, text.splitlines()):
        if (entry := _CHECKSUM.fullmatch(line)) is not None:
            found[listed_name(entry[2])] = entry[1].lower()
        elif (entry := _BSD_CHECKSUM.fullmatch(line)) is not None:
            found[listed_name(entry[1])] = entry[2].lower()
    return found


def listed_name(name: str) -> str:
    """Return the name by which a file is found in a list of checksums.

    The list has the names from before the upload: with folders, and with each tilde that GitHub
    replaced with a dot.
    """
    return name.rpartition("/")[2].replace("~", ".")


def digest_of(asset: Asset, checksums: Mapping[str, str]) -> str:
    """Return the SHA-256 of a file, from GitHub or from a list of checksums of the release.

    Raises:
        RepositoryUntrustedError: there is none, or GitHub's and the list's differ.
    """
    own, listed = asset.sha256, checksums.get(listed_name(asset.name))
    if own and listed and own != listed:
        raise RepositoryUntrustedError(
            f"the SHA-256 of {asset.name} differs from the one that its release lists"
        )
    sha256 = own or listed
    if sha256 is None:
        raise RepositoryUntrustedError(
            f"there is no SHA-256 of {asset.name}: neither from GitHub, nor in a file "
            f"SHA256SUMS, checksums.txt or {asset.name}.sha256 of the release"
        )
    return sha256


def _parse(adapter: TypeAdapter[_Parsed], content: object) -> _Parsed:
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        raise RepositoryError(
            f"the answer is not a release of GitHub: {location}: {first['msg']}"
        ) from error
