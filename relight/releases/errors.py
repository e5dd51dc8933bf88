"""Errors of a source of releases."""

from relight.domain.fault.error import DomainError


class RepositoryError(DomainError):
    """The repository gave no usable answer."""

    kind = "repository-broken"


class RepositoryUnavailableError(RepositoryError):
    """It does not answer, or is being published at this moment.

    Attributes:
        is_missing: it answered that a file does not exist.
    """

    kind = "repository-unavailable"
    is_missing = False


class RepositoryUntrustedError(RepositoryError):
    """Its signature, dates or checksums are not valid."""

    kind = "repository-untrusted"


class ReleaseUnknownError(RepositoryError):
    """The release does not exist, not for every architecture, or is ambiguous."""

    kind = "release-unknown"


class ReleaseRebuiltError(RepositoryError):
    """The repository has other content under a version than the fleet knows."""

    kind = "release-rebuilt"
