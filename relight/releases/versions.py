"""Conversion between release tags and Debian versions. Pure: no I/O.

A tag is `v` and a version as written by release automation. Debian's upstream version is the same
without the `v`, and with a tilde for every hyphen:

    v0.0.74          0.0.74
    v1.2.0-rc.1      1.2.0~rc.1      sorts before 1.2.0, like a pre-release
    v1.2.0-rc-1      1.2.0~rc~1      a hyphen would start Debian's revision
    v1.2.0+build.5   1.2.0+build.5

The packager may add an epoch before it and a Debian revision after it; tags contain neither.
"""

from collections.abc import Iterable

from debian.debian_support import Version
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import ReleaseTag

_TAG: TypeAdapter[str] = TypeAdapter(ReleaseTag)


def upstream_version(tag: ReleaseTag) -> str:
    """Return the Debian upstream version of a tag."""
    return tag.removeprefix("v").replace("-", "~")


def tag_of(version: str) -> ReleaseTag | None:
    """Return the tag of a Debian version; None if it has none."""
    upstream = Version(version).upstream_version or ""
    try:
        tag = _TAG.validate_python(f"v{upstream.replace('~', '-')}")
    except ValidationError:
        return None
    return tag if upstream_version(tag) == upstream else None


def matching(tag: ReleaseTag, versions: Iterable[str]) -> list[str]:
    """Return those of `versions` that a tag may mean, oldest first.

    If the tag's exact version is there, only that one; otherwise every revision of it.
    """
    upstream = upstream_version(tag)
    found = {version for version in versions if Version(version).upstream_version == upstream}
    return [upstream] if upstream in found else oldest_first(found)


def oldest_first(versions: Iterable[str]) -> list[str]:
    """Return versions sorted by Debian's rules."""
    return sorted(versions, key=Version)


def is_older(version: str, than: str) -> bool:
    """Return whether a version is older than another by Debian's rules."""
    return Version(version) < Version(than)
