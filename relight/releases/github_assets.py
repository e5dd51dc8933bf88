"""The files of a release on GitHub: which are packages of ours, and what their digests are.

Pure. Raises `RepositoryError` and `RepositoryUntrustedError`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from relight.domain.names import ReleaseTag
from relight.domain.release import DebFile
from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.releases.versions import upstream_version

CHECKSUMS = "SHA256SUMS"

_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_CHECKSUM = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(\S.*)")
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+~-]*")


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Asset(_Answered):
    """One file of a release. While it is being uploaded its state is another than `uploaded`."""

    name: str
    size: int
    browser_download_url: str
    state: str = "uploaded"
    digest: str | None = None


class GitHubRelease(_Answered):
    """What GitHub says of a release."""

    tag_name: str
    builder: bool = False
    assets: tuple[Asset, ...] = ()


_Read = TypeVar("_Read")
_RELEASE: TypeAdapter[GitHubRelease] = TypeAdapter(GitHubRelease)
_RELEASES: TypeAdapter[list[GitHubRelease]] = TypeAdapter(list[GitHubRelease])
_TAG: TypeAdapter[str] = TypeAdapter(ReleaseTag)


class Package(NamedTuple):
    """A package of a release, without its digest. Its architecture may be `all`."""

    version: str
    architecture: str
    asset: Asset


def parse_release(content: object) -> GitHubRelease:
    """Read one release.

    Raises:
        RepositoryError: it is none.
    """
    return _read(_RELEASE, content)


def parse_releases(content: object) -> list[GitHubRelease]:
    """Read a page of releases.

    Raises:
        RepositoryError: it is none.
    """
    return _read(_RELEASES, content)


def is_tag(text: str) -> bool:
    """Whether a tag has the shape of a release's; a repository may have others."""
    try:
        _TAG.validate_python(text)
    except ValidationError:
        return False
    return True


def packages(release: GitHubRelease, package: str) -> Iterator[Package]:
    """Yield a release's files `PACKAGE_VERSION_ARCHITECTURE.deb`, whatever their versions."""
    for asset in release.assets:
        stem, dot, ending = asset.name.rpartition(".")
        parts = stem.split("_")
        if not dot or ending != "deb" or len(parts) != 3 or parts[0] != package:
            continue
        version = _with_tildes(parts[1], upstream_version(release.tag_name))
        if _VERSION.fullmatch(version) and _ARCHITECTURE.fullmatch(parts[2]):
            yield Package(version, parts[2], asset)


def deb_file(package: Package, checksums: dict[str, str]) -> DebFile:
    """Return a package with its digest: GitHub's own, or the one that its release lists.

    Raises:
        RepositoryUntrustedError: nobody says what its SHA-256 is, or GitHub and the list differ.
    """
    asset = package.asset
    own, listed = sha256_of(asset), checksums.get(asset.name)
    if own and listed and own != listed:
        raise RepositoryUntrustedError(f"{asset.name} has another SHA-256 than its release lists")
    sha256 = own or listed
    if sha256 is None:
        raise RepositoryUntrustedError(
            f"nobody says what the SHA-256 of {asset.name} is: neither GitHub, nor a file "
            f"{CHECKSUMS} or {asset.name}.sha256 of the release"
        )
    return DebFile(
        architecture=package.architecture,
        filename=asset.browser_download_url,
        sha256=sha256,
        size_bytes=asset.size,
    )


def sha256_of(asset: Asset) -> str | None:
    """Return the digest that GitHub itself gives, None where it gives none that we know."""
    found = _DIGEST.fullmatch(asset.digest or "")
    return found[1].lower() if found else None


def checksum_files(release: GitHubRelease, wanted: Sequence[Package]) -> list[Asset]:
    """Return the files that list the digests of these packages."""
    names = {CHECKSUMS, *(f"{package.asset.name}.sha256" for package in wanted)}
    return [asset for asset in release.assets if asset.name in names]


def parse_checksums(text: str, only: str) -> dict[str, str]:
    """Read lines of `HEX  NAME`; what is none is passed over, as is a signature around them.

    Args:
        text: the file's text.
        only: the file's own name: `NAME.sha256` may hold the digest alone.
    """
    bare = text.strip()
    if re.fullmatch("[0-9a-fA-F]{64}", bare) and only.endswith(".sha256"):
        return {only.removesuffix(".sha256"): bare.lower()}
    found = (_CHECKSUM.fullmatch(line.rstrip()) for line in text.splitlines())
    return {line[2]: line[1].lower() for line in found if line is not None}


def check_address(address: str, api: httpx.URL) -> None:
    """Refuse an address that a host would not fetch from.

    Raises:
        RepositoryError: it is none of HTTP.
        RepositoryUntrustedError: it gives up the API's own encryption.
    """
    scheme = address.partition("://")[0].lower()
    if scheme not in {"http", "https"} or any(not "!" <= char <= "~" for char in address):
        raise RepositoryError(f"{address!r} is no address that a host can fetch from")
    if scheme == "http" and api.scheme == "https":
        raise RepositoryUntrustedError(f"{address} is not encrypted, as the API is")


def _with_tildes(version: str, upstream: str) -> str:
    """Undo what GitHub does to a file's name: it puts a dot in place of each tilde."""
    flat = upstream.replace("~", ".")
    if version == flat or version.startswith(f"{flat}-"):
        return upstream + version[len(flat) :]
    return version


def _read(adapter: TypeAdapter[_Read], content: object) -> _Read:
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RepositoryError(
            f"what it answers is no release of GitHub's: {where}: {first['msg']}"
        ) from error
