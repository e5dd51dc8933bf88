"""What can go wrong at the place that releases come from."""

from relight.domain.fault.error import DomainError


class RepositoryError(DomainError):
    """The repository did not give what was asked of it."""

    kind = "repository-broken"


class RepositoryUnavailableError(RepositoryError):
    """It does not answer, or is in the middle of being published."""

    kind = "repository-unavailable"


class RepositoryUntrustedError(RepositoryError):
    """Its signature, date or checksums do not hold."""

    kind = "repository-untrusted"


class ReleaseUnknownError(RepositoryError):
    """It holds no such release, or not for every architecture asked for, or more than one."""

    kind = "release-unknown"
