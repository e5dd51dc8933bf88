"""Errors of the environment: something that Relight needs is missing or unreachable."""


class SetupError(Exception):
    """Something cannot be started or reached; the text says what, and what to do.

    Attributes:
        kind: what is missing, in kebab-case.
    """

    kind = "setup-failed"


class ContextError(SetupError):
    """Contexts cannot be read, or two were given for one command."""


class UnknownContextError(ContextError):
    """There is no context of this name."""


class NoHomeError(SetupError):
    """There is no store or no Temporal to work with: none is set, and there is no home folder."""

    kind = "no-home"


class HomeDownError(SetupError):
    """The home folder's own Temporal server does not run."""

    kind = "home-down"


class WrongFleetError(SetupError):
    """The store and the Temporal namespace do not belong together; nothing was changed."""

    kind = "wrong-fleet"


class TemporalUnreachableError(SetupError):
    """No Temporal server answers at the address, or it refuses the credentials."""

    kind = "temporal-unreachable"


class PayloadKeyError(SetupError):
    """A payload cannot be decrypted: its key is not in the file that the settings name."""

    kind = "payload-key-missing"


class TemporalNotPreparedError(SetupError):
    """The Temporal server lacks the namespace or the search attributes."""

    kind = "temporal-not-prepared"
