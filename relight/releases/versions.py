"""What a release's tag is called in Debian. Pure: no I/O.

A tag is `v`, then a version as release automation writes it. Debian's upstream version is the same
without the `v`, and with a tilde for every hyphen:

    v0.0.74          0.0.74
    v1.2.0-rc.1      1.2.0~rc.1      sorts before 1.2.0, as a pre-release must
    v1.2.0-rc-1      1.2.0~rc~1      what follows a hyphen is Debian's own revision
    v1.2.0+build.5   1.2.0+build.5

An epoch before it and a Debian revision after it are the packager's, and no tag names them.
"""

from collections.abc import Iterable

from debian.debian_support import Version
from pydantic import TypeAdapter, ValidationError

from relight.domain.names import ReleaseTag

_TAG: TypeAdapter[str] = TypeAdapter(ReleaseTag)


def upstream_version(tag: ReleaseTag) -> str:
    """Return the Debian upstream version that a tag stands for."""
    return tag.removeprefix("v").replace("-", "~")


def tag_of(version: str) -> ReleaseTag | None:
    """Return the tag that stands for a Debian version, None where none does."""
    upstream = Version(version).upstream_version or ""
    try:
        tag = _TAG.validate_python(f"v{upstream.replace('~', '-')}")
    except ValidationError:
        return None
    return tag if upstream_version(tag) == upstream else None


def matching(tag: ReleaseTag, versions: Iterable[str]) -> list[str]:
    """Return those of `versions` that a tag may stand for, oldest first.

    The version that is the tag's to the letter stands alone; else each revision of it counts.
    """
    upstream = upstream_version(tag)
    found = {version for version in versions if Version(version).upstream_version == upstream}
    return [upstream] if upstream in found else oldest_first(found)


def oldest_first(versions: Iterable[str]) -> list[str]:
    """Sort by Debian's rules, which `sorted` alone does not know."""
    return sorted(versions, key=Version)
