"""The signed index of a suite, once its signature is known to be good: a `Release` file.

It says when it was written, how long it holds, and by which checksums the indices of packages are
known. Raises `RepositoryUntrustedError` and `RepositoryError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from debian import deb822

from relight.releases.errors import RepositoryError, RepositoryUntrustedError

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead of ours a repository's clock may be."""

_COMPRESSIONS = (".xz", ".gz", "")


@dataclass(frozen=True)
class IndexFile:
    """One index of packages, as the signed file describes it.

    Attributes:
        name: relative to the suite's folder, as in `main/binary-amd64/Packages.xz`.
        sha256: of the file as it lies there, compressed or not.
        size_bytes: likewise.
    """

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ReleaseFile:
    """What a suite says of itself.

    Attributes:
        date: when it was written.
        valid_until: how long it holds; None for ever.
        by_hash: whether its indices can be fetched by their checksums' names.
        architectures: what it is there for, sorted, `all` among them where that has its own
            index.
        components: as it names them; empty where it does not.
        indices: by name.
    """

    date: datetime
    valid_until: datetime | None
    by_hash: bool
    architectures: tuple[str, ...]
    components: tuple[str, ...]
    indices: Mapping[str, IndexFile]

    def packages_index(self, component: str, architecture: str) -> IndexFile | None:
        """Return the smallest form of an architecture's index, None where it has none."""
        for ending in _COMPRESSIONS:
            found = self.indices.get(f"{component}/binary-{architecture}/Packages{ending}")
            if found is not None:
                return found
        return None


def parse_release(text: str) -> ReleaseFile:
    """Read a `Release` file.

    Raises:
        RepositoryUntrustedError: it has no date, or knows no SHA-256 of its indices.
        RepositoryError: a field cannot be read.
    """
    fields = deb822.Release(text)
    if "Date" not in fields or "SHA256" not in fields:
        raise RepositoryUntrustedError("its signed index lacks a Date or a SHA256 field")
    try:
        indices = [
            IndexFile(entry["name"], entry["sha256"].lower(), int(entry["size"]))
            for entry in fields["SHA256"]
        ]
        return ReleaseFile(
            date=_moment(fields["Date"]),
            valid_until=_moment(fields["Valid-Until"]) if "Valid-Until" in fields else None,
            by_hash=fields.get("Acquire-By-Hash", "no").lower() == "yes",
            architectures=tuple(sorted(set(fields.get("Architectures", "").split()))),
            components=tuple(fields.get("Components", "").split()),
            indices={index.name: index for index in indices},
        )
    except (KeyError, ValueError) as error:
        raise RepositoryError(f"its signed index cannot be read: {error}") from error


def check_dates(release: ReleaseFile, now: datetime) -> None:
    """Refuse a file that no longer holds, or does not hold yet.

    Raises:
        RepositoryUntrustedError: it has expired, or it is dated in the future.
    """
    if release.valid_until is not None and release.valid_until < now:
        raise RepositoryUntrustedError(
            f"its index expired at {release.valid_until:%Y-%m-%d %H:%M:%S} UTC: is it still "
            "being published?"
        )
    if release.date > now + CLOCK_TOLERANCE:
        raise RepositoryUntrustedError(
            f"its index is dated in the future, {release.date:%Y-%m-%d %H:%M:%S} UTC: which "
            "clock is wrong?"
        )


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
