"""The files of a release on GitHub: which are packages of the service, and their digests.

Pure. Raises `RepositoryError` and `RepositoryUntrustedError`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from relight.domain.names import DebianVersion, ReleaseTag
from relight.domain.release import DebFile
from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.releases.versions import upstream_version

CHECKSUMS = "SHA256SUMS"

_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(\S.*)")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")


class _ApiModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asset(_ApiModel):
    """One file of a release. Its state is not `uploaded` while the upload runs."""

    name: str
    size: int
    browser_download_url: str
    state: str = "uploaded"
    digest: str | None = None


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
_TAG: TypeAdapter[str] = TypeAdapter(ReleaseTag)
_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)


class Package(NamedTuple):
    """A package file of a release, without its digest. Its architecture may be `all`."""

    version: str
    architecture: str
    asset: Asset


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


def is_tag(text: str) -> bool:
    """Whether a tag has the format of a release tag. A repository may have other tags."""
    return _is_valid(_TAG, text)


def packages(release: GitHubRelease, package: str) -> Iterator[Package]:
    """Yield a release's files `PACKAGE_VERSION_ARCHITECTURE.deb` of any version."""
    for asset in release.assets:
        stem, dot, ending = asset.name.rpartition(".")
        parts = stem.split("_")
        if not dot or ending != "deb" or len(parts) != 3 or parts[0] != package:
            continue
        version = _with_tildes(parts[1], upstream_version(release.tag_name))
        if _is_valid(_VERSION, version) and _ARCHITECTURE.fullmatch(parts[2]):
            yield Package(version, parts[2], asset)


def deb_file(package: Package, checksums: dict[str, str]) -> DebFile:
    """Return a package with its digest, from GitHub or from a checksum file of the release.

    Raises:
        RepositoryUntrustedError: there is no SHA-256, or GitHub's and the file's differ.
    """
    asset = package.asset
    own, listed = sha256_of(asset), checksums.get(asset.name)
    if own and listed and own != listed:
        raise RepositoryUntrustedError(
            f"the SHA-256 of {asset.name} differs from the one that its release lists"
        )
    sha256 = own or listed
    if sha256 is None:
        raise RepositoryUntrustedError(
            f"there is no SHA-256 of {asset.name}: neither from GitHub, nor in a file "
            f"{CHECKSUMS} or {asset.name}.sha256 of the release"
        )
    return DebFile(
        architecture=package.architecture,
        filename=asset.browser_download_url,
        sha256=sha256,
        size_bytes=asset.size,
    )


def sha256_of(asset: Asset) -> str | None:
    """Return the SHA-256 that GitHub provides; None if it provides none."""
    found = _DIGEST.fullmatch(asset.digest or "")
    return found[1].lower() if found else None


def checksum_files(release: GitHubRelease, needed: Sequence[Package]) -> list[Asset]:
    """Return the release's files that may contain the digests of these packages."""
    names = {CHECKSUMS, *(f"{package.asset.name}.sha256" for package in needed)}
    return [asset for asset in release.assets if asset.name in names]


def parse_checksums(text: str, file_name: str) -> dict[str, str]:
    """Parse lines of `HEX  NAME`; other lines, such as a signature, are ignored.

    Args:
        text: the file's content.
        file_name: a file `NAME.sha256` may contain only the digest.

    Returns:
        The digests by file name.
    """
    bare = text.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", bare) and file_name.endswith(".sha256"):
        return {file_name.removesuffix(".sha256"): bare.lower()}
    found = (_CHECKSUM.fullmatch(line.rstrip()) for line in text.splitlines())
    return {line[2]: line[1].lower() for line in found if line is not None}


def check_url(url: str, api: httpx.URL) -> None:
    """Refuse a URL that a host would not fetch from.

    Raises:
        RepositoryError: it is not an HTTP or HTTPS URL.
        RepositoryUntrustedError: it is not encrypted although the API is.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in {"http", "https"} or any(not "!" <= char <= "~" for char in url):
        raise RepositoryError(f"{url!r} is not a URL that a host can fetch from")
    if scheme == "http" and api.scheme == "https":
        raise RepositoryUntrustedError(f"{url} is not encrypted, but the API is")


def _is_valid(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


def _with_tildes(version: str, upstream: str) -> str:
    """Restore tildes in the version of a file name: GitHub replaces each with a dot."""
    dotted = upstream.replace("~", ".")
    if version == dotted or version.startswith(f"{dotted}-"):
        return upstream + version[len(dotted) :]
    return version


def _parse(adapter: TypeAdapter[_Parsed], content: object) -> _Parsed:
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        raise RepositoryError(
            f"the answer is not a release of GitHub: {location}: {first['msg']}"
        ) from error
