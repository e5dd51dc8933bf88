"""The digests of the packages of a release on GitHub, and the signatures that vouch for them.

Raises `RepositoryUntrustedError` and what `GitHubFiles` raises.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from relight.releases.errors import RepositoryError, RepositoryUntrustedError
from relight.releases.file_signature import MAX_SIGNATURE_BYTES, Digests, FileKey
from relight.releases.github_assets import (
    Asset,
    GitHubRelease,
    checksum_files,
    digest_of,
    files_named,
    listed_name,
    parse_checksums,
)
from relight.releases.github_files import GitHubFiles

MAX_CHECKSUMS_BYTES: Final = 1024 * 1024


async def digests_of(
    files: GitHubFiles, release: GitHubRelease, packages: Sequence[Asset], key: FileKey | None
) -> list[str]:
    """Return the SHA-256 of each package of a release.

    It comes from GitHub or from a list of checksums. With a key it counts only if the list or the
    package is signed.

    Raises:
        RepositoryUntrustedError: a package has no SHA-256, two that differ, or no valid signature.
        RepositoryError: a file cannot be read.
    """
    if key is None:
        missing = [asset for asset in packages if asset.sha256 is None]
        lists = checksum_files(release, missing) if missing else []
        checksums: dict[str, str] = {}
        for file in lists:
            checksums |= _parsed(await files.read(file, MAX_CHECKSUMS_BYTES), file.name)
        return [digest_of(asset, checksums) for asset in packages]
    signed = await _signed_checksums(files, release, packages, key)
    for asset in packages:
        if listed_name(asset.name) not in signed:
            signed[listed_name(asset.name)] = await _signed_digest(files, release, asset, key)
    return [digest_of(asset, signed) for asset in packages]


async def _signed_checksums(
    files: GitHubFiles, release: GitHubRelease, packages: Sequence[Asset], key: FileKey
) -> dict[str, str]:
    """Return the digests in the lists of checksums that are signed."""
    checksums: dict[str, str] = {}
    for file in checksum_files(release, packages):
        signature = await _signature(files, release, file, key)
        if signature is not None:
            content = await files.read(file, MAX_CHECKSUMS_BYTES)
            key.check(file.name, Digests.of(content), signature)
            checksums |= _parsed(content, file.name)
    return checksums


async def _signed_digest(
    files: GitHubFiles, release: GitHubRelease, asset: Asset, key: FileKey
) -> str:
    """Return the digest of a package that is signed itself."""
    signature = await _signature(files, release, asset, key)
    if signature is None:
        raise RepositoryUntrustedError(
            f"{asset.name} is not signed, and RELIGHT_GITHUB__PUBLIC_KEY is set: neither it nor a "
            f"list of checksums with it has a signature {' or '.join(key.suffixes)}"
        )
    if key.reads_files or asset.sha256 is None:
        digests = await files.digests(asset)
    else:
        digests = Digests(bytes.fromhex(asset.sha256))
    key.check(asset.name, digests, signature)
    return digests.sha256.hex()


async def _signature(
    files: GitHubFiles, release: GitHubRelease, file: Asset, key: FileKey
) -> bytes | None:
    found = files_named(release, [file.name + suffix for suffix in key.suffixes])
    return await files.read(found[0], MAX_SIGNATURE_BYTES) if found else None


def _parsed(content: bytes, name: str) -> Mapping[str, str]:
    try:
        return parse_checksums(content.decode(), name)
    except UnicodeDecodeError as error:
        raise RepositoryError(f"{name} is not UTF-8 text: {error}") from error
