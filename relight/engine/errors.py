"""Errors of the environment: something that Relight needs is missing or unreachable."""


class SetupError(Exception):
    """Something cannot be started or reached; the text says what, and what to do."""


class TemporalUnreachableError(SetupError):
    """No Temporal server answers at the address, or it refuses the credentials."""


class TemporalNotPreparedError(SetupError):
    """The Temporal server lacks the namespace or the search attributes."""
