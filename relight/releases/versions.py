"""Conversion between release tags and Debian versions. Pure: no I/O.

A tag is `v` and a version as written by release automation. Debian's upstream version is the same
without the `v`, and with a tilde for every hyphen:

    v0.0.74          0.0.74
    v1.2.0-rc.1      1.2.0~rc.1      sorts before 1.2.0, like a pre-release
    v1.2.0-rc-1      1.2.0~rc~1      a hyphen would start Debian's revision
    v1.2.0+build.5   1.2.0+build.5

The packager may add an epoch before it and a Debian revision after it; a tag contains neither, and
means the newest revision. An exact Debian version, which begins with a digit, is a tag as well: it
means itself.
"""

from collections.abc import Iterable

from debian.debian_support import Version, version_compare
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import DebianVersion, PackageTag

_TAG: TypeAdapter[str] = TypeAdapter(PackageTag)
_VERSION: TypeAdapter[str] = TypeAdapter(DebianVersion)


def is_exact(tag: PackageTag) -> bool:
    """Whether a tag is an exact Debian version."""
    return not tag.startswith("v")


def is_version(text: str) -> bool:
    """Whether a text is a Debian version that a release may have."""
    try:
        _VERSION.validate_python(text)
    except ValidationError:
        return False
    return True


def assumed_version(tag: PackageTag) -> str:
    """Return the Debian version of a tag, without the epoch and revision that only a source knows.

    For an exact version, that is the version.
    """
    return tag if is_exact(tag) else tag.removeprefix("v").replace("-", "~")


def tag_of(version: str) -> PackageTag:
    """Return the tag of a Debian version; if it has none, the version, which is a tag as well.

    Several revisions have one tag.
    """
    upstream = Version(version).upstream_version or ""
    try:
        tag = _TAG.validate_python(f"v{upstream.replace('~', '-')}")
    except ValidationError:
        return version
    return tag if assumed_version(tag) == upstream else version


def matching(tag: PackageTag, versions: Iterable[str]) -> list[str]:
    """Return those of `versions` that a tag may mean, oldest first: it means the last of them.

    If the tag's exact version is there, only that one; otherwise every revision of it.
    """
    available = set(versions)
    for exact in (assumed_version(tag), tag.removeprefix("v")):
        if exact in available:
            return [exact]
    if is_exact(tag):
        return []
    upstream = assumed_version(tag)
    return oldest_first(
        version for version in available if Version(version).upstream_version == upstream
    )


def tags_of(versions: Iterable[str]) -> dict[str, PackageTag]:
    """Return a tag for each version that means it alone, by version, oldest first.

    Of several revisions the newest has the tag; the others are tags of their own.
    """
    ordered = oldest_first(versions)
    tags = {version: tag_of(version) for version in ordered}
    return {
        version: tag if matching(tag, ordered)[-1] == version else version
        for version, tag in tags.items()
    }


def oldest_first(versions: Iterable[str]) -> list[str]:
    """Return versions sorted by Debian's rules."""
    return sorted(versions, key=Version)


def is_older(version: str, than: str) -> bool:
    """Return whether a version is older than another by Debian's rules."""
    return Version(version) < Version(than)


def compare(version: str, other: str) -> int:
    """Return below 0 if a version is older than another, 0 if they are equal, else above 0."""
    return int(version_compare(version, other))
