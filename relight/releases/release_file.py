"""The index of a suite, a `Release` file, after its signature was checked.

It contains its date, its expiry, and the checksums of the package indices. Raises
`RepositoryUntrustedError` and `RepositoryError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from debian import deb822

from relight.domain.duration import span
from relight.domain.release import EVERY_ARCHITECTURE
from relight.releases.compression import SUFFIXES
from relight.releases.errors import RepositoryError, RepositoryUntrustedError

CLOCK_TOLERANCE = timedelta(minutes=1)
"""How far ahead a repository's clock may be."""


@dataclass(frozen=True)
class IndexFile:
    """A package index, as described in the signed file.

    Attributes:
        name: relative to the suite's folder, as in `main/binary-amd64/Packages.xz`.
        sha256: of the stored file, compressed or not.
        size_bytes: of the stored file.
    """

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class ReleaseFile:
    """The index of a suite.

    Attributes:
        date: when it was written.
        valid_until: when it expires; None if never.
        by_hash: whether indices can be fetched under their checksums' names.
        architectures: sorted; includes `all` if that has an index of its own, which has to be read.
        components: empty if the suite lists none.
        indices: by name.
    """

    date: datetime
    valid_until: datetime | None
    by_hash: bool
    architectures: tuple[str, ...]
    components: tuple[str, ...]
    indices: Mapping[str, IndexFile]

    def packages_index(self, folder: str) -> IndexFile | None:
        """Return the best compressed index in a folder; None if it has none that can be read.

        Args:
            folder: as in `main/binary-amd64/`; empty for that of the signed index itself.
        """
        for suffix in SUFFIXES:
            found = self.indices.get(f"{folder}Packages{suffix}")
            if found is not None:
                return found
        return None

    def unreadable_indexes(self, folder: str) -> list[str]:
        """Return the names of the indexes in a folder whose compression is not known."""
        return sorted(name for name in self.indices if name.startswith(f"{folder}Packages."))


def parse_release(text: str) -> ReleaseFile:
    """Parse a `Release` file.

    Raises:
        RepositoryUntrustedError: it has no date, or no SHA-256 of its indices.
        RepositoryError: a field is malformed.
    """
    try:
        return _parse(text)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RepositoryError(f"its signed index is malformed: {error}") from error


def _parse(text: str) -> ReleaseFile:
    fields = deb822.Release(text)
    if "Date" not in fields or "SHA256" not in fields:
        raise RepositoryUntrustedError("its signed index lacks a Date or a SHA256 field")
    indices = [
        IndexFile(entry["name"].removeprefix("./"), entry["sha256"].lower(), _size(entry["size"]))
        for entry in fields["SHA256"]
    ]
    return ReleaseFile(
        date=_moment(fields["Date"]),
        valid_until=_moment(fields["Valid-Until"]) if "Valid-Until" in fields else None,
        by_hash=fields.get("Acquire-By-Hash", "no").lower() == "yes",
        architectures=tuple(sorted(_architectures(fields))),
        components=tuple(fields.get("Components", "").split()),
        indices={index.name: index for index in indices},
    )


def _architectures(fields: deb822.Release) -> set[str]:
    found = set(fields.get("Architectures", "").split())
    # Debian lists `all`, and has its packages in the index of every architecture as well.
    if "packages" in fields.get("No-Support-for-Architecture-all", "").lower().split():
        found.discard(EVERY_ARCHITECTURE)
    return found


def check_dates(release: ReleaseFile, now: datetime, max_age: timedelta) -> None:
    """Refuse a file that has expired or is dated in the future.

    Args:
        release: the file.
        now: UTC.
        max_age: of a file that does not say how long it is valid.

    Raises:
        RepositoryUntrustedError: it is one of these.
    """
    if release.valid_until is not None and release.valid_until < now:
        raise RepositoryUntrustedError(
            f"its index expired at {release.valid_until:%Y-%m-%d %H:%M:%S} UTC: is the repository "
            "still being published?"
        )
    if release.date > now + CLOCK_TOLERANCE:
        raise RepositoryUntrustedError(
            f"its index is dated in the future, {release.date:%Y-%m-%d %H:%M:%S} UTC: check the "
            "clocks of the repository and of this machine"
        )
    if release.valid_until is None and release.date + max_age < now:
        raise RepositoryUntrustedError(
            f"its index of {release.date:%Y-%m-%d %H:%M:%S} UTC does not say how long it is valid, "
            f"and is older than {span(max_age)} (RELIGHT_REPOSITORY__MAX_AGE): is the "
            "repository still being published?"
        )


def check_not_older(release: ReleaseFile, newest: datetime | None) -> None:
    """Refuse a file that is older than one that was seen: somebody may replay it.

    Args:
        release: the file.
        newest: the date of the newest file that was seen; None if none was.

    Raises:
        RepositoryUntrustedError: it is older.
    """
    if newest is not None and release.date < newest:
        raise RepositoryUntrustedError(
            f"its index of {release.date:%Y-%m-%d %H:%M:%S} UTC is older than the one of "
            f"{newest:%Y-%m-%d %H:%M:%S} UTC that was seen before: a mirror is behind, or somebody "
            "replays an old index; if the repository was set back on purpose, accept its index "
            "with `relight release accept-older`"
        )


def _size(text: str) -> int:
    size = int(text)
    if size < 0:
        raise ValueError(f"the size {text} is negative")
    return size


def _moment(text: str) -> datetime:
    moment = parsedate_to_datetime(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
