"""What can go wrong at the place that releases come from."""


class RepositoryError(Exception):
    """The repository did not give what was asked of it.

    Attributes:
        kind: kebab-case, as in `release-unknown`.
        retryable: whether asking again may help.
    """

    kind = "repository-broken"
    retryable = False


class RepositoryUnavailableError(RepositoryError):
    """It does not answer, or is in the middle of being published."""

    kind = "repository-unavailable"
    retryable = True


class RepositoryUntrustedError(RepositoryError):
    """Its signature, date or checksums do not hold."""

    kind = "repository-untrusted"


class ReleaseUnknownError(RepositoryError):
    """It holds no such release, or not for every architecture asked for, or more than one."""

    kind = "release-unknown"
